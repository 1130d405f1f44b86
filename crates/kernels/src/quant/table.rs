//! The 4-bit format of a table that `GatherBlockQuantized` looks rows up in: codes `[rows, k]` without padding.
//!
//! The steps and their roundings to the float type are those of ONNX Runtime's quantiser, which runs on NumPy.

use super::float::FloatType;
use super::matmul_nbits::QuantisedRows;

/// Everything that decides the bytes of a quantised table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableFormat {
    /// Elements of a row that share a scale.
    pub block_size: usize,
    /// Signed codes without zero points; else unsigned ones.
    pub symmetric: bool,
    /// Type of the scales, and type the table is rounded to first.
    pub float: FloatType,
}

impl TableFormat {
    /// Blocks of a row of `k` elements; the last one may be partial.
    pub fn blocks(&self, k: usize) -> usize {
        k.div_ceil(self.block_size)
    }

    /// Quantises an even number of rows of `k` elements each (or the last ones of a table), replacing what `out` holds:
    /// codes `[rows, k / 2]`, scales `[rows, blocks]`, zero points `[rows · blocks / 2]`, of two codes in a byte the
    /// first is the low one.
    pub fn quantise(&self, rows: &mut [f32], k: usize, out: &mut QuantisedRows) {
        self.float.round(rows);
        out.codes.clear();
        out.scales.clear();
        out.zero_points.clear();
        let mut codes = Vec::with_capacity(k);
        let mut zeros = Vec::new();
        for row in rows.chunks_exact(k) {
            codes.clear();
            for block in row.chunks(self.block_size) {
                let (scale, zero) = if self.symmetric {
                    self.signed(block, &mut codes)
                } else {
                    self.unsigned(block, &mut codes)
                };
                out.scales.push(scale);
                zeros.push(zero);
            }
            out.codes.extend(codes.chunks(2).map(pack));
        }
        if !self.symmetric {
            out.zero_points.extend(zeros.chunks(2).map(pack));
        }
    }

    fn round_one(&self, value: f32) -> f32 {
        let mut value = [value];
        self.float.round(&mut value);
        value[0]
    }

    fn signed(&self, block: &[f32], codes: &mut Vec<u8>) -> (f32, u8) {
        let min = block.iter().copied().fold(f32::INFINITY, f32::min);
        let max = block.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let extreme = if max.abs() > min.abs() { max } else { min };
        let scale = self.round_one(extreme / -8.0);
        codes.extend(block.iter().map(|v| {
            let code = if scale == 0.0 { 0.0 } else { self.round_one(v / scale).round_ties_even() };
            (code.clamp(-8.0, 7.0) as i8) as u8 & 15
        }));
        (scale, 0)
    }

    fn unsigned(&self, block: &[f32], codes: &mut Vec<u8>) -> (f32, u8) {
        let min = block.iter().copied().fold(0.0, f32::min);
        let max = block.iter().copied().fold(0.0, f32::max);
        let scale = self.round_one(self.round_one(max - min) / 15.0);
        if scale == 0.0 {
            codes.extend(block.iter().map(|_| 8));
            return (scale, 8);
        }
        let zero = self.round_one(-min / scale).round_ties_even().clamp(0.0, 15.0);
        codes.extend(block.iter().map(|v| {
            let code = self.round_one(self.round_one(v / scale) + zero).round_ties_even();
            code.clamp(0.0, 15.0) as u8
        }));
        (scale, zero as u8)
    }
}

fn pack(pair: &[u8]) -> u8 {
    pair[0] | pair.get(1).copied().unwrap_or(0) << 4
}
