//! Products of large matrices on the matrix unit of recent Xeons (AMX), as exact as in f32.
//!
//! The unit multiplies bf16. Every f32 is the sum of three of them ([`split`]), so the product of two is the sum of nine, of
//! which the three smallest are less than the rounding of an f32 and left out; a weight that is stored as bf16 has one term,
//! and then nothing is left out. Even six products take less than half the time of one in f32. The sums are f32, in the
//! order of the depth.
//!
//! As in [`super::blocked`], blocks of the depth depend on the depth alone, A is packed once, and each task packs its columns
//! of B.

mod split;
mod tile;

use super::depth::Depth;
use super::matrix::{Assign, MatMut, MatRef};
use super::operand::RightOperand;
use super::scratch::Scratch;
use super::shared::Shared;
use super::tasks::{for_each, shares};
use split::{left_bytes, pack_left, pack_right, right_bytes, terms_of};
use std::cell::Cell;
use tile::{SIDE, Sums, Terms, Tiles};

pub(super) use tile::available;

/// Largest block of the depth.
const DEPTH: usize = 768;
/// Bytes of B that a task packs at a time: with a panel of A they stay in an L2 cache.
const RIGHT_BYTES: usize = 640 << 10;
/// Bytes of A packed at a time.
const PACKED: usize = 8 << 20;
/// Sizes below which packing costs more than the unit saves.
const ROWS: usize = 48;
const NARROW: usize = 64;
const SHALLOW: usize = 64;

thread_local! {
    static LEFT: Cell<Scratch> = const { Cell::new(Scratch::EMPTY) };
    static RIGHT: Cell<Scratch> = const { Cell::new(Scratch::EMPTY) };
    static DECODED: Cell<Scratch> = const { Cell::new(Scratch::EMPTY) };
}

/// Whether a product is worth it.
pub(super) fn fits(a: MatRef, b: &RightOperand) -> bool {
    a.rows >= ROWS && b.cols >= NARROW && a.cols >= SHALLOW && (a.col_stride == 1 || a.row_stride == 1)
}

/// What tasks of one product share.
struct Product<'a> {
    c: &'a MatMut<'a>,
    assign: Assign,
    b: RightOperand<'a>,
    terms: Terms,
    depth: Depth,
    /// Panels of A: the blocks of the depth one after another.
    a: Shared<u8>,
    /// Blocks `first..first + blocks` of the depth.
    first: usize,
    blocks: usize,
}

/// `c = [c +] alpha · a · b` on so many threads. The unit is [`available`].
pub(super) fn product(
    c: &mut MatMut,
    assign: Assign,
    alpha: f32,
    a: MatRef,
    b: RightOperand,
    threads: usize,
) {
    let (m, n, depth) = (c.rows, c.cols, Depth::in_blocks(a.cols, DEPTH));
    let panels = m.div_ceil(SIDE);
    let block_bytes = panels * left_bytes(depth.block);
    let at_once = (PACKED / block_bytes).clamp(1, depth.blocks());
    let mut left = LEFT.take();
    let packed = Shared(left.bytes(block_bytes * at_once).as_mut_ptr());
    for first in (0..depth.blocks()).step_by(at_once) {
        let blocks = at_once.min(depth.blocks() - first);
        for_each(panels * blocks, threads, |task| {
            let (block, panel) = (task / panels, task % panels);
            let (start, len) = depth.range(first + block);
            let row = panel * SIDE;
            let out = packed.at(block_bytes * block + panel * left_bytes(len));
            #[expect(unsafe_code, reason = "panels of one buffer are written by several threads")]
            // SAFETY: the buffer has room for the panels of `at_once` blocks, and each task has one of its own. The features:
            // the unit's machines have them, as `available` checked.
            unsafe {
                let out = std::slice::from_raw_parts_mut(out, left_bytes(len));
                pack_left(a, alpha, [row, SIDE.min(m - row)], [start, len], out);
            }
        });
        let assign = if first == 0 { assign } else { Assign::Add };
        let product = Product { c: &*c, assign, b, terms: terms_of(&b), depth, a: packed, first, blocks };
        let widest = (RIGHT_BYTES / right_bytes(product.terms, depth.block)).max(1) * SIDE;
        let (height, width) = shares(SIDE, SIDE, [m, n], widest, threads);
        let across = n.div_ceil(width);
        for_each(m.div_ceil(height) * across, threads, |task| {
            let (row, col) = (task / across * height, task % across * width);
            product.block([row, height.min(m - row)], [col, width.min(n - col)]);
        });
    }
    LEFT.set(left);
}

