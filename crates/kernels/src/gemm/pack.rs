//! Packing: a panel of some rows (of A, or columns of B) becomes one run of memory in the order in which a micro-kernel
//! reads it, `panel[step · width + row]`. Stored types are widened on the way, so that a weight is read once.

use std::arch::x86_64::*;

/// How an operand is stored.
#[expect(unsafe_code, reason = "SIMD loads")]
pub(super) trait Element {
    type Raw: Copy;
    /// The `index`-th element after `data`.
    ///
    /// # Safety
    /// It lies in a live buffer.
    unsafe fn load1(data: *const Self::Raw, index: usize) -> f32;
    /// Eight elements from the `index`-th on.
    ///
    /// # Safety
    /// They lie in a live buffer; the machine has AVX2 and F16C.
    unsafe fn load8(data: *const Self::Raw, index: usize) -> __m256;
}

/// Floats as they are.
pub(super) struct F32;
/// Little-endian bytes, because a checkpoint may lie at any address.
pub(super) struct Bf16;
/// As [`Bf16`].
pub(super) struct F16;

impl Element for F32 {
    type Raw = f32;
    #[expect(unsafe_code, reason = "SIMD loads")]
    #[inline(always)]
    unsafe fn load1(data: *const f32, index: usize) -> f32 {
        // SAFETY: the caller's promise that element `index` lies in a live buffer; no alignment beyond its type's is needed.
        unsafe { *data.add(index) }
    }
    #[expect(unsafe_code, reason = "SIMD loads")]
    #[inline(always)]
    unsafe fn load8(data: *const f32, index: usize) -> __m256 {
        // SAFETY: the caller's promise that eight elements from `index` on lie in a live buffer, and that the machine has
        // the features; the load needs no alignment.
        unsafe { _mm256_loadu_ps(data.add(index)) }
    }
}

impl Element for Bf16 {
    type Raw = [u8; 2];
    #[expect(unsafe_code, reason = "SIMD loads")]
    #[inline(always)]
    unsafe fn load1(data: *const [u8; 2], index: usize) -> f32 {
        // SAFETY: the caller's promise that element `index` lies in a live buffer; no alignment beyond its type's is needed.
        f32::from_bits(u32::from(unsafe { data.add(index).cast::<u16>().read_unaligned() }) << 16)
    }
    #[expect(unsafe_code, reason = "SIMD loads")]
    #[inline(always)]
    unsafe fn load8(data: *const [u8; 2], index: usize) -> __m256 {
        // SAFETY: the caller's promise that eight elements from `index` on lie in a live buffer, and that the machine has
        // the features; the load needs no alignment.
        unsafe {
            let bits = _mm256_cvtepu16_epi32(_mm_loadu_si128(data.add(index).cast()));
            _mm256_castsi256_ps(_mm256_slli_epi32::<16>(bits))
        }
    }
}

impl Element for F16 {
    type Raw = [u8; 2];
    #[expect(unsafe_code, reason = "SIMD loads")]
    #[inline(always)]
    unsafe fn load1(data: *const [u8; 2], index: usize) -> f32 {
        // SAFETY: the caller's promise that element `index` lies in a live buffer; no alignment beyond its type's is needed.
        half::f16::from_bits(unsafe { data.add(index).cast::<u16>().read_unaligned() }).to_f32()
    }
    #[expect(unsafe_code, reason = "SIMD loads")]
    #[inline(always)]
    unsafe fn load8(data: *const [u8; 2], index: usize) -> __m256 {
        // SAFETY: the caller's promise that eight elements from `index` on lie in a live buffer, and that the machine has
        // the features; the load needs no alignment.
        unsafe { _mm256_cvtph_ps(_mm_loadu_si128(data.add(index).cast())) }
    }
}

/// Rows of adjacent elements, `stride` apart, become a panel: `out[k · WIDTH + i] = data[i · stride + k]`. Rows from
/// `rows` on are zero.
///
/// # Safety
/// The elements lie in a live buffer and `out` has room for `depth · WIDTH`; the machine has AVX2 and F16C.
#[expect(unsafe_code, reason = "a SIMD kernel")]
#[target_feature(enable = "avx2,f16c")]
pub(super) unsafe fn interleave<E: Element, const WIDTH: usize>(
    data: *const E::Raw,
    stride: usize,
    rows: usize,
    depth: usize,
    out: *mut f32,
) {
    let mut first = 0;
    while first < WIDTH {
        let rows = rows.saturating_sub(first);
        // SAFETY: the caller's promise, for the rows from `first` on and their places in each step of the panel: `first` is
        // less than `WIDTH`, and where there are no such rows nothing is read.
        unsafe {
            let (data, out) = (data.wrapping_add(first * stride), out.add(first));
            match WIDTH - first {
                4 => lanes::<E, WIDTH, 4>(data, stride, rows, depth, out),
                6 => lanes::<E, WIDTH, 6>(data, stride, rows, depth, out),
                _ => lanes::<E, WIDTH, 8>(data, stride, rows, depth, out),
            }
        }
        first += 8;
    }
}

