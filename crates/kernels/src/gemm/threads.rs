//! Which threads compute a product.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Threads {
    /// The current one alone.
    Current,
    /// All of the current rayon pool.
    Pool,
}

/// Multiply-adds below which a second task does not pay.
#[cfg(target_arch = "x86_64")]
const SMALL: usize = 1 << 18;

#[cfg(target_arch = "x86_64")]
impl Threads {
    /// How many compute a product of `[m, n, k]`.
    pub(super) fn of_product(self, [m, n, k]: [usize; 3]) -> usize {
        match self {
            Threads::Pool if m * n * k >= SMALL => rayon::current_num_threads(),
            Threads::Pool | Threads::Current => 1,
        }
    }
}
