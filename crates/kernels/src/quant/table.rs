//! The 4-bit format of a table that `GatherBlockQuantized` looks rows up in: codes `[rows, k]` without padding.
//!
//! The steps and their roundings to the float type are those of ONNX Runtime's quantiser, which runs on NumPy.

use super::block_format::BlockFormat;
use super::quantised_rows::{QuantisedRows, nibble};
use super::weight_format::{Arrangement, ElementType, Part, PartKind, WeightFormat};
use crate::float_type::FloatType;

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

impl WeightFormat for TableFormat {
    /// Codes `[rows, cols]`, scales and zero points `[rows, blocks]`.
    fn parts(&self, [rows, cols]: [usize; 2]) -> Vec<Part> {
        let blocks = self.blocks(cols);
        let codes = if self.symmetric { ElementType::I4 } else { ElementType::U4 };
        let part = |kind, element, dims| Part { kind, element, dims };
        let zero_points =
            (!self.symmetric).then(|| part(PartKind::ZeroPoints, ElementType::U4, vec![rows, blocks]));
        [
            part(PartKind::Codes, codes, vec![rows, cols]),
            part(PartKind::Scales, ElementType::Float(self.float), vec![rows, blocks]),
        ]
        .into_iter()
        .chain(zero_points)
        .collect()
    }

    fn part_name(&self, weight: &str, part: PartKind) -> String {
        match part {
            PartKind::Codes => format!("{weight}_Q4"),
            PartKind::Scales => format!("{weight}_scales"),
            PartKind::ZeroPoints => format!("{weight}_zero_points"),
        }
    }

    fn has_zero_points(&self) -> bool {
        !self.symmetric
    }

    /// An even number of rows, or the last ones of a table: rows share a byte of zero points.
    fn quantise(&self, rows: &mut [f32], k: usize, out: &mut QuantisedRows) {
        self.float.round(rows);
        out.clear();
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

    fn decode_row(&self, rows: &QuantisedRows, row: usize, out: &mut [f32]) {
        let (cols, blocks) = (out.len(), self.blocks(out.len()));
        for (b, values) in out.chunks_mut(self.block_size).enumerate() {
            let block = row * blocks + b;
            let scale = rows.scales[block];
            for (i, value) in values.iter_mut().enumerate() {
                let code = nibble(&rows.codes, row * cols + b * self.block_size + i);
                let level = if self.symmetric {
                    f32::from((code ^ 8) as i8 - 8)
                } else {
                    f32::from(code) - f32::from(nibble(&rows.zero_points, block))
                };
                *value = level * scale;
            }
        }
    }

    fn arrangement(&self) -> Arrangement<'_> {
        Arrangement::ByRow
    }

    fn block_format(&self) -> Option<BlockFormat> {
        None
    }
}

fn pack(pair: &[u8]) -> u8 {
    pair[0] | pair.get(1).copied().unwrap_or(0) << 4
}
