//! ONNX Runtime's own block quantiser (`MlasQuantizeBlockwise`), bit for bit.
//!
//! All arithmetic is f32 with every operation rounded on its own; the compiler never fuses them.

use super::block_method::{BlockMethod, BlockOptions, Buffers, Quantiser, Rounding};
use crate::float_type::FloatType;
use half::f16;

/// See the module.
pub(super) struct Method;

impl BlockMethod for Method {
    fn encode(&self, block: &[f32], options: BlockOptions, _: &mut Buffers, codes: &mut [u8]) -> (f32, u8) {
        // The kernel stops at the row's end, so the codes of a partial block's tail stay 0. Only f16 scales are rounded
        // before use: the reference widens bf16 models to f32 and rounds at the very end.
        codes[block.len()..].fill(0);
        let BlockOptions { bits, symmetric, rounding, float, .. } = options;
        let round = |scale: f32| match float {
            FloatType::F16 => f16::from_f32(scale).to_f32(),
            FloatType::F32 | FloatType::Bf16 => scale,
        };
        if symmetric {
            self::symmetric(block, bits, rounding, round, codes)
        } else {
            asymmetric(block, bits, rounding, round, codes)
        }
    }

    fn quantiser(&self) -> Quantiser {
        Quantiser::OnnxRuntime
    }
}

/// Largest number of the codes as a float, and the code that stands for zero when there is no zero point.
fn limits(bits: u8) -> (f32, f32) {
    if bits == 4 { (15.0, 8.0) } else { (255.0, 128.0) }
}

/// Codes of a block around an implied middle. `round_scale` is applied before the scale is used.
///
/// The element of largest magnitude gets code 0, so the scale has the opposite sign of that element.
fn symmetric(
    block: &[f32],
    bits: u8,
    rounding: Rounding,
    round_scale: impl Fn(f32) -> f32,
    codes: &mut [u8],
) -> (f32, u8) {
    let (top, middle) = limits(bits);
    let (min, max) = range(block, f32::MAX, f32::MIN);
    let extreme = if max.abs() > min.abs() { max } else { min };
    let scale = round_scale(-extreme / middle);
    match rounding {
        Rounding::HalvesUp => encode(block, scale, middle, top, codes),
        Rounding::HalvesAway => encode_signed(block, scale, middle, top, codes),
    }
    (scale, middle as u8)
}

/// Codes of a block with a zero point of its own.
fn asymmetric(
    block: &[f32],
    bits: u8,
    rounding: Rounding,
    round_scale: impl Fn(f32) -> f32,
    codes: &mut [u8],
) -> (f32, u8) {
    let (top, _) = limits(bits);
    let (min, max) = range(block, 0.0, 0.0);
    let exact = (max - min) / top;
    let zero = if exact == 0.0 { min } else { 0.0 - min / exact };
    let zero = zero.clamp(0.0, top).round();
    let scale = round_scale(exact);
    match rounding {
        Rounding::HalvesUp => encode(block, scale, zero, top, codes),
        Rounding::HalvesAway => encode_signed(block, scale, zero, top, codes),
    }
    (scale, zero as u8)
}

fn range(block: &[f32], min: f32, max: f32) -> (f32, f32) {
    // Eight lanes, so that the loop becomes vector code; min and max do not depend on the order.
    let mut lows = [min; 8];
    let mut highs = [max; 8];
    let chunks = block.chunks_exact(8);
    for value in chunks.remainder() {
        lows[0] = if *value < lows[0] { *value } else { lows[0] };
        highs[0] = if *value > highs[0] { *value } else { highs[0] };
    }
    for chunk in chunks {
        for lane in 0..8 {
            lows[lane] = if chunk[lane] < lows[lane] { chunk[lane] } else { lows[lane] };
            highs[lane] = if chunk[lane] > highs[lane] { chunk[lane] } else { highs[lane] };
        }
    }
    (lows.into_iter().fold(min, f32::min), highs.into_iter().fold(max, f32::max))
}

/// As [`encode`], but rounding before the zero point is added: halves go away from zero.
fn encode_signed(block: &[f32], scale: f32, zero: f32, top: f32, codes: &mut [u8]) {
    let reciprocal = if scale == 0.0 { 0.0 } else { 1.0 / scale };
    for (code, value) in codes.iter_mut().zip(block) {
        let scaled = (value * reciprocal).clamp(-zero, top - zero);
        let whole = scaled as i32;
        let rest = scaled - whole as f32;
        let rounded = whole + i32::from(rest >= 0.5) - i32::from(rest <= -0.5);
        *code = (rounded + zero as i32) as u8;
    }
}

fn encode(block: &[f32], scale: f32, zero: f32, top: f32, codes: &mut [u8]) {
    let reciprocal = if scale == 0.0 { 0.0 } else { 1.0 / scale };
    for (code, value) in codes.iter_mut().zip(block) {
        // Clamping first changes nothing, for the limits are whole numbers; then halves round up, which for
        // positive numbers is away from zero, as C's `roundf` does it.
        let scaled = (value * reciprocal + zero).clamp(0.0, top);
        let whole = scaled as i32;
        *code = (whole + i32::from(scaled - whole as f32 >= 0.5)) as u8;
    }
}
