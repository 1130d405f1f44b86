//! The block format of ONNX Runtime's `MatMulNBits`: one row per output channel, blocks along the input.
//!
//! A linear layer of a checkpoint, `[out, in]` row-major, is quantised row by row as it lies; nothing is transposed.

use super::block_format::BlockFormat;
use super::block_method::{Quantiser, RowEncoder};
use super::quantised_rows::{QuantisedRows, nibble};
use super::weight_format::{Arrangement, ElementType, Part, PartKind, WeightFormat};

impl WeightFormat for BlockFormat {
    /// Codes `[rows, blocks, block_size · bits / 8]`, scales `[rows, blocks]`, zero points
    /// `[rows, ceil(blocks · bits / 8)]`.
    fn parts(&self, [rows, cols]: [usize; 2]) -> Vec<Part> {
        let blocks = self.blocks(cols);
        let part = |kind, element, dims| Part { kind, element, dims };
        let codes = part(PartKind::Codes, ElementType::U8, vec![rows, blocks, self.block_bytes()]);
        let scales = part(PartKind::Scales, ElementType::Float(self.float), vec![rows, blocks]);
        let zero_points = self
            .has_zero_points()
            .then(|| part(PartKind::ZeroPoints, ElementType::U8, vec![rows, self.zero_point_bytes(cols)]));
        match self.algorithm.method().quantiser() {
            Quantiser::OnnxRuntime => [codes, scales].into_iter().chain(zero_points).collect(),
            Quantiser::NeuralCompressor => [scales].into_iter().chain(zero_points).chain([codes]).collect(),
        }
    }

    fn part_name(&self, weight: &str, part: PartKind) -> String {
        let BlockFormat { bits, block_size, .. } = self;
        match (self.algorithm.method().quantiser(), part) {
            (Quantiser::OnnxRuntime, PartKind::Codes) => format!("{weight}_Q{bits}"),
            (Quantiser::OnnxRuntime, PartKind::Scales) => format!("{weight}_scales"),
            (Quantiser::OnnxRuntime, PartKind::ZeroPoints) => format!("{weight}_zero_points"),
            (Quantiser::NeuralCompressor, PartKind::Codes) => format!("{weight}_Q{bits}G{block_size}"),
            (Quantiser::NeuralCompressor, PartKind::Scales) => format!("{weight}_scale"),
            (Quantiser::NeuralCompressor, PartKind::ZeroPoints) => format!("{weight}_zp"),
        }
    }

    fn has_zero_points(&self) -> bool {
        self.algorithm.method().has_zero_points(self.symmetric)
    }

    fn quantise(&self, rows: &mut [f32], cols: usize, out: &mut QuantisedRows) {
        self.float.round(rows);
        let (blocks, count) = (self.blocks(cols), rows.len() / cols);
        let (method, options) = (self.algorithm.method(), self.options());
        let width = blocks * self.block_bytes();
        out.clear();
        out.codes.resize(count * width, 0);
        out.scales.reserve(count * blocks);
        let mut encoder = RowEncoder::default();
        for (row, packed) in rows.chunks_exact(cols).zip(out.codes.chunks_exact_mut(width)) {
            method.encode_row(row, options, &mut encoder, packed);
            out.scales.extend_from_slice(&encoder.scales);
            if self.has_zero_points() {
                self.pack_zero_points(&encoder.zeros, &mut out.zero_points);
            }
        }
        self.float.round(&mut out.scales);
    }

    fn decode_row(&self, rows: &QuantisedRows, row: usize, out: &mut [f32]) {
        let (blocks, width) = (self.blocks(out.len()), self.block_bytes());
        let zeros = if self.has_zero_points() { self.zero_point_bytes(out.len()) } else { 0 };
        let zeros = &rows.zero_points[row * zeros..(row + 1) * zeros];
        for (b, values) in out.chunks_mut(self.block_size).enumerate() {
            let scale = rows.scales[row * blocks + b];
            let codes = &rows.codes[(row * blocks + b) * width..][..width];
            let zero = match (zeros.is_empty(), self.bits) {
                (true, bits) => 1 << (bits - 1),
                (false, 4) => nibble(zeros, b),
                (false, _) => zeros[b],
            };
            for (i, value) in values.iter_mut().enumerate() {
                let code = if self.bits == 4 { nibble(codes, i) } else { codes[i] };
                *value = (f32::from(code) - f32::from(zero)) * scale;
            }
        }
    }

    fn arrangement(&self) -> Arrangement<'_> {
        Arrangement::ByRow
    }

    fn block_format(&self) -> Option<BlockFormat> {
        Some(*self)
    }
}

#[cfg(test)]
mod tests {
    use super::super::algorithm::Algorithm;
    use super::super::block_method::Rounding;
    use super::*;
    use crate::float_type::FloatType;

