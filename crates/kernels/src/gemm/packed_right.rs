//! A right operand packed once, in the panels of a kernel.

use super::ahead::Ahead;
use super::band::Banded;
use super::depth::Depth;
use super::kernel::Kernel;
use super::matrix::{Assign, MatMut, MatRef};
use super::operand::RightOperand;
use super::packing::pack_right;
use super::tiles::{LeftRows, RightPanels, tiles};

/// A matrix packed as the right operand of several products.
pub(super) struct PackedRight {
    kernel: &'static Kernel,
    depth: Depth,
    cols: usize,
    values: Vec<f32>,
    /// Floats before the first on a multiple of 64 bytes.
    skipped: usize,
}

impl PackedRight {
    pub(super) fn empty(kernel: &'static Kernel) -> PackedRight {
        PackedRight { kernel, depth: Depth { total: 0, block: 1 }, cols: 0, values: Vec::new(), skipped: 0 }
    }

    pub(super) fn pack(&mut self, b: &RightOperand) {
        let (depth, width) = (Depth::new(b.rows), b.cols.next_multiple_of(self.kernel.nr));
        (self.depth, self.cols) = (depth, b.cols);
        self.values.resize(self.values.len().max(width * b.rows + 16), 0.0);
        self.skipped = self.values.as_ptr().align_offset(64);
        for block in 0..depth.blocks() {
            let (start, len) = depth.range(block);
            let out = &mut self.values[self.skipped + width * start..];
            pack_right(self.kernel.nr, b, start, len, 0, b.cols, out);
        }
    }

    /// `c = [c +] alpha · a · b` on this thread, where B begins at (`row`, `col`) of the packed matrix.
    pub(super) fn product(
        &self,
        c: &mut MatMut,
        assign: Assign,
        alpha: f32,
        a: MatRef,
        [row, col]: [usize; 2],
        banded: Banded,
    ) {
        let nr = self.kernel.nr;
        assert!(a.rows == c.rows && row + a.cols <= self.depth.total, "the shapes fit");
        assert!(col % nr == 0 && col + c.cols <= self.cols, "the columns begin with a panel");
        let mut assign = assign;
        for block in 0..self.depth.blocks() {
            let (start, len) = self.depth.range(block);
            let (from, to) = (row.max(start), (row + a.cols).min(start + len));
            if from >= to {
                continue;
            }
            let at = self.skipped + self.cols.next_multiple_of(nr) * start + col * len + (from - start) * nr;
            let b = RightPanels { data: self.values[at..].as_ptr(), apart: nr * len, ahead: Ahead::NOTHING };
            #[expect(unsafe_code, reason = "micro-kernels take pointers")]
            // SAFETY: A has the rows of C and, in these steps, `to - from` columns; `pack` put the panels of B in this block
            // of the depth behind each other, so that the one at `at` and those after it hold the columns of C and the same
            // steps; both follow from the assertions. C is borrowed mutably.
            unsafe {
                let a = LeftRows::direct(a, 0, from - row..to - row);
                tiles(self.kernel, c, assign, alpha, a, b, banded);
            }
            assign = Assign::Add;
        }
    }
}
