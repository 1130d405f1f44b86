//! The matrix unit of recent Xeons (AMX): sums of products of bf16 pairs, in f32, over tiles of 1 KB.
//!
//! Intel® 64 and IA-32 Architectures Software Developer's Manual, volume 1, chapter 18.

use std::arch::asm;
use std::arch::x86_64::{_MM_HINT_ET0, _mm_prefetch};
use std::sync::LazyLock;

/// Rows and columns of a block of sums: two by two tiles.
pub(super) const SIDE: usize = 32;
/// Steps of the depth that a tile of an operand holds.
pub(super) const STEPS: usize = 32;
/// Bytes of a tile: 16 rows of 64.
pub(super) const TILE: usize = 1024;

/// How many bf16 terms the values of the right operand are the sum of. Those of the left one are packed as three.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::gemm) enum Terms {
    /// It is stored as bf16.
    One,
    /// 16 bits are enough: of the left operand only two terms count as well.
    Two,
    /// Any f32.
    Three,
}

/// Bytes of a panel of the left operand per [`STEPS`].
pub(super) const LEFT: usize = 3 * 2 * TILE;

impl Terms {
    pub(super) fn count(self) -> usize {
        match self {
            Terms::One => 1,
            Terms::Two => 2,
            Terms::Three => 3,
        }
    }

    /// Bytes of a panel of the right operand per [`STEPS`].
    pub(super) fn bytes(self) -> usize {
        self.count() * 2 * TILE
    }
}

/// Whether this machine and its kernel let the process use tiles.
pub(in crate::gemm) fn available() -> bool {
    static AVAILABLE: LazyLock<bool> = LazyLock::new(|| has_tiles() && may_use_tiles());
    *AVAILABLE
}

fn has_tiles() -> bool {
    const BF16: u32 = 1 << 22;
    const TILES: u32 = 1 << 24;
    let packs = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl");
    packs && std::arch::x86_64::__cpuid_count(7, 0).edx & (BF16 | TILES) == BF16 | TILES
}

/// Asks Linux for the state of tiles, 8 KB per thread, which no process has unless it asks.
fn may_use_tiles() -> bool {
    const REQUEST: libc::c_long = 0x1023; // ARCH_REQ_XCOMP_PERM
    const TILE_DATA: libc::c_long = 18;
    #[expect(unsafe_code, reason = "a system call")]
    // SAFETY: the call takes two numbers and touches no memory of the process.
    let refused = unsafe { libc::syscall(libc::SYS_arch_prctl, REQUEST, TILE_DATA) };
    refused == 0
}

/// Shapes of the eight tiles: palette 1, all of 16 rows of 64 bytes.
#[repr(C, align(64))]
struct Shapes([u8; 64]);

static SHAPES: Shapes = {
    let mut bytes = [0; 64];
    bytes[0] = 1;
    let mut tile = 0;
    while tile < 8 {
        bytes[16 + 2 * tile] = 64;
        bytes[48 + tile] = 16;
        tile += 1;
    }
    Shapes(bytes)
};

/// Loads B's two tiles of a term, which lie so many bytes from where a step begins.
macro_rules! right {
    ($left:literal, $right:literal) => {
        concat!("tileloadd tmm6, [{b} + {s}*1 + ", $left, "]\ntileloadd tmm7, [{b} + {s}*1 + ", $right, "]")
    };
}

/// Adds the products of A's tiles with B's.
macro_rules! upper {
    () => {
        "tdpbf16ps tmm0, tmm4, tmm6\ntdpbf16ps tmm1, tmm4, tmm7"
    };
}
macro_rules! lower {
    () => {
        "tdpbf16ps tmm2, tmm5, tmm6\ntdpbf16ps tmm3, tmm5, tmm7"
    };
}

/// Loads A's two tiles of a term and adds their products with B's.
macro_rules! left {
    ($upper:literal, $lower:literal) => {
        concat!(
            "tileloadd tmm4, [{a} + {s}*1 + ",
            $upper,
            "]\n",
            upper!(),
            "\ntileloadd tmm5, [{a} + {s}*1 + ",
            $lower,
            "]\n",
            lower!()
        )
    };
}

/// The tiles of this thread, as long as it lives.
pub(super) struct Tiles(());

impl Tiles {
    /// `None` where there are none.
    pub(super) fn of_this_thread() -> Option<Tiles> {
        if !available() {
            return None;
        }
        #[expect(unsafe_code, reason = "tiles have no stable intrinsics")]
        // SAFETY: the machine has tiles, and the shapes are valid ones that live for ever.
        unsafe {
            asm!("ldtilecfg [{}]", in(reg) &raw const SHAPES, options(nostack, readonly, preserves_flags));
        }
        Some(Tiles(()))
    }

