//! Which threads compute a product.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Threads {
    /// The current one alone.
    Current,
    /// All of the current rayon pool.
    Pool,
}
