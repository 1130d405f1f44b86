//! The 4-bit blocks of `MatMulNBits` in the layout of ONNX's `DequantizeLinear` before a `MatMul`: codes `[cols, rows]`.

use super::block_format::BlockFormat;
use super::quantised_rows::{QuantisedRows, nibble};
use super::weight_format::{Arrangement, ByColumn, ElementType, Part, PartKind, WeightFormat};

/// Blocks of 4-bit codes, signed where there are no zero points.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DequantizeLinearFormat {
    blocks: BlockFormat,
}

impl DequantizeLinearFormat {
    /// # Panics
    /// The codes of the blocks have not 4 bits.
    pub fn new(blocks: BlockFormat) -> DequantizeLinearFormat {
        assert_eq!(blocks.bits, 4, "two codes fill a byte");
        DequantizeLinearFormat { blocks }
    }
}

impl WeightFormat for DequantizeLinearFormat {
    /// Codes `[cols, rows]`, scales and zero points `[blocks, rows]`.
    fn parts(&self, [rows, cols]: [usize; 2]) -> Vec<Part> {
        let blocks = self.blocks.blocks(cols);
        let has_zero_points = self.blocks.has_zero_points();
        let codes = if has_zero_points { ElementType::U4 } else { ElementType::I4 };
        let part = |kind, element, dims| Part { kind, element, dims };
        let zero_points =
            has_zero_points.then(|| part(PartKind::ZeroPoints, ElementType::U4, vec![blocks, rows]));
        [
            part(PartKind::Codes, codes, vec![cols, rows]),
            part(PartKind::Scales, ElementType::Float(self.blocks.float), vec![blocks, rows]),
        ]
        .into_iter()
        .chain(zero_points)
        .collect()
    }

    fn part_name(&self, weight: &str, part: PartKind) -> String {
        match part {
            PartKind::Codes => format!("{weight}_DQ_Q4"),
            PartKind::Scales => format!("{weight}_DQ_scales"),
            PartKind::ZeroPoints => format!("{weight}_DQ_zero_points"),
        }
    }

    fn has_zero_points(&self) -> bool {
        self.blocks.has_zero_points()
    }

    fn quantise(&self, rows: &mut [f32], cols: usize, out: &mut QuantisedRows) {
        self.blocks.quantise(rows, cols, out);
    }

    fn decode_row(&self, rows: &QuantisedRows, row: usize, out: &mut [f32]) {
        self.blocks.decode_row(rows, row, out);
    }

    fn arrangement(&self) -> Arrangement<'_> {
        Arrangement::ByColumn(self)
    }

    fn block_format(&self) -> Option<BlockFormat> {
        Some(self.blocks)
    }
}

impl ByColumn for DequantizeLinearFormat {
    fn zeros(&self, [rows, cols]: [usize; 2]) -> QuantisedRows {
        let scales = self.blocks.blocks(cols) * rows;
        let zero_points = if self.blocks.has_zero_points() { scales.div_ceil(2) } else { 0 };
        QuantisedRows {
            codes: vec![0; (cols * rows).div_ceil(2)],
            scales: vec![0.0; scales],
            zero_points: vec![0; zero_points],
        }
    }

    fn put(
        &self,
        rows: &QuantisedRows,
        first: usize,
        count: usize,
        [height, cols]: [usize; 2],
        whole: &mut QuantisedRows,
    ) {
        let format = self.blocks;
        let (blocks, has_zero_points) = (format.blocks(cols), format.has_zero_points());
        let put = |bytes: &mut [u8], at: usize, code: u8| bytes[at / 2] |= code << (4 * (at % 2));
        // Without zero points the codes are signed.
        let sign = if has_zero_points { 0 } else { 8 };
        for r in 0..count {
            let row = first + r;
            let codes = &rows.codes[r * blocks * format.block_bytes()..];
            for c in 0..cols {
                put(&mut whole.codes, c * height + row, nibble(codes, c) ^ sign);
            }
            for b in 0..blocks {
                whole.scales[b * height + row] = rows.scales[r * blocks + b];
                if has_zero_points {
                    let zeros = &rows.zero_points[r * format.zero_point_bytes(cols)..];
                    put(&mut whole.zero_points, b * height + row, nibble(zeros, b));
                }
            }
        }
    }
}
