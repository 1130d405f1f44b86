//! How the depth of a product is cut: by the depth alone, so that every sum has one order.

/// Largest block of the depth: a panel of B and one of A then take 25 KB, so that they stay in an L1 cache.
const DEPTH: usize = 288;

/// The blocks of a depth.
#[derive(Clone, Copy)]
pub(super) struct Depth {
    pub(super) total: usize,
    pub(super) block: usize,
}

impl Depth {
    pub(super) fn new(total: usize) -> Depth {
        Depth::in_blocks(total, DEPTH)
    }

    /// In even blocks of at most `largest` steps, or a little more.
    pub(super) fn in_blocks(total: usize, largest: usize) -> Depth {
        let blocks = total.div_ceil(largest).max(1);
        Depth { total, block: total.div_ceil(blocks).next_multiple_of(32) }
    }

    pub(super) fn blocks(self) -> usize {
        self.total.div_ceil(self.block).max(1)
    }

    /// First step and length of block `index`.
    pub(super) fn range(self, index: usize) -> (usize, usize) {
        let start = index * self.block;
        (start, self.block.min(self.total - start))
    }
}
