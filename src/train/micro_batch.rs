//! Some samples as the decoder takes them: shifted labels, and no position that cannot matter.

use crate::data::Sample;
use crate::data::sample::IGNORED;
use crate::decoder::Tokens;

/// What goes through the decoder at once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MicroBatch {
    pub tokens: Tokens,
    /// What each position should predict; [`IGNORED`] does not count.
    pub targets: Vec<i32>,
    /// Positions that count.
    pub labels: usize,
    /// Tokens of the samples, padding not counted.
    pub real_tokens: usize,
    /// Numbers of the samples in their dataset, for messages.
    pub rows: Vec<usize>,
}

impl MicroBatch {
    /// Lays samples, each with its number, end to end.
    ///
    /// Padding is left out by the attention mask. So are the positions of a sample after the last label: nothing that
    /// counts sees them. Neither changes a loss or a gradient.
    pub fn new<'a>(samples: impl IntoIterator<Item = (usize, &'a Sample)>) -> MicroBatch {
        let mut batch = MicroBatch::default();
        for (row, sample) in samples {
            batch.rows.push(row);
            batch.tokens.sequence_length = batch.tokens.sequence_length.max(sample.input_ids.len());
            let real = |i: &usize| sample.attention_mask.as_ref().is_none_or(|mask| mask[*i] != 0);
            let kept: Vec<usize> = (0..sample.input_ids.len()).filter(real).collect();
            batch.real_tokens += kept.len();
            let next = |j: usize| kept.get(j + 1).map_or(IGNORED, |i| sample.labels[*i]);
            let Some(last) = (0..kept.len()).rfind(|j| next(*j) != IGNORED) else { continue };
            for (j, position) in kept.iter().enumerate().take(last + 1) {
                batch.tokens.ids.push(sample.input_ids[*position]);
                batch.targets.push(next(j));
                batch.labels += usize::from(next(j) != IGNORED);
            }
            batch.tokens.lengths.push(last + 1);
        }
        batch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_shift_and_padding_goes() {
        let padded = Sample {
            input_ids: vec![0, 0, 5, 6, 7, 0],
            labels: vec![-100, -100, 5, 6, 7, -100],
            attention_mask: Some(vec![0, 0, 1, 1, 1, 0]),
        };
        let prompt =
            Sample { input_ids: vec![1, 2, 3, 4], labels: vec![-100, -100, 3, -100], attention_mask: None };
        let single = Sample { input_ids: vec![9], labels: vec![9], attention_mask: None };
        let batch = MicroBatch::new([(4, &padded), (8, &prompt), (2, &single)]);
        assert_eq!(batch.tokens.ids, [5, 6, 1, 2]);
        assert_eq!(batch.targets, [6, 7, -100, 3]);
        assert_eq!(batch.tokens.lengths, [2, 2]);
        assert_eq!((batch.labels, batch.real_tokens), (3, 8));
        assert_eq!(batch.tokens.sequence_length, 6);
        assert_eq!(batch.rows, [4, 8, 2]);
    }
}
