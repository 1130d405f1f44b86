//! Some samples as the decoder takes them: with shifted labels, without padding, and without positions on which no label
//! depends.

use crate::sample::{IGNORED, Sample};
use olive_decoder::{LossTargets, Tokens};
use std::ops::Range;

/// What goes through the decoder at once.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct MicroBatch {
    pub tokens: Tokens,
    /// What each position should predict; [`IGNORED`] does not count.
    pub targets: Vec<i32>,
    /// Factor on the loss of each target, where not all are 1.
    pub weights: Option<Vec<f32>>,
    /// Targets that count.
    pub labels: usize,
    /// Sum of the weights of the targets that count.
    pub weight: f64,
    /// Tokens of the samples, padding not counted.
    pub real_tokens: usize,
    /// Numbers of the samples in their dataset, for messages.
    pub rows: Vec<usize>,
}

impl MicroBatch {
    /// Lays samples, each with its number, end to end; the documents of a packed sample stay apart.
    ///
    /// Padding is left out by the attention mask. So are the positions of a sample after the last label: nothing that
    /// counts sees them. Neither changes a loss or a gradient.
    pub fn new<'a>(samples: impl IntoIterator<Item = (usize, &'a Sample)>) -> MicroBatch {
        let mut batch = MicroBatch::default();
        for (row, sample) in samples {
            batch.rows.push(row);
            if sample.weights.is_some() && batch.weights.is_none() {
                batch.weights = Some(vec![1.0; batch.targets.len()]);
            }
            for document in sample.document_ranges() {
                batch.add(sample, document);
            }
        }
        batch
    }

    /// What each position should predict, and how much it counts.
    pub fn loss_targets(&self) -> LossTargets<'_> {
        LossTargets { labels: &self.targets, weights: self.weights.as_deref() }
    }

    fn add(&mut self, sample: &Sample, document: Range<usize>) {
        self.tokens.sequence_length = self.tokens.sequence_length.max(document.len());
        let real = |i: &usize| sample.attention_mask.as_ref().is_none_or(|mask| mask[*i] != 0);
        let kept: Vec<usize> = document.filter(real).collect();
        self.real_tokens += kept.len();
        let next = |j: usize| kept.get(j + 1).map_or(IGNORED, |i| sample.labels[*i]);
        let Some(last) = (0..kept.len()).rfind(|j| next(*j) != IGNORED) else { return };
        for (j, position) in kept.iter().enumerate().take(last + 1) {
            self.tokens.ids.push(sample.input_ids[*position]);
            self.targets.push(next(j));
            let counts = next(j) != IGNORED;
            let weight = match (&sample.weights, kept.get(j + 1)) {
                (Some(weights), Some(next)) => weights[*next],
                _ => 1.0,
            };
            if let Some(weights) = &mut self.weights {
                weights.push(weight);
            }
            self.labels += usize::from(counts);
            self.weight += if counts { f64::from(weight) } else { 0.0 };
        }
        self.tokens.lengths.push(last + 1);
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
            ..Sample::default()
        };
        let prompt =
            Sample { input_ids: vec![1, 2, 3, 4], labels: vec![-100, -100, 3, -100], ..Sample::default() };
        let single = Sample { input_ids: vec![9], labels: vec![9], ..Sample::default() };
        let batch = MicroBatch::new([(4, &padded), (8, &prompt), (2, &single)]);
        assert_eq!(batch.tokens.ids, [5, 6, 1, 2]);
        assert_eq!(batch.targets, [6, 7, -100, 3]);
        assert_eq!(batch.tokens.lengths, [2, 2]);
        assert_eq!((batch.labels, batch.real_tokens), (3, 8));
        assert_eq!(batch.tokens.sequence_length, 6);
        assert_eq!(batch.rows, [4, 8, 2]);
        assert_eq!((batch.weights, batch.weight), (None, 3.0));

        let halved = Sample { weights: Some(vec![0.0, 0.0, 0.5, 0.0]), ..prompt };
        let batch = MicroBatch::new([(0, &padded), (1, &halved)]);
        assert_eq!(batch.weights, Some(vec![1.0, 1.0, 0.0, 0.5]));
        assert_eq!((batch.labels, batch.weight), (3, 2.5));
    }
}
