//! Tokens to samples: labels, masks and padding of both eras of Olive, for all strategies.

use crate::error::DataError;
use crate::sample::{IGNORED, Sample};
use olive_config::canonical::{Era, PaddingSide};

/// A token of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token {
    pub id: u32,
    /// Whether it counts in the loss.
    pub counts: bool,
}

impl Token {
    /// Labels are not shifted.
    fn label(self) -> i32 {
        // Vocabularies are far below 2^31.
        if self.counts { i32::try_from(self.id).unwrap_or(IGNORED) } else { IGNORED }
    }
}

/// Makes samples of lists of tokens, up to `limit`.
pub(super) struct Sampler<'a> {
    pub samples: &'a mut Vec<Sample>,
    pub era: Era,
    pub length: usize,
    pub limit: Option<usize>,
    /// Id of the token that rows are padded with. Olive 0.6 masks it wherever it stands.
    pub pad_id: Option<u32>,
    pub use_attention_mask: bool,
    /// Where rows are padded to the block length; `None`: not at all.
    pub padding: Option<PaddingSide>,
}

impl Sampler<'_> {
    pub(super) fn length(&self) -> usize {
        self.length
    }

    pub(super) fn is_full(&self) -> bool {
        self.limit.is_some_and(|limit| self.samples.len() >= limit)
    }

    /// A block without padding, whose first `context` tokens do not count.
    pub(super) fn push(&mut self, tokens: &[Token], context: usize) {
        let mut labels: Vec<i32> = tokens.iter().map(|token| token.label()).collect();
        labels[..context].fill(IGNORED);
        let ids = tokens.iter().map(|token| token.id).collect();
        self.finish(ids, labels, vec![1; tokens.len()], None);
    }

    /// Sets room for so many samples aside: a number that only a configuration states may be any.
    ///
    /// # Errors
    /// [`DataError::NoRoom`].
    pub(super) fn reserve(&mut self, samples: usize) -> Result<(), DataError> {
        let no_room = |_| DataError::NoRoom { option: "max_samples", value: samples };
        self.samples.try_reserve_exact(samples).map_err(no_room)
    }

    /// A row, padded if rows are. False, and no sample, if there is not a single token.
    ///
    /// # Errors
    /// [`DataError::NoRoom`]: the padding does not fit into memory.
    pub(super) fn push_row(&mut self, tokens: &[Token]) -> Result<bool, DataError> {
        let mut ids: Vec<u32> = tokens.iter().map(|token| token.id).collect();
        let mut labels: Vec<i32> = tokens.iter().map(|token| token.label()).collect();
        let mut mask = vec![1; ids.len()];
        if let (Some(side), Some(pad)) = (self.padding, self.pad_id) {
            let missing = self.length.saturating_sub(ids.len());
            ids.try_reserve_exact(missing)
                .and_then(|()| labels.try_reserve_exact(missing))
                .and_then(|()| mask.try_reserve_exact(missing))
                .map_err(|_| DataError::NoRoom { option: "max_seq_len", value: self.length })?;
            let at = if side == PaddingSide::Left { 0 } else { ids.len() };
            ids.splice(at..at, std::iter::repeat_n(pad, missing));
            labels.splice(at..at, std::iter::repeat_n(IGNORED, missing));
            mask.splice(at..at, std::iter::repeat_n(0, missing));
        }
        if ids.is_empty() {
            return Ok(false);
        }
        self.finish(ids, labels, mask, None);
        Ok(true)
    }

    /// A block of whole rows.
    pub(super) fn push_documents(&mut self, documents: &[Vec<Token>]) {
        let tokens = || documents.iter().flatten();
        let ids: Vec<u32> = tokens().map(|token| token.id).collect();
        let labels = tokens().map(|token| token.label()).collect();
        let mask = vec![1; ids.len()];
        self.finish(ids, labels, mask, Some(documents.iter().map(Vec::len).collect()));
    }

    fn finish(
        &mut self,
        input_ids: Vec<u32>,
        mut labels: Vec<i32>,
        mut mask: Vec<u8>,
        documents: Option<Vec<usize>>,
    ) {
        if self.era == Era::Old && self.use_attention_mask {
            // Olive 0.6 knows padding by its id only, so that where it pads with the end of text it masks that, too.
            for ((&id, mask), label) in input_ids.iter().zip(&mut mask).zip(&mut labels) {
                if Some(id) == self.pad_id {
                    (*mask, *label) = (0, IGNORED);
                }
            }
        }
        let attention_mask = self.use_attention_mask.then_some(mask);
        self.samples.push(Sample { input_ids, labels, attention_mask, documents });
    }
}
