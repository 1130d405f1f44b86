//! Rotary position embedding: the frequencies of every scaling in use.

use rayon::prelude::*;

/// One rotary embedding: base, width and how it is stretched to longer contexts.
#[derive(Debug, Clone, PartialEq)]
pub struct Rope {
    /// Base of the geometric frequency series.
    pub theta: f64,
    /// Rotated leading part of every head; the rest passes through. Even.
    pub rotary_dim: usize,
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

impl Rope {
    /// Inverse frequencies, `[rotary_dim / 2]`, for a sequence of `sequence_length` positions in all, and the factor
    /// on cos and sin. Only LongRoPE depends on the length.
    ///
    /// Rounded to f32 after every step, as PyTorch does it, because the tables are compared with its. The powers are
    /// the exact ones, rounded; about one in a hundred of PyTorch's is not.
    pub fn inverse_frequencies(&self, sequence_length: usize) -> (Vec<f32>, f32) {
        let half = self.rotary_dim / 2;
        let base = |j: usize| self.theta.powf(f64::from((2 * j) as f32 / self.rotary_dim as f32)) as f32;
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

/// Where PyTorch on x86 changes to (nearly) exact results.
const LARGE_ANGLE: f32 = 10_000.0;

/// The sine that PyTorch on x86 gives, which ONNX models of the reference builder are made with.
///
/// Its error of up to 0.6 units in the last place is almost only that of a polynomial of degree 9, evaluated without
/// rounding errors and rounded once, so the same polynomial gives the same bits, but for one value in 100 000, below
/// [`LARGE_ANGLE`]. Rounding the exact sine instead differs for one value in twenty, which is enough to change what a
/// model with int8 activations says.
fn sine(angle: f32) -> f32 {
    let exact = f64::from(angle);
    if angle.abs() > LARGE_ANGLE {
        return exact.sin() as f32;
    }
    let half_turns = (exact * std::f64::consts::FRAC_1_PI).round_ties_even();
    sine_near_zero(exact, half_turns, half_turns as i64 & 1 != 0)
}

/// The cosine to [`sine`]: the same polynomial, a quarter of a turn further.
fn cosine(angle: f32) -> f32 {
    let exact = f64::from(angle);
    if angle.abs() > LARGE_ANGLE {
        return exact.cos() as f32;
    }
    let half_turns = (exact * std::f64::consts::FRAC_1_PI - 0.5).round_ties_even();
    sine_near_zero(exact, half_turns + 0.5, half_turns as i64 & 1 == 0)
}

/// Sine of `angle - half_turns · π`, which is within ±π/2; `half_turns` has few enough bits for exact products.
fn sine_near_zero(angle: f64, half_turns: f64, negative: bool) -> f32 {
    // π in two parts, the first of 27 bits.
    const PI_HIGH: f64 = 3.141_592_651_605_606;
    const PI_LOW: f64 = 1.984_187_159_361_081e-9;
    // Fitted to the results of `torch.sin` on (0, π/2).
    const C3: f64 = -0.166_666_595_503_938_56;
    const C5: f64 = 0.008_333_066_241_534_53;
    const C7: f64 = -0.000_198_096_025_649_78;
    const C9: f64 = 2.605_780_016_89e-6;
    let x = (angle - half_turns * PI_HIGH) - half_turns * PI_LOW;
    let square = x * x;
    let sine = x + x * square * (C3 + square * (C5 + square * (C7 + square * C9)));
    (if negative { -sine } else { sine }) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    // Results of `torch.sin` and `torch.cos` (version 2.15, x86) that are not the rounded exact values.
    #[test]
    fn sines_are_those_of_pytorch() {
        for (angle, expected) in [
            (0x41a3_be77, 0x3f7f_b59e),
            (0x4309_6d91, 0xbf38_03a7),
            (0x439c_6f1b, 0xbf76_1003),
            (0x4407_6af2, 0x3f77_ce05),
            (0x4420_16c9, 0xbf01_2b78),
            (0x4440_cd1f, 0xbf7f_9957),
        ] {
            assert_eq!(sine(f32::from_bits(angle)), f32::from_bits(expected));
        }
        for (angle, expected) in [
            (0x4118_0c4a, 0xbf7f_379a),
            (0x42a8_2148, 0xbf39_e917),
            (0x434e_df7d, 0x3f63_fef1),
            (0x4391_d5a2, 0xbf60_c52d),
            (0x43e1_e106, 0x3f4e_a6da),
            (0x4415_7d50, 0x3efc_5a52),
        ] {
            assert_eq!(cosine(f32::from_bits(angle)), f32::from_bits(expected));
        }
    }

    #[test]
    fn sines_are_within_a_unit_of_the_exact_ones() {
        for i in 0..200_000 {
            let angle = i as f32 * 0.37;
            for (got, exact) in
                [(sine(angle), f64::from(angle).sin()), (cosine(angle), f64::from(angle).cos())]
            {
                let unit = f64::from(f32::EPSILON) * exact.abs().max(1e-3);
                assert!((f64::from(got) - exact).abs() <= unit, "{angle}: {got} for {exact}");
            }
        }
    }
}
