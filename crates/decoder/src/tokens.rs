//! Sequences laid end to end: no position is padding, and attention does not cross borders.

use olive_kernels::Segments;

/// Some sequences as the decoder takes them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tokens {
    /// All ids, one sequence after the other.
    pub ids: Vec<u32>,
    /// Lengths of the sequences; their sum is the number of ids.
    pub lengths: Vec<usize>,
    /// Length for which position embeddings are chosen (LongRoPE has two sets): that of the longest sequence, padding
    /// included.
    pub sequence_length: usize,
}

impl Tokens {
    /// One sequence.
    pub fn single(ids: &[u32]) -> Tokens {
        Tokens { ids: ids.to_vec(), lengths: vec![ids.len()], sequence_length: ids.len() }
    }

    pub(super) fn segments(&self) -> Segments {
        Segments::documents(&self.lengths)
    }

    /// Position of every id in its sequence.
    pub(super) fn positions(&self) -> Vec<u32> {
        self.lengths.iter().flat_map(|n| 0..*n as u32).collect()
    }
}
