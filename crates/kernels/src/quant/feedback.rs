//! Codes chosen by data: every rounding error is made up for by the elements that come after it.
//!
//! For a linear layer with inputs x the squared error of the output is `e H eᵀ` per row, with `e = ŵ - w` and
//! `H = Σ x xᵀ`. With `H = (I + U) D (I + U)ᵀ`, U strictly upper triangular and D diagonal, it is
//! `Σ_k D_k (e_k + Σ_{j<k} e_j U_jk)²`, so rounding `w_k - Σ_{j<k} e_j U_jk` instead of `w_k` leaves nothing but the
//! rounding errors themselves, and D says how much each of them matters (GPTQ, Frantar et al. 2022; in this form LDLQ,
//! Chee et al. 2023). The scale of a block is searched for by that weighted error.

use super::block_format::BlockFormat;
use super::block_method::pack_codes;
use super::cholesky;
use super::quantised_rows::QuantisedRows;
use super::weight_format::WeightFormat;
use crate::gemm::{Assign, MatMut, MatRef, gemm, gemm_serial};
use crate::host::HostRows;
use crate::vector::simd;
use candle_core::Tensor;
use olive_core::Result;

/// `Σ x xᵀ` over the inputs of a linear layer.
pub struct Moments {
    width: usize,
    sums: Vec<f32>, // [width, width]
}

impl Moments {
    pub fn new(width: usize) -> Moments {
        Moments { width, sums: vec![0.0; width * width] }
    }

    /// Adds the rows of `x`, `[tokens, width]`.
    ///
    /// # Errors
    /// `x` is not an f32 tensor of the CPU.
    pub fn add(&mut self, x: &Tensor) -> Result<()> {
        let x = HostRows::new(x)?;
        let rows = MatRef::new(x.data(), x.rows, x.cols, x.stride);
        let mut sums = MatMut::new(&mut self.sums, self.width, self.width, self.width);
        gemm(&mut sums, Assign::Add, 1.0, rows.t(), rows);
        Ok(())
    }

    /// `Σ x xᵀ` times a factor, `[width, width]`.
    pub fn scaled(mut self, factor: f32) -> Vec<f32> {
        self.sums.iter_mut().for_each(|sum| *sum *= factor);
        self.sums
    }

    /// The factors of the moments with `damping` times their mean on the diagonal, which stands for the inputs that
    /// the data did not show.
    pub fn feedback(&self, damping: f32) -> Feedback {
        let k = self.width;
        let mean = (0..k).map(|i| f64::from(self.sums[i * k + i])).sum::<f64>() / k as f64;
        let mean = if mean > 0.0 { mean as f32 } else { 1.0 };
        let mut damping = damping;
        loop {
            // An upper factor of H is a lower one of H turned by 180 degrees.
            let mut turned: Vec<f32> = self.sums.iter().rev().copied().collect();
            for i in 0..k {
                turned[i * k + i] += damping * mean;
            }
            if cholesky::factor(&mut turned, k) {
                return Feedback::new(&turned, k);
            }
            damping *= 10.0;
        }
    }
}

/// How the error of one element is made up for by those after it.
pub struct Feedback {
    width: usize,
    /// U, `[width, width]`; only what is above the diagonal counts.
    factor: Vec<f32>,
    /// D, `[width]`.
    weight: Vec<f32>,
}

impl Feedback {
    /// From the lower factor of the turned moments.
    fn new(turned: &[f32], k: usize) -> Feedback {
        let mut factor: Vec<f32> = turned.iter().rev().copied().collect();
        let diagonal: Vec<f32> = (0..k).map(|i| factor[i * k + i]).collect();
        for row in factor.chunks_exact_mut(k) {
            row.iter_mut().zip(&diagonal).for_each(|(v, d)| *v /= d);
        }
        Feedback { width: k, factor, weight: diagonal.iter().map(|d| d * d).collect() }
    }