impl Product<'_> {
    /// Computes some rows and columns of C; the first row is a multiple of [`SIDE`].
    fn block(&self, [row, height]: [usize; 2], [col, width]: [usize; 2]) {
        let Some(tiles) = Tiles::of_this_thread() else { unreachable!("`available` was asked") };
        let (mut right, mut decoded) = (RIGHT.take(), DECODED.take());
        let panels = self.c.rows.div_ceil(SIDE);
        for block in 0..self.blocks {
            let (start, len) = self.depth.range(self.first + block);
            let steps = len.div_ceil(tile::STEPS);
            let (of_left, of_right) = (left_bytes(len), right_bytes(self.terms, len));
            let packed = right.bytes(width.div_ceil(SIDE) * of_right);
            #[expect(unsafe_code, reason = "code for features that the machine has")]
            // SAFETY: the unit's machines have the features, as `available` checked.
            unsafe {
                pack_right(&self.b, [start, len], [col, width], &mut decoded, packed);
            }
            let a = self.a.at(panels * left_bytes(self.depth.block) * block);
            let add = block > 0 || self.assign == Assign::Add;
            for above in (0..height).step_by(SIDE) {
                let a = a.wrapping_add((row + above) / SIDE * of_left).cast_const();
                for (left, b) in (0..width).step_by(SIDE).zip(packed.chunks_exact(of_right)) {
                    let size = [SIDE.min(height - above), SIDE.min(width - left)];
                    let at = (row + above) * self.c.stride + col + left;
                    #[expect(unsafe_code, reason = "tiles take pointers")]
                    // SAFETY: tasks have rows and columns of C of their own, which lie in C, and nobody uses C itself
                    // meanwhile. A: the panel of these rows, which `product` has packed for this block of the depth; B: the
                    // panel that was just packed, for the same steps.
                    unsafe {
                        let c = Sums { data: self.c.data.add(at), stride: self.c.stride, add };
                        multiply(&tiles, self.terms, steps, [a, b.as_ptr()], c, size);
                    }
                }
            }
        }
        RIGHT.set(right);
        DECODED.set(decoded);
    }
}

/// [`Tiles::multiply`] for a block of C that may have fewer rows and columns than [`SIDE`].
///
/// # Safety
/// As there, for the rows and columns that there are.
#[expect(unsafe_code, reason = "tiles take pointers")]
unsafe fn multiply(
    tiles: &Tiles,
    terms: Terms,
    steps: usize,
    ab: [*const u8; 2],
    c: Sums,
    [rows, cols]: [usize; 2],
) {
    if [rows, cols] == [SIDE, SIDE] {
        // SAFETY: the caller's promise.
        return unsafe { tiles.multiply(terms, steps, ab, c) };
    }
    let mut whole = [0.0; SIDE * SIDE];
    let block = Sums { data: whole.as_mut_ptr(), stride: SIDE, add: false };
    // SAFETY: the caller's promise for A and B; the array is a block of its own.
    unsafe { tiles.multiply(terms, steps, ab, block) };
    for (i, row) in whole.chunks_exact(SIDE).enumerate().take(rows) {
        for (j, value) in row.iter().enumerate().take(cols) {
            // SAFETY: the caller's promise: the element lies in C, and holds a value if it is added to. By pointer, because C
            // may not hold values yet.
            unsafe {
                let element = c.data.add(i * c.stride + j);
                element.write(if c.add { *element + value } else { *value });
            }
        }
    }
}
