//! The block format of ONNX Runtime's `MatMulNBits`: one row per output channel, blocks along the input.
//!
//! A linear layer of a checkpoint, `[out, in]` row-major, is quantised row by row as it lies; nothing is transposed.

use super::float::FloatType;
use super::{default, k_quant, rtn};
use half::f16;
use std::ops::Range;

/// How scale and codes of a block are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// ONNX Runtime's own.
    Default,
    /// Round to nearest in f64.
    Rtn,
    /// Weighted least squares; always with zero points.
    KQuant,
}

/// Everything that decides the bytes of a quantised matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockFormat {
    pub algorithm: Algorithm,
    /// 4 or 8.
    pub bits: u8,
    /// 16, 32, 64, 128 or 256 elements.
    pub block_size: usize,
    pub symmetric: bool,
    /// Values are rounded as signed numbers, before the zero point is added: halves go away from zero, not upwards. So
    /// it is done for `DequantizeLinear`. Codes are stored unsigned here all the same.
    pub signed: bool,
    /// Type of the scales, and type the weights are rounded to first.
    pub float: FloatType,
}

/// Quantised rows, in the layout of the operator's inputs.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct QuantisedRows {
    /// `[rows, blocks, block_size · bits / 8]`; of two 4-bit codes in a byte the even element is the low one.
    pub codes: Vec<u8>,
    /// `[rows, blocks]`, already rounded to the float type.
    pub scales: Vec<f32>,
    /// `[rows, ceil(blocks · bits / 8)]`; empty when the middle code is implied.
    pub zero_points: Vec<u8>,
}

impl QuantisedRows {
    /// Replaces what `out` holds by some rows of `k` elements.
    pub fn copy_rows(&self, format: BlockFormat, k: usize, rows: Range<usize>, out: &mut QuantisedRows) {
        fn copy<T: Copy>(from: &[T], width: usize, rows: &Range<usize>, to: &mut Vec<T>) {
            to.clear();
            to.extend_from_slice(&from[rows.start * width..rows.end * width]);
        }
        let blocks = format.blocks(k);
        copy(&self.codes, blocks * format.block_bytes(), &rows, &mut out.codes);
        copy(&self.scales, blocks, &rows, &mut out.scales);
        let zeros = if format.has_zero_points() { format.zero_point_bytes(k) } else { 0 };
        copy(&self.zero_points, zeros, &rows, &mut out.zero_points);
    }

    /// The values that the kernel sees for row `row` of `k` elements.
    pub fn decode_row(&self, format: BlockFormat, k: usize, row: usize, out: &mut [f32]) {
        let (blocks, width) = (format.blocks(k), format.block_bytes());
        let zeros = if format.has_zero_points() { format.zero_point_bytes(k) } else { 0 };
        let zeros = &self.zero_points[row * zeros..(row + 1) * zeros];
        for (b, values) in out.chunks_mut(format.block_size).enumerate() {
            let scale = self.scales[row * blocks + b];
            let codes = &self.codes[(row * blocks + b) * width..][..width];
            let zero = match (zeros.is_empty(), format.bits) {
                (true, bits) => 1 << (bits - 1),
                (false, 4) => zeros[b / 2] >> (4 * (b % 2)) & 15,
                (false, _) => zeros[b],
            };
            for (i, value) in values.iter_mut().enumerate() {
                let code = if format.bits == 4 { codes[i / 2] >> (4 * (i % 2)) & 15 } else { codes[i] };
                *value = (f32::from(code) - f32::from(zero)) * scale;
            }
        }
    }
}

impl BlockFormat {
    /// Blocks of a row of `k` elements; the last one may be partial.
    pub fn blocks(&self, k: usize) -> usize {
        k.div_ceil(self.block_size)
    }

    /// Bytes of the codes of one block.
    pub fn block_bytes(&self) -> usize {
        self.block_size * usize::from(self.bits) / 8
    }

    pub fn has_zero_points(&self) -> bool {
        !self.symmetric || self.algorithm == Algorithm::KQuant
    }

    /// Bytes of the zero points of one row; rows do not share a byte.
    pub fn zero_point_bytes(&self, k: usize) -> usize {
        (self.blocks(k) * usize::from(self.bits)).div_ceil(8)
    }

