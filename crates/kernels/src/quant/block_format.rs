//! Blocks of a row that share a scale, each quantised by one of the methods.

use super::algorithm::Algorithm;
use super::block_method::{BlockOptions, Rounding};
use crate::float_type::FloatType;

/// Everything that decides the bytes of a quantised matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockFormat {
    pub algorithm: Algorithm,
    /// 4 or 8.
    pub bits: u8,
    /// 16, 32, 64, 128 or 256 elements.
    pub block_size: usize,
    pub symmetric: bool,
    /// Of the default algorithm.
    pub rounding: Rounding,
    /// Type of the scales, and type the weights are rounded to first.
    pub float: FloatType,
}

impl BlockFormat {
    /// Blocks of a row of `cols` elements; the last one may be partial.
    pub fn blocks(&self, cols: usize) -> usize {
        cols.div_ceil(self.block_size)
    }

    /// Bytes of the codes of one block.
    pub fn block_bytes(&self) -> usize {
        self.block_size * usize::from(self.bits) / 8
    }

    /// Bytes of the zero points of one row; rows do not share a byte.
    pub fn zero_point_bytes(&self, cols: usize) -> usize {
        (self.blocks(cols) * usize::from(self.bits)).div_ceil(8)
    }

    pub(super) fn options(&self) -> BlockOptions {
        let BlockFormat { bits, block_size, symmetric, rounding, float, .. } = *self;
        BlockOptions { bits, block_size, symmetric, rounding, float }
    }

    /// Appends the zero points of a row's blocks.
    pub(super) fn pack_zero_points(&self, zeros: &[u8], out: &mut Vec<u8>) {
        if self.bits == 8 {
            out.extend_from_slice(zeros);
            return;
        }
        for pair in zeros.chunks(2) {
            // A missing partner is filled with 8, the zero point of nothing.
            out.push(pair[0] | pair.get(1).copied().unwrap_or(8) << 4);
        }
    }
}
