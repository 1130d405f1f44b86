//! Tokens to samples: labels, masks and padding of both eras of Olive, for all strategies.

use crate::error::DataError;
use crate::sample::{IGNORED, Sample};
use olive_config::canonical::{Era, PaddingSide};
use std::collections::TryReserveError;

/// A token of a text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Token {
    pub id: u32,
    /// Factor on its loss; 0: it does not count.
    pub weight: f32,
}

impl Token {
    /// Whether it counts in the loss.
    pub(super) fn counts(self) -> bool {
        self.weight > 0.0
    }

    /// Labels are not shifted.
    fn label(self) -> i32 {
        // Vocabularies are far below 2^31.
        if self.counts() { i32::try_from(self.id).unwrap_or(IGNORED) } else { IGNORED }
    }
}

/// What of a list of tokens makes a sample.
#[derive(Default)]
struct Draft {
    ids: Vec<u32>,
    labels: Vec<i32>,
    weights: Vec<f32>,
    mask: Vec<u8>,
}

impl Draft {
    fn of<'t>(tokens: impl Iterator<Item = &'t Token> + Clone) -> Draft {
        let ids: Vec<u32> = tokens.clone().map(|token| token.id).collect();
        let mask = vec![1; ids.len()];
        let labels = tokens.clone().map(|token| token.label()).collect();
        // Nearly all samples have no weights between.
        let is_plain = tokens.clone().all(|token| token.weight == 0.0 || token.weight == 1.0);
        let weights = if is_plain { Vec::new() } else { tokens.map(|token| token.weight).collect() };
        Draft { ids, labels, weights, mask }
    }

    /// Adds so many tokens that say nothing, from a place on.
    fn pad(&mut self, at: usize, missing: usize, pad: u32) -> Result<(), TryReserveError> {
        self.ids.try_reserve_exact(missing)?;
        self.labels.try_reserve_exact(missing)?;
        self.mask.try_reserve_exact(missing)?;
        self.ids.splice(at..at, std::iter::repeat_n(pad, missing));
        self.labels.splice(at..at, std::iter::repeat_n(IGNORED, missing));
        self.mask.splice(at..at, std::iter::repeat_n(0, missing));
        if !self.weights.is_empty() {
            self.weights.try_reserve_exact(missing)?;
            self.weights.splice(at..at, std::iter::repeat_n(0.0, missing));
        }
        Ok(())
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
        let mut draft = Draft::of(tokens.iter());
        draft.labels[..context].fill(IGNORED);
        self.finish(draft, None);
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
        let mut draft = Draft::of(tokens.iter());
        if let (Some(side), Some(pad)) = (self.padding, self.pad_id) {
            let missing = self.length.saturating_sub(draft.ids.len());
            let at = if side == PaddingSide::Left { 0 } else { draft.ids.len() };
            draft
                .pad(at, missing, pad)
                .map_err(|_| DataError::NoRoom { option: "max_seq_len", value: self.length })?;
        }
        if draft.ids.is_empty() {
            return Ok(false);
        }
        self.finish(draft, None);
        Ok(true)
    }

    /// A block of whole rows.
    pub(super) fn push_documents(&mut self, documents: &[Vec<Token>]) {
        let lengths = documents.iter().map(Vec::len).collect();
        self.finish(Draft::of(documents.iter().flatten()), Some(lengths));
    }

    fn finish(&mut self, draft: Draft, documents: Option<Vec<usize>>) {
        let Draft { ids: input_ids, mut labels, weights, mut mask } = draft;
        if self.era == Era::Old && self.use_attention_mask {
            // Olive 0.6 knows padding by its id only, so that where it pads with the end of text it masks that, too.
            for ((&id, mask), label) in input_ids.iter().zip(&mut mask).zip(&mut labels) {
                if Some(id) == self.pad_id {
                    (*mask, *label) = (0, IGNORED);
                }
            }
        }
        let attention_mask = self.use_attention_mask.then_some(mask);
        let weights = Some(weights).filter(|weights| !weights.is_empty());
        self.samples.push(Sample { input_ids, labels, weights, attention_mask, documents });
    }
}
