//! k-quant: scale and minimum of a block by weighted least squares over twenty trial grids, large weights counting
//! more. The idea is llama.cpp's; the steps, their order and their f32 roundings are those of the variant in ONNX
//! Runtime's quantiser, which runs on NumPy. Partial blocks are padded with zeros.

use super::block_method::{BlockMethod, BlockOptions, Buffers, Quantiser, padded};
use super::rtn;

const TRIALS: u32 = 20;

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
        padded(block, options.block_size, buffers, |block, buffers| fit(block, options.bits, buffers, codes))
    }

    fn quantiser(&self) -> Quantiser {
        Quantiser::NeuralCompressor
    }

    fn has_zero_points(&self, _: bool) -> bool {
        true
    }
}

/// Codes, scale and zero point of a block.
fn fit(block: &[f32], bits: u8, buffers: &mut Buffers, codes: &mut [u8]) -> (f32, u8) {
    let top = ((1u32 << bits) - 1) as f32;
    let Buffers { weights, grid, terms, .. } = buffers;
    let n = block.len();
    for buffer in [&mut *weights, &mut *grid, &mut *terms] {
        buffer.clear();
        buffer.resize(n, 0.0);
    }
    let mean_square = sum(terms, |i| block[i] * block[i]) / n as f32;
    let level = mean_square.sqrt();
    for (weight, x) in weights.iter_mut().zip(block) {
        *weight = level + x.abs();
    }
    let mut min = block.iter().copied().fold(f32::INFINITY, f32::min);
    let max = block.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum_w = sum(terms, |i| weights[i]);
    let sum_x = sum(terms, |i| weights[i] * block[i]);

    let inverse = if min == max { 1.0 } else { top / (max - min) };
    let mut scale = 1.0 / inverse;
    on_grid(block, inverse, min, top, grid);
    let mut best = sum(terms, |i| {
        let error = scale * grid[i] + min - block[i];
        weights[i] * (error * error)
    });
    for trial in 0..TRIALS {
        let levels = (-1.0 + 0.1 * f64::from(trial) + f64::from(top)) as f32;
        // A better minimum found by an earlier trial is where the later ones start.
        let inverse = if min == max { 1.0 } else { levels / (max - min) };
        on_grid(block, inverse, min, top, grid);
        let sum_l = sum(terms, |i| weights[i] * grid[i]);
        let sum_l2 = sum(terms, |i| weights[i] * grid[i] * grid[i]);
        let sum_xl = sum(terms, |i| weights[i] * grid[i] * block[i]);
        let determinant = sum_w * sum_l2 - sum_l * sum_l;
        let this_scale = (sum_w * sum_xl - sum_x * sum_l) / determinant;
        let this_min = (sum_l2 * sum_x - sum_l * sum_xl) / determinant;
        let error = sum(terms, |i| {
            let error = this_scale * grid[i] + this_min - block[i];
            weights[i] * (error * error)
        });
        // A NaN, from a determinant of zero, is never better.
        if error < best {
            (best, scale, min) = (error, this_scale, this_min);
        }
    }
    let zero = (-min / scale).round_ties_even().clamp(0.0, top) as u8;
    rtn::encode(block, f64::from(scale), zero, f64::from(top), codes);
    (scale, zero)
}

fn on_grid(block: &[f32], inverse: f32, min: f32, top: f32, grid: &mut [f32]) {
    for (code, x) in grid.iter_mut().zip(block) {
        *code = (inverse * (x - min)).round_ties_even().clamp(0.0, top);
    }
}

fn sum(terms: &mut [f32], term: impl Fn(usize) -> f32) -> f32 {
    for (i, slot) in terms.iter_mut().enumerate() {
        *slot = term(i);
    }
    pairwise_sum(terms)
}

/// NumPy's order of summation: eight strided accumulators up to 128 elements, halves above.
fn pairwise_sum(values: &[f32]) -> f32 {
    let n = values.len();
    if n < 8 {
        return values.iter().fold(0.0, |s, v| s + v);
    }
    if n > 128 {
        let half = n / 2 - (n / 2) % 8;
        return pairwise_sum(&values[..half]) + pairwise_sum(&values[half..]);
    }
    let mut lanes = [0.0f32; 8];
    lanes.copy_from_slice(&values[..8]);
    let chunks = values[8..].chunks_exact(8);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (lane, v) in lanes.iter_mut().zip(chunk) {
            *lane += v;
        }
    }
    let [a, b, c, d, e, f, g, h] = lanes;
    rest.iter().fold(((a + b) + (c + d)) + ((e + f) + (g + h)), |s, v| s + v)
}
