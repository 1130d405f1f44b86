//! Round to nearest, as the weight-only quantiser from Intel's Neural Compressor in ONNX Runtime does it: f64
//! arithmetic, halves to even, the scale cast to the storage type only afterwards. Partial blocks are padded with zeros.

use super::block_method::{BlockMethod, BlockOptions, Buffers, Quantiser, padded};

/// See the module.
pub(super) struct Method;

impl BlockMethod for Method {
    fn encode(
        &self,
        block: &[f32],
        options: BlockOptions,
        buffers: &mut Buffers,
        codes: &mut [u8],
    ) -> (f32, u8) {
        let BlockOptions { bits, block_size, .. } = options;
        padded(block, block_size, buffers, |block, _| {
            if options.symmetric { symmetric(block, bits, codes) } else { asymmetric(block, bits, codes) }
        })
    }

    fn quantiser(&self) -> Quantiser {
        Quantiser::NeuralCompressor
    }
}

/// Codes of a block around an implied middle.
fn symmetric(block: &[f32], bits: u8, codes: &mut [u8]) -> (f32, u8) {
    let top = f64::from((1u32 << bits) - 1);
    let middle = 1u8 << (bits - 1);
    let magnitude = block.iter().fold(0.0f32, |m, v| m.max(v.abs()));
    let scale = if magnitude > 0.0 { f64::from(magnitude * 2.0) / top } else { 1.0 };
    encode(block, scale, middle, top, codes);
    (scale as f32, middle)
}

/// Codes of a block with a zero point of its own; the range is not forced to contain zero.
fn asymmetric(block: &[f32], bits: u8, codes: &mut [u8]) -> (f32, u8) {
    let top = f64::from((1u32 << bits) - 1);
    let min = block.iter().copied().fold(f32::INFINITY, f32::min);
    let max = block.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let scale = if min == max { 1.0 } else { f64::from(max - min) / top };
    let zero = (-f64::from(min) / scale).round_ties_even().clamp(0.0, top) as u8;
    encode(block, scale, zero, top, codes);
    (scale as f32, zero)
}

/// `clip(round(value / scale + zero))` in f64.
pub(super) fn encode(block: &[f32], scale: f64, zero: u8, top: f64, codes: &mut [u8]) {
    for (code, value) in codes.iter_mut().zip(block) {
        *code = (f64::from(*value) / scale + f64::from(zero)).round_ties_even().clamp(0.0, top) as u8;
    }
}
