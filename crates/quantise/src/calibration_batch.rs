//! Samples as they go through a model that is looked at: every position counts, whether or not it has a label.

use olive_data::{Dataset, Sample};
use olive_decoder::Tokens;

/// Tokens that go through a layer at once.
const TOKENS: usize = 1 << 10;

/// Some samples, laid end to end. Padding is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CalibrationBatch {
    pub tokens: Tokens,
    /// Samples in it.
    pub samples: usize,
}

/// Which samples may lie in one batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Together {
    Any,
    /// Those of one length, whose means over positions then are the mean over all of them.
    OfOneLength,
}

impl CalibrationBatch {
    /// All samples of a dataset, in order.
    pub fn of(dataset: &Dataset, together: Together) -> Vec<CalibrationBatch> {
        let mut batches: Vec<CalibrationBatch> = Vec::new();
        for sample in &dataset.samples {
            let tokens = tokens_of(sample);
            if tokens.ids.is_empty() {
                continue;
            }
            let fits = |batch: &CalibrationBatch| {
                let alike = together == Together::Any
                    || (batch.tokens.lengths.len() == batch.samples
                        && batch.tokens.lengths[0] == tokens.ids.len());
                // Which rotations are used depends on the longest of a batch.
                alike
                    && batch.tokens.sequence_length == tokens.sequence_length
                    && batch.tokens.ids.len() + tokens.ids.len() <= TOKENS
            };
            match batches.last_mut().filter(|batch| fits(batch)) {
                Some(batch) => {
                    batch.tokens.ids.extend(tokens.ids);
                    batch.tokens.lengths.extend(tokens.lengths);
                    batch.samples += 1;
                }
                None => batches.push(CalibrationBatch { tokens, samples: 1 }),
            }
        }
        batches
    }
}

fn tokens_of(sample: &Sample) -> Tokens {
    let mut tokens = Tokens::default();
    let real = |i: &usize| sample.attention_mask.as_ref().is_none_or(|mask| mask[*i] != 0);
    for document in sample.document_ranges() {
        tokens.sequence_length = tokens.sequence_length.max(document.len());
        let before = tokens.ids.len();
        tokens.ids.extend(document.filter(real).map(|i| sample.input_ids[i]));
        let length = tokens.ids.len() - before;
        if length > 0 {
            tokens.lengths.push(length);
        }
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(ids: std::ops::Range<u32>, padding: usize) -> Sample {
        let real = ids.len();
        let input_ids: Vec<u32> = ids.chain(std::iter::repeat_n(0, padding)).collect();
        let attention_mask = Some((0..real + padding).map(|i| u8::from(i < real)).collect());
        Sample {
            labels: vec![-100; input_ids.len()],
            input_ids,
            attention_mask,
            weights: None,
            documents: None,
        }
    }

    #[test]
    fn padding_is_left_out_and_positions_without_labels_are_not() {
        let dataset = Dataset { samples: vec![sample(1..5, 2), sample(5..9, 2), sample(9..11, 0)], rows: 3 };
        let batches = CalibrationBatch::of(&dataset, Together::OfOneLength);
        let ids: Vec<_> = batches.iter().map(|batch| (batch.tokens.ids.clone(), batch.samples)).collect();
        assert_eq!(ids, [((1..9).collect(), 2), ((9..11).collect(), 1)]);
        assert_eq!(batches[0].tokens.lengths, [4, 4]);
    }
}
