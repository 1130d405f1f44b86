//! Micro-kernels: one tile of C from a packed panel of B and one of A, or A as it lies, held in registers over the whole
//! depth.
//!
//! The scheme is that of BLIS (Van Zee and van de Geijn, <https://doi.org/10.1145/2764454>).

use std::arch::x86_64::*;
use std::sync::LazyLock;

/// Where a kernel writes and what of its tile it keeps.
pub(super) struct Tile {
    pub(super) c: *mut f32,
    /// Elements between rows of C.
    pub(super) stride: usize,
    /// At most the kernel's.
    pub(super) rows: usize,
    pub(super) cols: usize,
    pub(super) alpha: f32,
    /// Adds to C instead of overwriting it.
    pub(super) add: bool,
}

/// `(depth, a, [above, along], b, tile)`: `tile = [tile +] alpha · a · b`, where A's rows are `above` apart and its steps
/// `along`.
///
/// Safe to call where the kernel was given out by [`best`] and A, B and the tile lie in live buffers; B starts on a
/// multiple of 64 bytes.
pub(super) type Run = unsafe fn(usize, *const f32, [usize; 2], *const f32, Tile);

/// A micro-kernel and the panel of B it takes: `depth` times `nr` values.
pub(super) struct Kernel {
    pub(super) mr: usize,
    pub(super) nr: usize,
    /// Every step of A is `mr` adjacent values, as in a packed panel.
    pub(super) adjacent: Run,
    /// A is `tile.rows` rows anywhere.
    pub(super) strided: Run,
}

const AVX2: Kernel = Kernel { mr: 6, nr: 16, adjacent: avx2::<true>, strided: avx2::<false> };
const AVX512: Kernel = Kernel { mr: 12, nr: 32, adjacent: avx512::<true>, strided: avx512::<false> };

/// The kernels that this machine runs, the fastest first.
pub(super) fn available() -> Vec<&'static Kernel> {
    let mut kernels = Vec::new();
    // The packing is written for AVX2.
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c")
    {
        if is_x86_feature_detected!("avx512f") {
            kernels.push(&AVX512);
        }
        kernels.push(&AVX2);
    }
    kernels
}

/// The fastest kernel of this machine; `None` where there is none.
pub(super) fn best() -> Option<&'static Kernel> {
    static BEST: LazyLock<Option<&'static Kernel>> = LazyLock::new(|| available().first().copied());
    *BEST
}

/// Steps of the depth per loop: enough to hide the loop itself.
const UNROLL: usize = 4;

macro_rules! kernel {
    ($name:ident, $feature:literal, $rows:literal, $vectors:literal, $lanes:literal,
     $zero:ident, $load:ident, $loadu:ident, $storeu:ident, $splat:ident, $fma:ident, $mul:ident, $add:ident) => {
        #[expect(unsafe_code, reason = "a SIMD kernel over packed panels")]
        #[target_feature(enable = $feature)]
        unsafe fn $name<const ADJACENT: bool>(
            depth: usize,
            mut a: *const f32,
            [above, along]: [usize; 2],
            mut b: *const f32,
            tile: Tile,
        ) {
            // SAFETY: the caller gives A and B with `depth` steps, of the tile's rows (`$rows` where they are adjacent) and of
            // `$vectors · $lanes` columns on a multiple of 64 bytes, and a tile that lies in C and that nobody else uses; the
            // machine has the feature. Rows beyond the tile's are not read: they repeat its last. The steps' pointers move
            // by wrapping arithmetic or within the panel; the edge is stored into an array of the size of a whole tile.
            unsafe {
                for row in 0..tile.rows {
                    let c = tile.c.wrapping_add(row * tile.stride);
                    _mm_prefetch::<_MM_HINT_T0>(c.cast());
                    _mm_prefetch::<_MM_HINT_T0>(c.wrapping_add(tile.cols - 1).cast());
                }
                // Rows that the tile lacks repeat its last one.
                let mut rows = [0; $rows];
                for (i, row) in rows.iter_mut().enumerate() {
                    *row = if ADJACENT { i } else { i.min(tile.rows - 1) * above };
                }
                let mut sums = [[$zero(); $vectors]; $rows];
                // A narrow tile, as of a rank-8 adapter, leaves the vectors beyond it out.
                macro_rules! step {
                    ($used:expr) => {
                        let mut right = [$zero(); $vectors];
                        for (v, right) in right.iter_mut().enumerate().take($used) {
                            *right = $load(b.add(v * $lanes));
                        }
                        for (i, sums) in sums.iter_mut().enumerate() {
                            let left = $splat(*a.add(if ADJACENT { i } else { rows[i] }));
                            for (sum, right) in sums.iter_mut().zip(&right).take($used) {
                                *sum = $fma(left, *right, *sum);
                            }
                        }
                        a = a.wrapping_add(along);
                        b = b.add($vectors * $lanes);
                    };
                }
                macro_rules! steps {
                    ($used:expr) => {
                        for _ in 0..depth / UNROLL {
                            for _ in 0..UNROLL {
                                step!($used);
                            }
                        }
                        for _ in 0..depth % UNROLL {
                            step!($used);
                        }
                    };
                }
                if tile.cols <= $lanes {
                    steps!(1);
                } else {
                    steps!($vectors);
                }
                let alpha = $splat(tile.alpha);
                if tile.rows == $rows && tile.cols == $vectors * $lanes {
                    for (i, sums) in sums.iter().enumerate() {
                        for (v, sum) in sums.iter().enumerate() {
                            let c = tile.c.add(i * tile.stride + v * $lanes);
                            let value = $mul(alpha, *sum);
                            $storeu(c, if tile.add { $add(value, $loadu(c)) } else { value });
                        }
                    }
                } else {
                    let mut edge = [0.0; $rows * $vectors * $lanes];
                    for (i, sums) in sums.iter().enumerate() {
                        for (v, sum) in sums.iter().enumerate() {
                            let at = (i * $vectors + v) * $lanes;
                            $storeu(edge.as_mut_ptr().add(at), $mul(alpha, *sum));
                        }
                    }
                    for (i, values) in edge.chunks_exact($vectors * $lanes).take(tile.rows).enumerate() {
                        // By pointer, because C may not hold values yet.
                        let c = tile.c.add(i * tile.stride);
                        for (j, value) in values.iter().enumerate().take(tile.cols) {
                            let c = c.add(j);
                            c.write(if tile.add { value + *c } else { *value });
                        }
                    }
                }
            }
        }
    };
}

kernel!(
    avx2,
    "avx2,fma",
    6,
    2,
    8,
    _mm256_setzero_ps,
    _mm256_load_ps,
    _mm256_loadu_ps,
    _mm256_storeu_ps,
    _mm256_set1_ps,
    _mm256_fmadd_ps,
    _mm256_mul_ps,
    _mm256_add_ps
);
kernel!(
    avx512,
    "avx512f",
    12,
    2,
    16,
    _mm512_setzero_ps,
    _mm512_load_ps,
    _mm512_loadu_ps,
    _mm512_storeu_ps,
    _mm512_set1_ps,
    _mm512_fmadd_ps,
    _mm512_mul_ps,
    _mm512_add_ps
);
