//! Token blocks, ready for training.

use std::ops::Range;

/// Label of a position that does not count in the loss.
pub const IGNORED: i32 = -100;

/// One block of tokens.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Sample {
    pub input_ids: Vec<u32>,
    /// Not shifted: the model predicts `labels[i + 1]` from position `i`. [`IGNORED`] does not count.
    pub labels: Vec<i32>,
    /// Factor on the loss of each label. `None`: 1 for all that count.
    pub weights: Option<Vec<f32>>,
    /// 1 for real tokens, 0 for padding. `None`: every position is real.
    pub attention_mask: Option<Vec<u8>>,
    /// Lengths of the documents that lie in it one after the other and do not see one another. `None`: it is one.
    pub documents: Option<Vec<usize>>,
}

impl Sample {
    /// Number of tokens, padding not counted.
    pub fn real_tokens(&self) -> usize {
        match &self.attention_mask {
            None => self.input_ids.len(),
            Some(mask) => mask.iter().filter(|real| **real != 0).count(),
        }
    }

    /// The positions of every document.
    pub fn document_ranges(&self) -> Vec<Range<usize>> {
        let whole = [self.input_ids.len()];
        let mut start = 0;
        let range = |length: &usize| {
            start += length;
            start - length..start
        };
        self.documents.as_deref().unwrap_or(&whole).iter().map(range).collect()
    }
}

/// What a data configuration yields.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Dataset {
    pub samples: Vec<Sample>,
    /// Rows read, after slicing and filtering.
    pub rows: usize,
}

impl Dataset {
    /// Number of tokens of all samples, padding included.
    pub fn tokens(&self) -> usize {
        self.samples.iter().map(|s| s.input_ids.len()).sum()
    }
}