    /// Codes for rows of a weight, `[rows, width]`. The values are rounded to the float type in place first.
    pub fn quantise(&self, format: BlockFormat, rows: &mut [f32]) -> QuantisedRows {
        format.float.round(rows);
        let k = self.width;
        let count = rows.len() / k;
        let (blocks, bytes) = (format.blocks(k), format.block_bytes());
        let mut out = QuantisedRows {
            codes: vec![0; count * blocks * bytes],
            scales: vec![0.0; count * blocks],
            zero_points: Vec::new(),
        };
        let mut zeros = vec![0; count * blocks];
        let mut errors = vec![0.0; count * k]; // [rows, width]
        let mut targets = Vec::new(); // [rows, block]
        let mut codes = vec![0u8; format.block_size];
        for b in 0..blocks {
            let start = b * format.block_size;
            let width = format.block_size.min(k - start);
            targets.clear();
            for row in rows.chunks_exact(k) {
                targets.extend_from_slice(&row[start..start + width]);
            }
            if start > 0 {
                let errors = MatRef::new(&errors, count, start, k);
                let factor = MatRef::new(&self.factor[start..], start, width, k);
                let mut targets = MatMut::new(&mut targets, count, width, width);
                gemm_serial(&mut targets, Assign::Add, -1.0, errors, factor);
            }
            let weight = &self.weight[start..start + width];
            for (r, target) in targets.chunks_exact_mut(width).enumerate() {
                let grid = Grid::search(target, weight, format);
                let row = &rows[r * k + start..][..width];
                let errors = &mut errors[r * k + start..][..width];
                for c in 0..width {
                    let (code, value) = grid.nearest(target[c]);
                    codes[c] = code;
                    errors[c] = value - row[c];
                    let factor = &self.factor[(start + c) * k + start..][..width];
                    let error = errors[c];
                    target[c + 1..].iter_mut().zip(&factor[c + 1..]).for_each(|(t, u)| *t -= error * u);
                }
                codes[width..].fill(0);
                let packed = &mut out.codes[(r * blocks + b) * bytes..][..bytes];
                pack_codes(&codes, format.bits, packed);
                out.scales[r * blocks + b] = grid.scale;
                zeros[r * blocks + b] = grid.zero as u8;
            }
        }
        if format.has_zero_points() {
            for zeros in zeros.chunks_exact(blocks) {
                format.pack_zero_points(zeros, &mut out.zero_points);
            }
        }
        out
    }
}

/// The values that the codes of a block stand for.
#[derive(Clone, Copy)]
struct Grid {
    scale: f32,
    reciprocal: f32,
    zero: f32,
    top: f32,
}

/// Steps of the search for the width of a grid.
const STEPS: u32 = 14;

impl Grid {
    fn new(scale: f32, zero: f32, format: BlockFormat) -> Grid {
        let mut scale = [scale];
        format.float.round(&mut scale);
        let [scale] = scale;
        let reciprocal = if scale == 0.0 { 0.0 } else { 1.0 / scale };
        Grid { scale, reciprocal, zero, top: ((1u32 << format.bits) - 1) as f32 }
    }

    #[inline(always)]
    fn code(&self, value: f32) -> f32 {
        const MAGIC: f32 = 12_582_912.0; // 1.5 · 2²³: adding it rounds to the nearest integer.
        (value * self.reciprocal + self.zero).clamp(0.0, self.top) + MAGIC - MAGIC
    }

    fn nearest(&self, value: f32) -> (u8, f32) {
        let code = self.code(value);
        (code as u8, (code - self.zero) * self.scale)
    }

    /// Weighted squared error of a block.
    #[inline(always)]
    fn error(&self, block: &[f32], weight: &[f32]) -> f32 {
        let mut lanes = [0.0f32; 8];
        let (blocks, weights) = (block.chunks_exact(8), weight.chunks_exact(8));
        let tail = blocks.remainder().iter().zip(weights.remainder());
        let tail: f32 = tail.map(|(v, w)| self.one_error(*v) * w).sum();
        for (values, weights) in blocks.zip(weights) {
            for i in 0..8 {
                lanes[i] += self.one_error(values[i]) * weights[i];
            }
        }
        lanes.iter().sum::<f32>() + tail
    }

    #[inline(always)]
    fn one_error(&self, value: f32) -> f32 {
        let error = (self.code(value) - self.zero) * self.scale - value;
        error * error
    }