/// [`interleave`] of the last `LANES` rows of a panel, or of eight before them.
///
/// # Safety
/// As there.
#[expect(unsafe_code, reason = "a SIMD kernel")]
#[target_feature(enable = "avx2,f16c")]
unsafe fn lanes<E: Element, const WIDTH: usize, const LANES: usize>(
    data: *const E::Raw,
    stride: usize,
    rows: usize,
    depth: usize,
    out: *mut f32,
) {
    let whole = depth - depth % 8;
    // SAFETY: the caller's promise. Reads: row i < `rows`, steps below `depth`, which lie in the buffer. Writes: step k of the
    // panel has `WIDTH` floats, of which these lanes are within; six lanes are stored as eight only before the last step,
    // whose place then follows.
    unsafe {
        for k in (0..whole).step_by(8) {
            let mut tile = [_mm256_setzero_ps(); 8];
            if rows >= LANES {
                for (i, row) in tile.iter_mut().enumerate().take(LANES) {
                    *row = E::load8(data, i * stride + k);
                }
            } else {
                for (i, row) in tile.iter_mut().enumerate().take(rows) {
                    *row = E::load8(data, i * stride + k);
                }
            }
            for (j, column) in transpose(tile).into_iter().enumerate() {
                let out = out.add((k + j) * WIDTH);
                // Six lanes are a whole step of a panel: what is written beyond them, the next step overwrites.
                if LANES == 8 || LANES == 6 && k + j + 1 < depth {
                    _mm256_storeu_ps(out, column);
                    continue;
                }
                _mm_storeu_ps(out, _mm256_castps256_ps128(column));
                if LANES == 6 {
                    _mm_storel_pd(out.add(4).cast(), _mm_castps_pd(_mm256_extractf128_ps::<1>(column)));
                }
            }
        }
        for k in whole..depth {
            for i in 0..LANES {
                *out.add(k * WIDTH + i) = if i < rows { E::load1(data, i * stride + k) } else { 0.0 };
            }
        }
    }
}

#[target_feature(enable = "avx2")]
pub(super) fn transpose(r: [__m256; 8]) -> [__m256; 8] {
    let t = [
        _mm256_unpacklo_ps(r[0], r[1]),
        _mm256_unpackhi_ps(r[0], r[1]),
        _mm256_unpacklo_ps(r[2], r[3]),
        _mm256_unpackhi_ps(r[2], r[3]),
        _mm256_unpacklo_ps(r[4], r[5]),
        _mm256_unpackhi_ps(r[4], r[5]),
        _mm256_unpacklo_ps(r[6], r[7]),
        _mm256_unpackhi_ps(r[6], r[7]),
    ];
    let s = [
        _mm256_shuffle_ps::<0x44>(t[0], t[2]),
        _mm256_shuffle_ps::<0xee>(t[0], t[2]),
        _mm256_shuffle_ps::<0x44>(t[1], t[3]),
        _mm256_shuffle_ps::<0xee>(t[1], t[3]),
        _mm256_shuffle_ps::<0x44>(t[4], t[6]),
        _mm256_shuffle_ps::<0xee>(t[4], t[6]),
        _mm256_shuffle_ps::<0x44>(t[5], t[7]),
        _mm256_shuffle_ps::<0xee>(t[5], t[7]),
    ];
    [
        _mm256_permute2f128_ps::<0x20>(s[0], s[4]),
        _mm256_permute2f128_ps::<0x20>(s[1], s[5]),
        _mm256_permute2f128_ps::<0x20>(s[2], s[6]),
        _mm256_permute2f128_ps::<0x20>(s[3], s[7]),
        _mm256_permute2f128_ps::<0x31>(s[0], s[4]),
        _mm256_permute2f128_ps::<0x31>(s[1], s[5]),
        _mm256_permute2f128_ps::<0x31>(s[2], s[6]),
        _mm256_permute2f128_ps::<0x31>(s[3], s[7]),
    ]
}

/// Steps whose `rows` elements are adjacent, `stride` apart, become as many panels as they need:
/// `out[(p · depth + k) · WIDTH + i] = data[k · stride + p · WIDTH + i]`. What the last panel lacks is zero.
///
/// `GROUP` panels are written at a time: a group reads whole cache lines, but panels often lie a multiple of 4 KB apart,
/// where more of them would push each other out of the cache.
///
/// # Safety
/// As for [`interleave`], with room for all panels.
#[expect(unsafe_code, reason = "a SIMD kernel")]
#[target_feature(enable = "avx2,f16c")]
pub(super) unsafe fn copy<E: Element, const WIDTH: usize, const GROUP: usize>(
    data: *const E::Raw,
    stride: usize,
    rows: usize,
    depth: usize,
    out: *mut f32,
) {
    let mut start = 0;
    while start < rows {
        let end = (start + GROUP * WIDTH).min(rows);
        for k in 0..depth {
            let mut first = start;
            while first < end {
                // SAFETY: the caller's promise. Reads: elements from `first` to at most `rows` of step k, which lie in the
                // buffer; eight at a time only where the panel has all `WIDTH`. Writes: step k of the panel from `first`
                // on, `WIDTH` floats of the `depth · WIDTH` that it has. The copies through `values` stay in its array.
                unsafe {
                    let data = data.add(k * stride + first);
                    let out = out.add(first * depth + k * WIDTH);
                    if first + WIDTH <= rows {
                        let mut values = [0.0; WIDTH];
                        for i in 0..WIDTH / 8 {
                            _mm256_storeu_ps(values.as_mut_ptr().add(8 * i), E::load8(data, 8 * i));
                        }
                        for (i, value) in values.iter_mut().enumerate().skip(WIDTH / 8 * 8) {
                            *value = E::load1(data, i);
                        }
                        out.cast::<[f32; WIDTH]>().write(values);
                    } else {
                        for i in 0..WIDTH {
                            *out.add(i) = if first + i < rows { E::load1(data, i) } else { 0.0 };
                        }
                    }
                }
                first += WIDTH;
            }
        }
        start = end;
    }
}
