//! Tokens to samples: labels, masks and padding of both eras of Olive, for all strategies.

use super::sample::{IGNORED, Sample};
use crate::config::canonical::{Era, PaddingSide};

/// Takes token lists and makes samples of them, up to a number.
pub(super) struct Sampler<'a> {
    pub samples: &'a mut Vec<Sample>,
    pub era: Era,
    pub length: usize,
    pub limit: Option<usize>,
    /// What Olive 0.6 masks wherever it stands, and rows are padded with.
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

    /// The ids again: labels are not shifted.
    pub(super) fn labels(&self, ids: &[u32]) -> Vec<i32> {
        // Vocabularies are far below 2^31.
        ids.iter().map(|&id| i32::try_from(id).unwrap_or(IGNORED)).collect()
    }

    /// A block without padding.
    pub(super) fn push(&mut self, input_ids: Vec<u32>, labels: Vec<i32>) {
        let mask = vec![1; input_ids.len()];
        self.finish(input_ids, labels, mask);
    }

    /// A row, padded if rows are. False, and no sample, if there is not a single token.
    pub(super) fn push_row(&mut self, mut ids: Vec<u32>) -> bool {
        let mut labels = self.labels(&ids);
        let mut mask = vec![1; ids.len()];
        if let (Some(side), Some(pad)) = (self.padding, self.pad_id) {
            let missing = self.length.saturating_sub(ids.len());
            let at = if side == PaddingSide::Left { 0 } else { ids.len() };
            ids.splice(at..at, std::iter::repeat_n(pad, missing));
            labels.splice(at..at, std::iter::repeat_n(IGNORED, missing));
            mask.splice(at..at, std::iter::repeat_n(0, missing));
        }
        if ids.is_empty() {
            return false;
        }
        self.finish(ids, labels, mask);
        true
    }

    fn finish(&mut self, input_ids: Vec<u32>, mut labels: Vec<i32>, mut mask: Vec<u8>) {
        if self.era == Era::Old && self.use_attention_mask {
            // Olive 0.6 knows padding by its id only, so that where it pads with the end of text it masks that, too.
            for ((&id, mask), label) in input_ids.iter().zip(&mut mask).zip(&mut labels) {
                if Some(id) == self.pad_id {
                    (*mask, *label) = (0, IGNORED);
                }
            }
        }
        let attention_mask = self.use_attention_mask.then_some(mask);
        self.samples.push(Sample { input_ids, labels, attention_mask });
    }
}