    /// The best of some grids around the range of a block, its scale then refined by least squares.
    fn search(block: &[f32], weight: &[f32], format: BlockFormat) -> Grid {
        simd(
            #[inline(always)]
            || {
                let low = block.iter().copied().fold(0.0, f32::min);
                let high = block.iter().copied().fold(0.0, f32::max);
                let top = ((1u32 << format.bits) - 1) as f32;
                let middle = ((top + 1.0) / 2.0).floor();
                let mut best = Grid::new(0.0, middle, format);
                let mut least = f32::INFINITY;
                let mut consider = |grid: Grid| {
                    let error = grid.error(block, weight);
                    if error < least {
                        (best, least) = (grid, error);
                    }
                };
                for step in 0..STEPS {
                    let share = 1.1 - 0.5 * step as f32 / (STEPS - 1) as f32;
                    if format.has_zero_points() {
                        let scale = (high - low) * share / top;
                        let zero = if scale == 0.0 { middle } else { (-low * share / scale).round() };
                        consider(Grid::new(scale, zero.clamp(0.0, top), format));
                    } else {
                        // The lower half of the codes reaches one step further than the upper one, and the sign of
                        // the scale says which values get it.
                        let scale = low.abs().max(high) * share / middle;
                        consider(Grid::new(scale, middle, format));
                        consider(Grid::new(-scale, middle, format));
                    }
                }
                let (mut product, mut square) = (0.0, 0.0);
                for (value, weight) in block.iter().zip(weight) {
                    let code = best.code(*value) - best.zero;
                    product += weight * code * value;
                    square += weight * code * code;
                }
                if square > 0.0 {
                    let refined = Grid::new(product / square, best.zero, format);
                    if refined.error(block, weight) < least {
                        best = refined;
                    }
                }
                best
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quant::{Algorithm, FloatType, Rounding};
    use candle_core::Device;

    const K: usize = 80;

    fn noise(seed: u32, len: usize) -> Vec<f32> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1u32 << 24) as f32 - 0.5
        };
        (0..len).map(|_| (0..6).map(|_| next()).sum()).collect()
    }

    /// Inputs with strong correlations and some large channels, as activations have them.
    fn inputs() -> (Tensor, Vec<f32>) {
        let (base, mixing) = (noise(1, 400 * K), noise(2, K * K));
        let mut x = vec![0.0; 400 * K];
        for (row, base) in x.chunks_exact_mut(K).zip(base.chunks_exact(K)) {
            for c in 0..K {
                let shared: f32 = (0..12).map(|j| base[j] * mixing[j * K + c]).sum();
                row[c] = (shared + 0.3 * base[c]) * if c % 17 == 0 { 8.0 } else { 1.0 };
            }
        }
        (Tensor::from_slice(&x, (400, K), &Device::Cpu).unwrap(), x)
    }

    #[test]
    fn the_factors_give_the_moments_back() {
        let (x, rows) = inputs();
        let mut moments = Moments::new(K);
        moments.add(&x).unwrap();
        let feedback = moments.feedback(0.0);
        for i in 0..K {
            for j in 0..K {
                let want: f64 = rows.chunks_exact(K).map(|r| f64::from(r[i]) * f64::from(r[j])).sum();
                let unit = |i: usize, c: usize| match i.cmp(&c) {
                    std::cmp::Ordering::Less => f64::from(feedback.factor[i * K + c]),
                    std::cmp::Ordering::Equal => 1.0,
                    std::cmp::Ordering::Greater => 0.0,
                };
                let got: f64 = (0..K).map(|c| unit(i, c) * f64::from(feedback.weight[c]) * unit(j, c)).sum();
                let size = f64::from(moments.sums[i * K + i] * moments.sums[j * K + j]).sqrt();
                assert!((got - want).abs() < 1e-4 * size, "[{i}, {j}]: {got} for {want}");
            }
        }
    }

    #[test]
    fn outputs_come_out_closer_than_by_rounding() {
        let (x, rows) = inputs();
        let mut moments = Moments::new(K);
        moments.add(&x).unwrap();
        let weights = noise(3, 24 * K);
        for (bits, symmetric, float) in [
            (4, true, FloatType::F32),
            (4, false, FloatType::F32),
            (4, true, FloatType::F16),
            (8, true, FloatType::F32),
        ] {
            let format = BlockFormat {
                algorithm: Algorithm::Default,
                bits,
                block_size: 32,
                symmetric,
                rounding: Rounding::HalvesUp,
                float,
            };
            let chosen = moments.feedback(0.01).quantise(format, &mut weights.clone());
            let mut rounded = QuantisedRows::default();
            format.quantise(&mut weights.clone(), K, &mut rounded);
            let [chosen, rounded] = [chosen, rounded].map(|codes| {
                let mut total = 0.0;
                let mut decoded = vec![0.0; K];
                for (r, weights) in weights.chunks_exact(K).enumerate() {
                    format.decode_row(&codes, r, &mut decoded);
                    for x in rows.chunks_exact(K) {
                        let error: f32 =
                            x.iter().zip(weights.iter().zip(&decoded)).map(|(x, (w, d))| x * (d - w)).sum();
                        total += error * error;
                    }
                }
                total
            });
            assert!(chosen < 0.5 * rounded, "{format:?}: {chosen} against {rounded}");
        }
    }
}
