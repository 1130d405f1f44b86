//! Sines, cosines and powers with the bits that PyTorch gives on x86.
//!
//! The rotary tables in a model are compared byte for byte with those of the reference builder, which PyTorch computes;
//! its vector library rounds neither as the exact value would be rounded nor as the C library does.

/// Where PyTorch on x86 changes to (nearly) exact results.
const LARGE_ANGLE: f32 = 10_000.0;

/// The sine that PyTorch on x86 gives, which ONNX models of the reference builder are made with.
///
/// Its error of up to 0.6 units in the last place is almost only that of a polynomial of degree 9, evaluated without
/// rounding errors and rounded once, so the same polynomial gives the same bits, but for one value in 100 000, below
/// [`LARGE_ANGLE`]. Rounding the exact sine instead differs for one value in twenty, which is enough to change what a
/// model with int8 activations says.
pub(super) fn sine(angle: f32) -> f32 {
    let exact = f64::from(angle);
    if angle.abs() > LARGE_ANGLE {
        return exact.sin() as f32;
    }
    let half_turns = (exact * std::f64::consts::FRAC_1_PI).round_ties_even();
    sine_near_zero(exact, half_turns, half_turns as i64 & 1 != 0)
}

/// The cosine to [`sine`]: the same polynomial, a quarter of a turn further.
pub(super) fn cosine(angle: f32) -> f32 {
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

/// Elements that PyTorch raises to a power at a time; what is left over goes through the C library.
const POWER_BLOCK: usize = 16;

/// `base ^ exponents`, as `torch.pow(base, exponents)` gives it for f32 on x86.
pub(super) fn powers(base: f32, exponents: &[f32]) -> Vec<f32> {
    let in_blocks = exponents.len() / POWER_BLOCK * POWER_BLOCK;
    let (blocks, rest) = exponents.split_at(in_blocks);
    let logarithm = Pair::log(base);
    blocks.iter().map(|e| logarithm.times(*e).exp()).chain(rest.iter().map(|e| base.powf(*e))).collect()
}

/// An unevaluated sum of two f32, the second below the rounding error of the first: 48 bits of precision. The
/// operations are Dekker's and Knuth's, with fused multiply-adds for the errors of products.
#[derive(Clone, Copy)]
struct Pair(f32, f32);

impl Pair {
    /// Sum of two numbers in any order of size.
    fn sum(x: f32, y: f32) -> Pair {
        let sum = x + y;
        let back = sum - x;
        Pair(sum, (x - (sum - back)) + (y - back))
    }

    fn plus(self, y: f32) -> Pair {
        let Pair(sum, error) = Pair::sum(self.0, y);
        Pair(sum, error + self.1)
    }

    /// For `|y| <= |self|`.
    fn plus_smaller(self, y: Pair) -> Pair {
        let sum = self.0 + y.0;
        Pair(sum, self.0 - sum + y.0 + self.1 + y.1)
    }

    fn times(self, y: f32) -> Pair {
        let product = self.0 * y;
        Pair(product, self.1.mul_add(y, self.0.mul_add(y, -product)))
    }

    fn times_pair(self, y: Pair) -> Pair {
        let product = self.0 * y.0;
        Pair(product, self.0.mul_add(y.1, self.1.mul_add(y.0, self.0.mul_add(y.0, -product))))
    }

    fn square(self) -> Pair {
        let product = self.0 * self.0;
        Pair(product, (self.0 + self.0).mul_add(self.1, self.0.mul_add(self.0, -product)))
    }

    fn over(self, y: Pair) -> Pair {
        let inverse = 1.0 / y.0;
        let quotient = self.0 * inverse;
        let lost = inverse.mul_add(self.0, -quotient);
        let inverse_error = (-y.1).mul_add(inverse, (-y.0).mul_add(inverse, 1.0));
        Pair(quotient, quotient.mul_add(inverse_error, self.1.mul_add(inverse, lost)))
    }

    /// Natural logarithm of a positive normal number: `e·ln 2 + 2·artanh((m - 1) / (m + 1))`, `m` in [3/4, 3/2).
    fn log(x: f32) -> Pair {
        const LN_2: Pair = Pair(std::f32::consts::LN_2, -1.904_654_3e-9);
        // Coefficients of artanh's series in x², by minimax.
        const C3: Pair = Pair(0.666_666_6, 3.691_838_6e-9);
        const C5: f32 = 0.400_008;
        const C7: f32 = 0.285_112_68;
        const C9: f32 = 0.240_320_35;
        let exponent = ((x / 0.75).to_bits() >> 23) as i32 - 127;
        let mantissa = f32::from_bits((x.to_bits() as i32 - (exponent << 23)) as u32);
        let ratio = Pair::sum(-1.0, mantissa).over(Pair::sum(1.0, mantissa));
        let square = ratio.square();
        let tail = C9.mul_add(square.0, C7).mul_add(square.0, C5);
        let Pair(scaled, error) = square.times(tail);
        let Pair(sum, rounding) = Pair::sum(scaled, C3.0);
        let series = square.times_pair(ratio).times_pair(Pair(sum, rounding + (error + C3.1)));
        LN_2.times(exponent as f32).plus_smaller(Pair(2.0 * ratio.0, 2.0 * ratio.1)).plus_smaller(series)
    }

    /// `e` to this power, for results in the range of f32.
    fn exp(self) -> f32 {
        const LN_2_HIGH: f32 = 0.693_145_75;
        const LN_2_LOW: f32 = 1.428_606_8e-6;
        let twos = ((self.0 + self.1) * std::f32::consts::LOG2_E).round_ties_even();
        let Pair(high, low) = self.plus(twos * -LN_2_HIGH).plus(twos * -LN_2_LOW);
        let sum = high + low;
        let rest = Pair(sum, high - sum + low);
        // Coefficients of the exponential's series from x² on, by minimax.
        const C: [f32; 5] = [0.001_363_246_5, 0.008_365_969, 0.041_671_082, 0.166_665_52, 0.499_999_85];
        let tail = C[1..].iter().fold(C[0], |sum, c| sum.mul_add(rest.0, *c));
        let small = rest.plus_smaller(rest.square().times(tail));
        let sum = 1.0 + small.0;
        let result = sum + ((1.0 - sum) + small.0 + small.1);
        result * 2f32.powi(twos as i32)
    }
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

    // Base, rotary width, index, bits.
    const POWERS: [(f32, usize, usize, u32); 8] = [
        (10_000.0, 96, 20, 0x4239_a9dd),
        (10_000.0, 256, 111, 0x4537_eba2),
        (150_000.0, 128, 12, 0x4115_7fa3),
        (1_000_000.0, 128, 37, 0x4537_eba2),
        (2_000_000.0, 256, 86, 0x4685_c00f),
        (5_000_000.0, 96, 29, 0x462e_3a05),
        (500_000.0, 96, 19, 0x4334_3c80),
        (2_000_000.0, 64, 24, 0x474f_bef6),
    ];

    // Results of `torch.pow(base, exponent)` in blocks of 16 that are not the rounded exact values.
    #[test]
    fn powers_are_those_of_pytorch() {
        for (base, width, index, expected) in POWERS {
            let exponents: Vec<f32> = (0..width / 2).map(|j| (2 * j) as f32 / width as f32).collect();
            let got = powers(base, &exponents)[index];
            assert_eq!(got.to_bits(), expected, "{base} ^ ({}/{width}): {got}", 2 * index);
            let exact = f64::from(base).powf(f64::from(exponents[index]));
            assert_ne!(got, exact as f32, "the case tells the two apart");
        }
    }
}
