//! Values to blocks, as ggml's reference quantisers make them (`quantize_row_*_ref` of ggml-quants.c): f32, sums in the order of
//! the values, nothing fused.

use half::f16;

/// A block of 32 values and one scale: `d = max |x| / 127`.
pub(super) fn q8_0(values: &[f32; 32], block: &mut [u8; 34]) {
    let largest = values.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    let d = largest / 127.0;
    let inverse = inverse(d);
    let (scale, codes) = block.split_at_mut(2);
    scale.copy_from_slice(&f16::from_f32(d).to_le_bytes());
    for (code, value) in codes.iter_mut().zip(values) {
        // Halves go away from zero.
        *code = (value * inverse).round() as i8 as u8;
    }
}

/// A block of 32 values and one scale, which the value of the largest size becomes -8 by.
pub(super) fn q4_0(values: &[f32; 32], block: &mut [u8; 18]) {
    let d = largest(values) / -8.0;
    let inverse = inverse(d);
    let (scale, codes) = block.split_at_mut(2);
    scale.copy_from_slice(&f16::from_f32(d).to_le_bytes());
    let code = |value: f32| ((value * inverse + 8.5) as i8).min(15) as u8;
    for (j, packed) in codes.iter_mut().enumerate() {
        *packed = code(values[j]) | code(values[j + 16]) << 4;
    }
}

/// Values of a group of [`q6_k`].
const GROUP: usize = 16;

/// Below this, a group is nothing but zeros.
const NOTHING: f32 = 1e-15;

/// A block of 256 values: 16 groups with a scale of 8 bits each, and one scale for these.
pub(super) fn q6_k(values: &[f32; 256], block: &mut [u8; 210]) {
    let (groups, _) = values.as_chunks::<GROUP>();
    let mut codes = [0_u8; 256];
    let mut scales = [0.0_f32; GROUP];
    for ((group, codes), scale) in groups.iter().zip(codes.as_chunks_mut().0).zip(&mut scales) {
        (*scale, *codes) = best_scale(group);
    }
    let largest = largest(&scales);
    block.fill(0);
    if largest.abs() < NOTHING {
        return;
    }
    let inverse = -128.0 / largest;
    let d = f16::from_f32(1.0 / inverse);
    let mut steps = [0_i8; GROUP];
    for (j, group) in groups.iter().enumerate() {
        steps[j] = (inverse * scales[j]).round_ties_even().min(127.0) as i8;
        let step = d.to_f32() * f32::from(steps[j]);
        if step != 0.0 {
            for (code, value) in codes[GROUP * j..].iter_mut().zip(group) {
                *code = ((value / step).round_ties_even().clamp(-32.0, 31.0) as i8 + 32) as u8;
            }
        }
    }
    let (low, rest) = block.split_at_mut(128);
    let (high, rest) = rest.split_at_mut(64);
    for (half, codes) in codes.as_chunks::<128>().0.iter().enumerate() {
        for l in 0..32 {
            let [a, b, c, d] = [codes[l], codes[l + 32], codes[l + 64], codes[l + 96]];
            low[64 * half + l] = a & 15 | (c & 15) << 4;
            low[64 * half + l + 32] = b & 15 | (d & 15) << 4;
            high[32 * half + l] = a >> 4 | (b >> 4) << 2 | (c >> 4) << 4 | (d >> 4) << 6;
        }
    }
    for (byte, step) in rest.iter_mut().zip(steps) {
        *byte = step as u8;
    }
    rest[GROUP..].copy_from_slice(&d.to_le_bytes());
}

/// The scale, of some about the one that fits the value of the largest size, with the smallest error weighted by `x²`, and the
/// codes by it.
fn best_scale(values: &[f32; GROUP]) -> (f32, [u8; GROUP]) {
    let largest = largest(values);
    if largest.abs() < NOTHING {
        return (0.0, [0; GROUP]);
    }
    let (mut scale, mut best, mut codes) = (0.0, 0.0, [0; GROUP]);
    for step in [0_i8].into_iter().chain(-9..=-1).chain(1..=9) {
        let inverse = -(32.0 + 0.1 * f32::from(step)) / largest;
        let code = |value: &f32| (inverse * value).round_ties_even().clamp(-32.0, 31.0);
        let (mut with_values, mut with_codes) = (0.0_f32, 0.0_f32);
        for value in values {
            let (weight, code) = (value * value, code(value));
            with_values += weight * value * code;
            with_codes += weight * code * code;
        }
        let is_first = step == 0;
        if is_first || with_codes > 0.0 && with_values * with_values > best * with_codes {
            scale = if with_codes == 0.0 { 0.0 } else { with_values / with_codes };
            best = scale * with_values;
            codes = values.map(|value| (code(&value) as i8 + 32) as u8);
        }
    }
    (scale, codes)
}

/// The value of the largest size, the first of equals.
fn largest(values: &[f32]) -> f32 {
    values.iter().fold(0.0, |largest: f32, value| if value.abs() > largest.abs() { *value } else { largest })
}

fn inverse(scale: f32) -> f32 {
    if scale == 0.0 { 0.0 } else { 1.0 / scale }
}
