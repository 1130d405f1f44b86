//! Scalar functions written so that loops over them compile to SIMD code, and reductions of a fixed order.

/// How `a · b + c` is computed; the same everywhere on one machine.
#[derive(Clone, Copy)]
pub(crate) struct Arithmetic {
    /// Rounded once, by one instruction. Where the machine has none, the library's function would be far slower than two
    /// roundings.
    fused: bool,
}

impl Arithmetic {
    #[inline(always)]
    fn mul_add(self, a: f32, b: f32, c: f32) -> f32 {
        if self.fused { a.mul_add(b, c) } else { a * b + c }
    }
}

/// `e^x` within 2 ulp for x in [-87.3, 88.3], clamped outside; NaN stays NaN.
///
/// Range reduction to [-ln 2 / 2, ln 2 / 2] and the degree-5 polynomial of the Cephes library (`expf`), summed in pairs
/// (Estrin), because a loop over it waits for the chain of operations, not for their number. Branch-free and without a
/// rounding instruction, so that it vectorises for every x86-64 and AArch64.
#[inline(always)]
pub(crate) fn exp(x: f32, by: Arithmetic) -> f32 {
    const MAGIC: f32 = 12_582_912.0; // 1.5 · 2²³: adding it rounds to the nearest integer.
    let x = x.clamp(-87.3, 88.3);
    let shifted = by.mul_add(x, std::f32::consts::LOG2_E, MAGIC);
    let n = shifted - MAGIC;
    let r = by.mul_add(n, -0.693_359_4, x);
    let r = by.mul_add(n, 2.121_944_4e-4, r);
    let r2 = r * r;
    let high = by.mul_add(1.987_569_1e-4, r, 1.398_199_9e-3);
    let middle = by.mul_add(8.333_452e-3, r, 4.166_579_6e-2);
    let low = by.mul_add(1.666_666_5e-1, r, 0.5);
    let p = by.mul_add(by.mul_add(high, r2, middle), r2, low);
    let p = by.mul_add(p, r2, r) + 1.0;
    p * f32::from_bits((shifted.to_bits() << 23).wrapping_add(127 << 23))
}

/// `1 / (1 + e^-x)`.
#[inline(always)]
pub(crate) fn sigmoid(x: f32, by: Arithmetic) -> f32 {
    1.0 / (1.0 + exp(-x, by))
}

/// Runs `f`, a closure marked `#[inline(always)]`, compiled for AVX2 where the machine has it. Nothing is contracted to
/// fused operations, so the result is the same to the bit.
#[inline(always)]
pub(crate) fn simd<R>(f: impl FnOnce() -> R) -> R {
    simd_by(
        #[inline(always)]
        |_| f(),
    )
}

/// As [`simd`], for functions that are told by which arithmetic to compute.
#[inline(always)]
pub(crate) fn simd_by<R>(f: impl FnOnce(Arithmetic) -> R) -> R {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx2,fma")]
        fn wide<R>(f: impl FnOnce(Arithmetic) -> R) -> R {
            f(Arithmetic { fused: true })
        }
        if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
            #[expect(unsafe_code, reason = "code for features that the machine may lack")]
            // SAFETY: `wide` is a safe function but for the features that it is compiled for, which were just detected.
            return unsafe { wide(f) };
        }
    }
    f(Arithmetic { fused: cfg!(target_arch = "aarch64") })
}

const LANES: usize = 16;

#[inline(always)]
fn reduce(lanes: [f32; LANES], tail: f32) -> f32 {
    let mut lanes = lanes;
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            lanes[i] += lanes[i + width];
        }
        width /= 2;
    }
    lanes[0] + tail
}

/// `Σ a·b`, in 16 interleaved partial sums.
#[inline(always)]
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0; LANES];
    let (chunks_a, tail_a) = a.as_chunks::<LANES>();
    let (chunks_b, tail_b) = b.as_chunks::<LANES>();
    for (x, y) in chunks_a.iter().zip(chunks_b) {
        for i in 0..LANES {
            lanes[i] += x[i] * y[i];
        }
    }
    reduce(lanes, tail_a.iter().zip(tail_b).map(|(x, y)| x * y).sum())
}

/// [`dot`] with the second operand in little-endian bf16; the same value as for the widened operand.
#[inline(always)]
pub(crate) fn dot_bf16(a: &[f32], b: &[u8]) -> f32 {
    let widen = |lo, hi| f32::from_bits(u32::from(u16::from_le_bytes([lo, hi])) << 16);
    let mut lanes = [0.0; LANES];
    let (chunks_a, tail_a) = a.as_chunks::<LANES>();
    let (chunks_b, tail_b) = b.as_chunks::<{ 2 * LANES }>();
    for (x, y) in chunks_a.iter().zip(chunks_b) {
        for i in 0..LANES {
            lanes[i] += x[i] * widen(y[2 * i], y[2 * i + 1]);
        }
    }
    let tail = tail_a.iter().zip(tail_b.as_chunks::<2>().0);
    reduce(lanes, tail.map(|(x, [lo, hi])| x * widen(*lo, *hi)).sum())
}

