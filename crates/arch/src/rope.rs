//! Rotary position embedding: the frequencies of every scaling in use.

use super::torch_math::{self, cosine, sine};
use rayon::prelude::*;

/// One rotary embedding: base, width and how it is stretched to longer contexts.
#[derive(Debug, Clone, PartialEq)]
pub struct Rope {
    /// Base of the geometric frequency series.
    pub theta: f64,
    /// Rotated leading part of every head; the rest passes through. Even.
    pub rotary_dim: usize,
    /// Which elements of a head turn together: neighbours (2j, 2j + 1), as in GLM, or (j, j + rotary_dim / 2).
    pub interleaved: bool,
    pub scaling: RopeScaling,
}

/// How frequencies depend on the position range.
#[derive(Debug, Clone, PartialEq)]
pub enum RopeScaling {
    Default,
    /// All positions divided by `factor`.
    Linear {
        factor: f64,
    },
    /// Llama 3.1: long wavelengths divided by `factor`, short ones kept, a ramp between.
    Llama3 {
        factor: f64,
        low_freq_factor: f64,
        high_freq_factor: f64,
        original_context: usize,
    },
    /// YaRN ("NTK by parts"), <https://arxiv.org/abs/2309.00071>.
    Yarn {
        factor: f64,
        beta_fast: f64,
        beta_slow: f64,
        original_context: usize,
        /// Factor on cos and sin.
        attention_factor: f64,
    },
    /// LongRoPE: one divisor per frequency, chosen by whether the sequence is longer than the original context.
    LongRope {
        short_factor: Vec<f64>,
        long_factor: Vec<f64>,
        original_context: usize,
        /// Factor on cos and sin while `short_factor` is in use.
        short_mscale: f64,
        /// Factor on cos and sin while `long_factor` is in use.
        long_mscale: f64,
    },
}

impl RopeScaling {
    /// The length beyond which sequences are rotated by other frequencies, if there is one.
    pub fn switch_length(&self) -> Option<usize> {
        match self {
            RopeScaling::LongRope { original_context, .. } => Some(*original_context),
            RopeScaling::Default
            | RopeScaling::Linear { .. }
            | RopeScaling::Llama3 { .. }
            | RopeScaling::Yarn { .. } => None,
        }
    }
}

impl Rope {
    /// Inverse frequencies, `[rotary_dim / 2]`, for a sequence of `sequence_length` positions in all, and the factor
    /// on cos and sin. Only LongRoPE depends on the length.
    ///
    /// Rounded to f32 after every step, with PyTorch's powers, because the tables are compared with its.
    pub fn inverse_frequencies(&self, sequence_length: usize) -> (Vec<f32>, f32) {
        let half = self.rotary_dim / 2;
        let exponents: Vec<f32> = (0..half).map(|j| (2 * j) as f32 / self.rotary_dim as f32).collect();
        let powers = torch_math::powers(self.theta as f32, &exponents);
        let base = |j: usize| powers[j];
        match &self.scaling {
            RopeScaling::Default => ((0..half).map(|j| 1.0 / base(j)).collect(), 1.0),
            RopeScaling::Linear { factor } => {
                ((0..half).map(|j| 1.0 / base(j) / *factor as f32).collect(), 1.0)
            }
            RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_context } => {
                let (factor, low, high) = (*factor as f32, *low_freq_factor as f32, *high_freq_factor as f32);
                let original = *original_context as f32;
                let scaled = (0..half)
                    .map(|j| {
                        let frequency = 1.0 / base(j);
                        let wavelength = 2.0 * std::f32::consts::PI / frequency;
                        if wavelength < original / high {
                            frequency
                        } else if wavelength > original / low {
                            frequency / factor
                        } else {
                            let smooth = (original / wavelength - low) / (high - low);
                            (1.0 - smooth) * frequency / factor + smooth * frequency
                        }
                    })
                    .collect();
                (scaled, 1.0)
            }
            RopeScaling::Yarn { factor, beta_fast, beta_slow, original_context, attention_factor } => {
                let dim = self.rotary_dim as f64;
                let correction = |rotations: f64| {
                    dim * (*original_context as f64 / (rotations * 2.0 * std::f64::consts::PI)).ln()
                        / (2.0 * self.theta.ln())
                };
                let low = correction(*beta_fast).floor().max(0.0);
                let high = correction(*beta_slow).ceil().min(dim - 1.0);
                let span = if high > low { high - low } else { 0.001 };
                let frequencies = (0..half)
                    .map(|j| {
                        let frequency = 1.0 / base(j);
                        let ramp = ((j as f64 - low) / span).clamp(0.0, 1.0) as f32;
                        frequency / *factor as f32 * ramp + frequency * (1.0 - ramp)
                    })
                    .collect();
                (frequencies, *attention_factor as f32)
            }
            RopeScaling::LongRope {
                short_factor,
                long_factor,
                original_context,
                short_mscale,
                long_mscale,
            } => {
                let (factors, mscale) = if sequence_length > *original_context {
                    (long_factor, long_mscale)
                } else {
                    (short_factor, short_mscale)
                };
                let frequencies =
                    factors.iter().enumerate().map(|(j, factor)| 1.0 / (*factor as f32 * base(j))).collect();
                (frequencies, *mscale as f32)
            }
        }
    }

    /// `cos` and `sin` tables, each `[positions, rotary_dim / 2]` row-major, for positions `0..positions` of a
    /// sequence that will be `sequence_length` long.
    pub fn tables(&self, positions: usize, sequence_length: usize) -> (Vec<f32>, Vec<f32>) {
        let (frequencies, mscale) = self.inverse_frequencies(sequence_length);
        let half = frequencies.len();
        let mut cos = vec![0.0; positions * half];
        let mut sin = vec![0.0; positions * half];
        if half == 0 {
            return (cos, sin);
        }
        let rows = cos.par_chunks_exact_mut(half).zip(sin.par_chunks_exact_mut(half));
        rows.enumerate().for_each(|(position, (cos, sin))| {
            for (j, frequency) in frequencies.iter().enumerate() {
                let angle = position as f32 * frequency;
                cos[j] = cosine(angle) * mscale;
                sin[j] = sine(angle) * mscale;
            }
        });
        (cos, sin)
    }
}
