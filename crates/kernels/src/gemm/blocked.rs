//! The blocked product over packed panels.
//!
//! The depth is cut into blocks of a size that depends on the depth alone, and an element of C is the sum over these
//! blocks in order, each summed in order: it does not matter which task, tile or thread computes it. A is packed once and
//! shared, or read where it lies if C is narrow; each task takes some columns of C and packs (and decodes) its own columns
//! of B, so that nothing waits for B.

use super::ahead::Ahead;
use super::band::Banded;
use super::depth::Depth;
use super::dots;
use super::kernel::Kernel;
use super::matrix::{Assign, MatMut, MatRef};
use super::operand::RightOperand;
use super::packing::{pack_left, pack_right};
use super::scratch::Scratch;
use super::shared::Shared;
use super::tasks::{for_each, shares};
use super::tiles::{LeftRows, RightPanels, tiles};
use std::cell::Cell;

/// Columns of B that a task packs at a time.
const COLS: usize = 128;
/// Floats of A packed at a time, 8 MB.
const PACKED: usize = 1 << 21;
/// Columns of C up to which packing A costs more than it saves.
const SKINNY: usize = 64;
/// Floats between the steps of A from which on they push each other out of the caches unless A is packed.
const FAR: usize = 2048;

thread_local! {
    static LEFT: Cell<Scratch> = const { Cell::new(Scratch::EMPTY) };
    static RIGHT: Cell<Scratch> = const { Cell::new(Scratch::EMPTY) };
}

/// A as tasks read it.
#[derive(Clone, Copy)]
enum Left<'a> {
    /// The blocks of the depth one after another, `rows` rows of each.
    Packed { panels: Shared<f32>, rows: usize },
    /// As it lies.
    Direct(MatRef<'a>),
}

/// What tasks of one product share.
struct Product<'a> {
    kernel: &'a Kernel,
    c: &'a MatMut<'a>,
    assign: Assign,
    alpha: f32,
    b: RightOperand<'a>,
    depth: Depth,
    a: Left<'a>,
    /// Blocks `first..first + blocks` of the depth.
    first: usize,
    blocks: usize,
}

/// `c = [c +] alpha · a · b` on so many threads of the current rayon pool.
pub(super) fn product(
    kernel: &Kernel,
    c: &mut MatMut,
    assign: Assign,
    alpha: f32,
    a: MatRef,
    b: RightOperand,
    threads: usize,
) {
    let (m, n, depth) = (c.rows, c.cols, Depth::new(a.cols));
    if dots::fits(a, &b) {
        return dots::product(c, assign, alpha, a, &b, threads);
    }
    let direct = n <= SKINNY && a.col_stride < FAR;
    let panels = if direct { 0 } else { m.div_ceil(kernel.mr) };
    let rows = panels * kernel.mr;
    let at_once = match direct {
        true => depth.blocks(),
        false => (PACKED / (rows * depth.block)).clamp(1, depth.blocks()),
    };
    let mut left = LEFT.take();
    let packed = Shared(left.floats(rows * depth.block * at_once).as_mut_ptr());
    for first in (0..depth.blocks()).step_by(at_once) {
        let blocks = at_once.min(depth.blocks() - first);
        // A task packs some panels of one block.
        let part = if threads > 1 { (1 << 14) / (depth.block * kernel.mr) + 1 } else { panels.max(1) };
        let parts = panels.div_ceil(part);
        for_each(parts * blocks, threads, |task| {
            let (block, panel) = (task / parts, task % parts * part);
            let (start, len) = depth.range(first + block);
            let row = panel * kernel.mr;
            let count = (part * kernel.mr).min(m - row);
            let out = packed.at(rows * depth.block * block + row * len);
            pack_left(kernel.mr, a, row, count, start, len, out);
        });
        let product = Product {
            kernel,
            c: &*c,
            assign: if first == 0 { assign } else { Assign::Add },
            alpha,
            b,
            depth,
            a: if direct { Left::Direct(a) } else { Left::Packed { panels: packed, rows } },
            first,
            blocks,
        };
        let (height, width) = shares(kernel.mr, kernel.nr, [m, n], COLS, threads);
        let across = n.div_ceil(width);
        for_each(m.div_ceil(height) * across, threads, |task| {
            let (row, col) = (task / across * height, task % across * width);
            product.block(row, height.min(m - row), col, width.min(n - col));
        });
    }
    LEFT.set(left);
}

impl Product<'_> {
    /// Computes `height` × `width` of C at (`row`, `col`); `row` is a multiple of `mr`.
    #[expect(unsafe_code, reason = "micro-kernels take pointers")]
    fn block(&self, row: usize, height: usize, col: usize, width: usize) {
        let Kernel { mr, nr, .. } = *self.kernel;
        let mut right = RIGHT.take();
        let panels = right.floats(width.next_multiple_of(nr) * self.depth.block);
        let mut assign = self.assign;
        for block in 0..self.blocks {
            let (start, len) = self.depth.range(self.first + block);
            pack_right(nr, &self.b, start, len, col, width, panels);

            // Mostly the next columns are this thread's as well.
            let (next, from) = match block + 1 < self.blocks {
                true => (block + 1, col),
                false => (0, col + width),
            };
            let (next, steps) = self.depth.range(self.first + next);
            let tiles_until_then = height.div_ceil(mr) * width.div_ceil(nr);
            let ahead = Ahead::new(&self.b, next..next + steps, from..from + width, tiles_until_then);
            let b = RightPanels { data: panels.as_ptr(), apart: nr * len, ahead };
            let a = match self.a {
                Left::Packed { panels, rows } => LeftRows {
                    data: panels.at(rows * self.depth.block * block + row * len),
                    steps: start..start + len,
                    apart: len,
                    strides: [1, mr],
                    whole: true,
                },
                Left::Direct(a) => LeftRows::direct(a, row, start..start + len),
            };
            // SAFETY: tasks have blocks of C of their own, within C as `block` checks, and nobody uses C itself meanwhile. A:
            // the panels of rows `row..row + height`, whole ones since `row` is a multiple of `mr`, which `product` has
            // packed for this block of the depth, or the rows as they lie in A. B: the panels that were just packed, for the
            // same steps. The kernel is one that this machine runs, as `product` was given it.
            unsafe {
                let c = self.c.block(row, col, height, width);
                tiles(self.kernel, &c, assign, self.alpha, a, b, Banded::No);
            }
            assign = Assign::Add;
        }
        RIGHT.set(right);
    }
}