/// `Σ a`, in 16 interleaved partial sums.
#[inline(always)]
pub(crate) fn sum(a: &[f32]) -> f32 {
    let mut lanes = [0.0; LANES];
    let (chunks, tail) = a.as_chunks::<LANES>();
    for x in chunks {
        for i in 0..LANES {
            lanes[i] += x[i];
        }
    }
    reduce(lanes, tail.iter().sum())
}

/// The largest value; negative infinity for an empty slice. NaNs are passed over: the sums that follow keep them.
#[inline(always)]
pub(crate) fn max(a: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (chunks, tail) = a.as_chunks::<LANES>();
    for x in chunks {
        for i in 0..LANES {
            lanes[i] = if x[i] > lanes[i] { x[i] } else { lanes[i] };
        }
    }
    lanes.iter().chain(tail).fold(f32::NEG_INFINITY, |best, x| if *x > best { *x } else { best })
}

/// The least and the greatest value; infinities for an empty slice. Without NaNs.
#[cfg_attr(not(target_arch = "x86_64"), expect(unused_mut, reason = "for x86-64"))]
#[inline(always)]
pub(crate) fn extremes(a: &[f32]) -> (f32, f32) {
    let (mut both, mut rest) = ((f32::INFINITY, f32::NEG_INFINITY), a);
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        let (chunks, tail) = a.as_chunks();
        #[expect(unsafe_code, reason = "code for features that the machine may lack")]
        // SAFETY: `extremes_of_eights` is a safe function but for the feature that it is compiled for, which was just detected.
        let of_chunks = unsafe { extremes_of_eights(chunks) };
        (both, rest) = (of_chunks, tail);
    }
    rest.iter().fold(both, |(least, greatest), x| (least.min(*x), greatest.max(*x)))
}

/// By the instructions themselves: compilers put the lanes into memory to compare them with each other.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
#[inline]
fn extremes_of_eights(chunks: &[[f32; 8]]) -> (f32, f32) {
    use std::arch::x86_64::*;
    let mut least = _mm256_set1_ps(f32::INFINITY);
    let mut greatest = _mm256_set1_ps(f32::NEG_INFINITY);
    for chunk in chunks {
        #[expect(unsafe_code, reason = "a SIMD load")]
        // SAFETY: eight floats, which need no alignment.
        let chunk = unsafe { _mm256_loadu_ps(chunk.as_ptr()) };
        (least, greatest) = (_mm256_min_ps(least, chunk), _mm256_max_ps(greatest, chunk));
    }
    let halves = |v| (_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
    let ((a, b), (c, d)) = (halves(least), halves(greatest));
    let (least, greatest) = (_mm_min_ps(a, b), _mm_max_ps(c, d));
    let (least, greatest) = (
        _mm_min_ps(least, _mm_movehl_ps(least, least)),
        _mm_max_ps(greatest, _mm_movehl_ps(greatest, greatest)),
    );
    let second = |v| _mm_shuffle_ps::<1>(v, v);
    let (least, greatest) = (_mm_min_ss(least, second(least)), _mm_max_ss(greatest, second(greatest)));
    (_mm_cvtss_f32(least), _mm_cvtss_f32(greatest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_close_to_the_library() {
        for by in [false, true].map(|fused| Arithmetic { fused }) {
            let mut worst = 0f64;
            for i in -87_000..88_000 {
                let x = i as f32 * 1e-3;
                let exact = f64::from(x).exp();
                worst = worst.max((f64::from(exp(x, by)) - exact).abs() / exact);
            }
            assert!(worst < 2.5e-7, "largest relative error {worst:e}");
            assert!(exp(f32::NAN, by).is_nan());
            assert_eq!(exp(0.0, by), 1.0);
        }
    }

    #[test]
    fn extremes_are_found_anywhere() {
        for len in [0, 1, 7, 8, 9, 31, 32, 40] {
            for at in 0..len {
                let mut values = vec![1.0; len];
                (values[at], values[(at + 1) % len]) = (-2.0, 3.0);
                assert_eq!(extremes(&values), (if len == 1 { 3.0 } else { -2.0 }, 3.0), "{len}, {at}");
            }
        }
        assert_eq!(extremes(&[]), (f32::INFINITY, f32::NEG_INFINITY));
    }

    #[test]
    fn reductions_agree_with_f64() {
        let a: Vec<f32> = (0..103).map(|i| (i as f32 * 0.37).sin()).collect();
        let b: Vec<f32> = (0..103).map(|i| (i as f32 * 0.91).cos()).collect();
        let exact: f64 = a.iter().zip(&b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum();
        assert!((f64::from(dot(&a, &b)) - exact).abs() < 1e-5);
        let narrow: Vec<half::bf16> = b.iter().map(|b| half::bf16::from_f32(*b)).collect();
        let bytes: Vec<u8> = narrow.iter().flat_map(|b| b.to_le_bytes()).collect();
        let wide: Vec<f32> = narrow.iter().map(|b| b.to_f32()).collect();
        assert_eq!(dot_bf16(&a, &bytes), dot(&a, &wide));
        assert_eq!(max(&a), a.iter().copied().fold(f32::MIN, f32::max));
    }
}
