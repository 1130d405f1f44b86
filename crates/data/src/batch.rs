//! Samples of differing lengths as one rectangle.

use crate::sample::{IGNORED, Sample};
use std::ops::Range;

/// Samples, padded on the right to the longest of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    pub input_ids: Vec<u32>, // [rows, cols]
    /// [`IGNORED`] in the padding.
    pub labels: Vec<i32>, // [rows, cols]
    /// 0 in the padding; `None` if no sample has a mask.
    pub mask: Option<Vec<u8>>, // [rows, cols]
    /// Per row, the columns from the first real token to the last. Outside there is nothing to compute.
    pub spans: Vec<Range<usize>>, // [rows]
    pub rows: usize,
    pub cols: usize,
}

/// Pads with `pad_id`.
pub fn collate(samples: &[&Sample], pad_id: u32) -> Batch {
    let rows = samples.len();
    let cols = samples.iter().map(|s| s.input_ids.len()).max().unwrap_or(0);
    let mut batch = Batch {
        input_ids: vec![pad_id; rows * cols],
        labels: vec![IGNORED; rows * cols],
        mask: samples.iter().any(|s| s.attention_mask.is_some()).then(|| vec![0; rows * cols]),
        spans: samples.iter().map(|s| s.span()).collect(),
        rows,
        cols,
    };
    for (row, sample) in samples.iter().enumerate() {
        let place = row * cols..row * cols + sample.input_ids.len();
        batch.input_ids[place.clone()].copy_from_slice(&sample.input_ids);
        batch.labels[place.clone()].copy_from_slice(&sample.labels);
        if let Some(mask) = &mut batch.mask {
            match &sample.attention_mask {
                Some(own) => mask[place].copy_from_slice(own),
                None => mask[place].fill(1),
            }
        }
    }
    batch
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pads_on_the_right_and_knows_what_is_real() {
        let masked = Sample {
            input_ids: vec![9, 9, 1],
            labels: vec![-100, -100, 1],
            attention_mask: Some(vec![0, 0, 1]),
            documents: None,
        };
        let plain = Sample { input_ids: vec![1, 2], labels: vec![1, 2], ..Sample::default() };
        let batch = collate(&[&masked, &plain], 7);
        assert_eq!((batch.rows, batch.cols), (2, 3));
        assert_eq!(batch.input_ids, [9, 9, 1, 1, 2, 7]);
        assert_eq!(batch.labels, [-100, -100, 1, 1, 2, -100]);
        assert_eq!(batch.mask, Some(vec![0, 0, 1, 1, 1, 0]));
        assert_eq!(batch.spans, [2..3, 0..2]);
        let batch = collate(&[&plain, &plain], 7);
        assert_eq!((batch.mask, batch.cols), (None, 2));
        assert_eq!(collate(&[], 7).cols, 0);
    }
}
