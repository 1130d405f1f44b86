//! How long a block of tokens should be.

/// No block is longer, unless somebody asks for it: memory grows with it.
const MOST: usize = 2048;

/// Lengths are multiples of this.
const STEP: usize = 32;

/// `max_seq_len` for rows of these lengths in tokens and a model with this context: the longest row, up to the context and to
/// 2048.
pub fn block_length(lengths: &[usize], context: usize) -> usize {
    let longest = lengths.iter().max().copied().unwrap_or(0);
    let limit = MOST.min(context).max(1);
    longest.next_multiple_of(STEP).clamp(STEP.min(limit), limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_row_fits_if_the_model_can_read_it() {
        assert_eq!(block_length(&[10, 33], 8192), 64);
        assert_eq!(block_length(&[10, 64], 8192), 64);
        assert_eq!(block_length(&[5000], 8192), 2048);
        assert_eq!(block_length(&[5000], 100), 100);
        assert_eq!(block_length(&[3], 16), 16);
        assert_eq!(block_length(&[], 16), 16);
    }
}
