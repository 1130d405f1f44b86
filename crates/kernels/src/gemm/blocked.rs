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
use super::tasks::for_each;
use super::threads::Threads;
use super::tiles::{LeftRows, ROWS, RightPanels, tiles};
use std::cell::Cell;

/// Columns of B that a task packs at a time.
const COLS: usize = 128;
/// Floats of A packed at a time, 8 MB.
const PACKED: usize = 1 << 21;
/// Columns of B below which packing them for fewer rows costs less than reading A once more.
const NARROW: usize = 48;
/// Columns of C up to which packing A costs more than it saves.
const SKINNY: usize = 64;
/// Floats between the steps of A from which on they push each other out of the caches unless A is packed.
const FAR: usize = 2048;
/// Multiply-adds below which a second task does not pay.
const SMALL: usize = 1 << 18;

thread_local! {
    static LEFT: Cell<Scratch> = const { Cell::new(Scratch::EMPTY) };
    static RIGHT: Cell<Scratch> = const { Cell::new(Scratch::EMPTY) };
}

/// A pointer that tasks share; each writes or reads its own part.
#[derive(Clone, Copy)]
struct Shared(*mut f32);
#[expect(unsafe_code, reason = "panels of one buffer are written by several threads")]
// SAFETY: a pointer to f32 values, which threads may share; only `product` and `Product::block` dereference what it gives:
// tasks of the packing write panels of their own, and are done before any task reads one.
unsafe impl Send for Shared {}
#[expect(unsafe_code, reason = "panels of one buffer are written by several threads")]
// SAFETY: as for `Send`.
unsafe impl Sync for Shared {}

impl Shared {
    fn at(self, index: usize) -> *mut f32 {
        self.0.wrapping_add(index)
    }
}

/// A as tasks read it.
#[derive(Clone, Copy)]
enum Left<'a> {
    /// The blocks of the depth one after another, `rows` rows of each.
    Packed { panels: Shared, rows: usize },
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

/// `c = [c +] alpha · a · b`, on the threads of the current rayon pool or on this one alone.
pub(super) fn product(
    kernel: &Kernel,
    c: &mut MatMut,
    assign: Assign,
    alpha: f32,
    a: MatRef,
    b: RightOperand,
    threads: Threads,
) {
    let (m, n, depth) = (c.rows, c.cols, Depth::new(a.cols));
    let threads = match threads {
        Threads::Pool if m * n * a.cols >= SMALL => rayon::current_num_threads(),
        Threads::Pool | Threads::Current => 1,
    };
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
        let (height, width) = tile(kernel, m, n, threads);
        let across = n.div_ceil(width);
        for_each(m.div_ceil(height) * across, threads, |task| {
            let (row, col) = (task / across * height, task % across * width);
            product.block(row, height.min(m - row), col, width.min(n - col));
        });
    }
    LEFT.set(left);
}

/// Rows and columns of C per task: columns first, because each task packs its columns of B.
fn tile(kernel: &Kernel, m: usize, n: usize, threads: usize) -> (usize, usize) {
    if threads == 1 {
        return (m, COLS.min(n.next_multiple_of(kernel.nr)));
    }
    // As many for each thread; enough that none waits long for the last.
    let fewest = n.div_ceil(COLS);
    let across = fewest.next_multiple_of(threads).min(n / NARROW).max(fewest);
    let width = n.div_ceil(across).next_multiple_of(kernel.nr);
    let across = n.div_ceil(width);
    let down = (2 * threads).div_ceil(across).min(m / (ROWS / 2)).max(threads.div_ceil(across));
    (m.div_ceil(down).next_multiple_of(kernel.mr), width)
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