    /// Quantises rows of `k` elements each, replacing what `out` holds. The values are rounded to the float type in
    /// place first.
    pub fn quantise(&self, rows: &mut [f32], k: usize, out: &mut QuantisedRows) {
        self.float.round(rows);
        let blocks = self.blocks(k);
        let count = rows.len() / k;
        out.codes.clear();
        out.codes.resize(count * blocks * self.block_bytes(), 0);
        out.scales.clear();
        out.scales.reserve(count * blocks);
        out.zero_points.clear();
        let mut encoder = BlockEncoder::new(*self);
        let mut packed = out.codes.chunks_exact_mut(self.block_bytes());
        let mut zeros = Vec::with_capacity(blocks);
        for row in rows.chunks_exact(k) {
            zeros.clear();
            for (block, bytes) in row.chunks(self.block_size).zip(&mut packed) {
                let (scale, zero) = encoder.encode(block, bytes);
                out.scales.push(scale);
                zeros.push(zero);
            }
            if self.has_zero_points() {
                self.pack_zero_points(&zeros, &mut out.zero_points);
            }
        }
        self.float.round(&mut out.scales);
    }

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

/// Encodes block after block, with buffers of its own.
struct BlockEncoder {
    format: BlockFormat,
    codes: Vec<u8>,
    padded: Vec<f32>,
    scratch: k_quant::Scratch,
}

impl BlockEncoder {
    fn new(format: BlockFormat) -> BlockEncoder {
        BlockEncoder {
            format,
            codes: vec![0; format.block_size],
            padded: vec![0.0; format.block_size],
            scratch: k_quant::Scratch::default(),
        }
    }

    /// Scale, before its rounding to the float type, and zero point; the codes go to `bytes`.
    fn encode(&mut self, block: &[f32], bytes: &mut [u8]) -> (f32, u8) {
        let BlockFormat { algorithm, bits, symmetric, signed, float, .. } = self.format;
        let codes = &mut self.codes[..];
        let (scale, zero) = match algorithm {
            Algorithm::Default => {
                // The kernel stops at the row's end, so the codes of a partial block's tail stay 0. Only f16 scales
                // are rounded before use: the reference widens bf16 models to f32 and rounds at the very end.
                codes[block.len()..].fill(0);
                let round = |scale: f32| match float {
                    FloatType::F16 => f16::from_f32(scale).to_f32(),
                    FloatType::F32 | FloatType::Bf16 => scale,
                };
                if symmetric {
                    default::symmetric(block, bits, signed, round, codes)
                } else {
                    default::asymmetric(block, bits, signed, round, codes)
                }
            }
            Algorithm::Rtn | Algorithm::KQuant => {
                let block = if block.len() < self.padded.len() {
                    self.padded[..block.len()].copy_from_slice(block);
                    self.padded[block.len()..].fill(0.0);
                    &self.padded[..]
                } else {
                    block
                };
                match (algorithm, symmetric) {
                    (Algorithm::KQuant, _) => k_quant::block(block, bits, &mut self.scratch, codes),
                    (_, true) => rtn::symmetric(block, bits, codes),
                    (_, false) => rtn::asymmetric(block, bits, codes),
                }
            }
        };
        if bits == 8 {
            bytes.copy_from_slice(codes);
        } else {
            for (byte, pair) in bytes.iter_mut().zip(codes.chunks_exact(2)) {
                *byte = pair[0] | pair[1] << 4;
            }
        }
        (scale, zero)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORKED: [f32; 16] =
        [0.10, -0.70, 0.35, 0.62, 0.05, -0.21, 0.48, -0.33, 0.0, 0.29, -0.55, 0.17, 0.66, -0.08, 0.41, -0.12];

    fn format(symmetric: bool, float: FloatType) -> BlockFormat {
        BlockFormat {
            algorithm: Algorithm::Default,
            bits: 4,
            block_size: 16,
            symmetric,
            signed: false,
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
        let signed = quantise(BlockFormat { signed: true, ..format(true, FloatType::F32) }, &block);
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

    #[test]
    fn every_format_gives_back_what_it_was_given() {
        for algorithm in [Algorithm::Default, Algorithm::Rtn, Algorithm::KQuant] {
            for (bits, symmetric) in [(4, true), (4, false), (8, true), (8, false)] {
                let format = BlockFormat {
                    algorithm,
                    bits,
                    block_size: 32,
                    symmetric,
                    signed: false,
                    float: FloatType::F32,
                };
                let row: Vec<f32> = (0..80).map(|i| ((i * 37) as f32).sin()).collect();
                let out = quantise(format, &row);
                for (i, x) in row.iter().enumerate() {
                    let block = i / 32;
                    let code = match bits {
                        4 => out.codes[i / 2] >> (4 * (i % 2)) & 15,
                        _ => out.codes[i],
                    };
                    let zero = match (format.has_zero_points(), bits) {
                        (false, bits) => 1 << (bits - 1),
                        (true, 4) => out.zero_points[block / 2] >> (4 * (block % 2)) & 15,
                        (true, _) => out.zero_points[block],
                    };
                    let value = (f32::from(code) - f32::from(zero)) * out.scales[block];
                    // The default method cuts the end of the range that is opposite to the extreme.
                    let allowed = out.scales[block].abs() * 1.01;
                    assert!((value - x).abs() <= allowed, "{format:?} element {i}: {x} became {value}");
                }
            }
        }
    }
}