    /// `c = [c +] a · b` for [`SIDE`] rows of C, `stride` floats apart.
    ///
    /// # Safety
    /// A and B are panels of so many times [`STEPS`]; nobody else uses the [`SIDE`] by [`SIDE`] floats at `c`, which hold
    /// values if they are added to.
    #[expect(unsafe_code, reason = "tiles have no stable intrinsics")]
    pub(super) unsafe fn multiply(&self, terms: Terms, steps: usize, [a, b]: [*const u8; 2], c: Sums) {
        let Sums { data, stride, add } = c;
        // Sums stay in tiles 0 to 3; 4 and 5 are A's, 6 and 7 B's. `s` is 64, the bytes between rows of a tile.
        macro_rules! run {
            ($($step:tt)*) => {
                asm!(
                    "test {add:r}, {add:r}",
                    "jz 3f",
                    "tileloadd tmm0, [{c} + {stride}*1]",
                    "tileloadd tmm1, [{c} + {stride}*1 + 64]",
                    "tileloadd tmm2, [{below} + {stride}*1]",
                    "tileloadd tmm3, [{below} + {stride}*1 + 64]",
                    "jmp 2f",
                    "3:",
                    "tilezero tmm0",
                    "tilezero tmm1",
                    "tilezero tmm2",
                    "tilezero tmm3",
                    "2:",
                    $($step)*
                    "dec {steps}",
                    "jnz 2b",
                    "tilestored [{c} + {stride}*1], tmm0",
                    "tilestored [{c} + {stride}*1 + 64], tmm1",
                    "tilestored [{below} + {stride}*1], tmm2",
                    "tilestored [{below} + {stride}*1 + 64], tmm3",
                    add = in(reg) u64::from(add),
                    c = in(reg) data,
                    below = in(reg) data.wrapping_add(16 * stride),
                    stride = in(reg) 4 * stride,
                    s = in(reg) 64usize,
                    steps = inout(reg) steps => _,
                    a = inout(reg) a => _,
                    b = inout(reg) b => _,
                    out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                    out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                    options(nostack),
                )
            };
        }
        if steps == 0 {
            return;
        }
        // C is asked for while the sums are made.
        for row in 0..SIDE {
            let row = data.wrapping_add(row * stride);
            #[expect(unsafe_code, reason = "a hint")]
            // SAFETY: a hint that reads nothing.
            unsafe {
                _mm_prefetch::<_MM_HINT_ET0>(row.cast());
                _mm_prefetch::<_MM_HINT_ET0>(row.wrapping_add(SIDE / 2).cast());
            }
        }
        // SAFETY: reads: `steps` times the tiles of A and of B that a step has, which the caller gives, and C's if it is added
        // to; writes: C's four tiles, 16 rows of 64 bytes each, `stride` floats apart. The tiles have these shapes while
        // `self` lives, and the asm names all that it changes.
        unsafe {
            match terms {
                Terms::One => run!(
                    right!(0, 1024),
                    left!(0, 1024),
                    left!(4096, 5120),
                    left!(2048, 3072),
                    "add {a}, 6144",
                    "add {b}, 2048",
                ),
                // Both first terms, and each first with the other's second.
                Terms::Two => run!(
                    right!(0, 1024),
                    left!(2048, 3072),
                    left!(0, 1024),
                    right!(2048, 3072),
                    upper!(),
                    lower!(),
                    "add {a}, 6144",
                    "add {b}, 4096",
                ),
                // A's first term with B's first, its third with B's first, its second with B's first and second, and the
                // first again with B's second and third.
                Terms::Three => run!(
                    right!(0, 1024),
                    left!(0, 1024),
                    left!(4096, 5120),
                    left!(2048, 3072),
                    right!(2048, 3072),
                    upper!(),
                    lower!(),
                    left!(0, 1024),
                    right!(4096, 5120),
                    upper!(),
                    lower!(),
                    "add {a}, 6144",
                    "add {b}, 6144",
                ),
            }
        }
    }
}

impl Drop for Tiles {
    fn drop(&mut self) {
        #[expect(unsafe_code, reason = "tiles have no stable intrinsics")]
        // SAFETY: the machine has tiles; nothing of theirs is used any more.
        unsafe {
            asm!("tilerelease", options(nostack, nomem, preserves_flags));
        }
    }
}

/// A block of C.
#[derive(Clone, Copy)]
pub(super) struct Sums {
    pub(super) data: *mut f32,
    /// Floats between rows.
    pub(super) stride: usize,
    /// Adds to what is there.
    pub(super) add: bool,
}