    const WORKED: [f32; 16] =
        [0.10, -0.70, 0.35, 0.62, 0.05, -0.21, 0.48, -0.33, 0.0, 0.29, -0.55, 0.17, 0.66, -0.08, 0.41, -0.12];

    fn format(symmetric: bool, float: FloatType) -> BlockFormat {
        BlockFormat {
            algorithm: Algorithm::Default,
            bits: 4,
            block_size: 16,
            symmetric,
            rounding: Rounding::HalvesUp,
            float,
        }
    }

    fn quantise(format: BlockFormat, row: &[f32]) -> QuantisedRows {
        let mut out = QuantisedRows::default();
        format.quantise(&mut row.to_vec(), row.len(), &mut out);
        out
    }

    // The bytes of these tests were given by ONNX Runtime's own function.
    const WORKED_BYTES: [u8; 8] = [0x09, 0xfc, 0x69, 0x4d, 0xb8, 0xa2, 0x7f, 0x7d];

    #[test]
    fn default_symmetric_block() {
        let out = quantise(format(true, FloatType::F32), &WORKED);
        assert_eq!(out.codes, WORKED_BYTES);
        assert_eq!(out.scales, [0.70 / 8.0]);
        assert!(out.zero_points.is_empty());
        let negated: Vec<f32> = WORKED.iter().map(|v| -v).collect();
        let out = quantise(format(true, FloatType::F32), &negated);
        assert_eq!(out.codes, WORKED_BYTES);
        assert_eq!(out.scales, [-0.70 / 8.0]);
    }

    #[test]
    fn default_block_in_f16() {
        let out = quantise(format(true, FloatType::F16), &WORKED);
        assert_eq!(out.codes, WORKED_BYTES);
        assert_eq!(FloatType::F16.to_bytes(&out.scales), [0x9a, 0x2d]);
    }

    #[test]
    fn default_asymmetric_block() {
        let out = quantise(format(false, FloatType::F32), &WORKED);
        assert_eq!(out.codes, WORKED_BYTES);
        assert_eq!(out.scales, [(0.66 + 0.70) / 15.0]);
        assert_eq!(out.zero_points, [0x88]);
    }

    #[test]
    fn a_tie_takes_the_minimum_and_zeros_have_a_negative_zero_scale() {
        let mut tie = [0.0; 16];
        (tie[0], tie[1]) = (0.5, -0.5);
        let out = quantise(format(true, FloatType::F32), &tie);
        assert_eq!(out.scales, [0.0625]);
        assert_eq!(out.codes, [0x0f, 0x88, 0x88, 0x88, 0x88, 0x88, 0x88, 0x88]);
        let out = quantise(format(true, FloatType::F32), &[0.0; 16]);
        assert_eq!(out.scales[0].to_bits(), (-0.0f32).to_bits());
        assert_eq!(out.codes, [0x88; 8]);
        let out = quantise(format(false, FloatType::F32), &[0.0; 16]);
        assert_eq!((out.codes, out.scales, out.zero_points), (vec![0; 8], vec![0.0], vec![0x80]));
    }

    #[test]
    fn signed_codes_round_halves_away_from_zero() {
        let mut block = [0.0; 16];
        (block[0], block[1], block[2], block[3]) = (-8.0, -1.5, 1.5, -0.499_999_97);
        let unsigned = quantise(format(true, FloatType::F32), &block);
        let signed =
            quantise(BlockFormat { rounding: Rounding::HalvesAway, ..format(true, FloatType::F32) }, &block);
        assert_eq!(unsigned.codes[..2], [0x70, 0x8a]);
        assert_eq!(signed.codes[..2], [0x60, 0x8a]);
    }

    #[test]
    fn a_partial_block_ignores_what_is_not_there() {
        let format = format(true, FloatType::F32);
        let out = quantise(format, &WORKED[..10]);
        assert_eq!(out.codes, [0x09, 0xfc, 0x69, 0x4d, 0xb8, 0, 0, 0]);
        assert_eq!(out.scales, [0.70 / 8.0]);
    }

    #[test]
    fn zero_points_are_packed_per_row() {
        for bits in [4, 8] {
            let format = BlockFormat { bits, ..format(false, FloatType::F32) };
            let row: Vec<f32> = WORKED.iter().copied().cycle().take(48).collect();
            let twice: Vec<f32> = row.iter().chain(&row).copied().collect();
            let mut out = QuantisedRows::default();
            format.quantise(&mut twice.clone(), 48, &mut out);
            let expected: &[u8] = if bits == 4 { &[0x88, 0x88] } else { &[131, 131, 131] };
            assert_eq!(out.zero_points, [expected, expected].concat());
        }
    }
}
