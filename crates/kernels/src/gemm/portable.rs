//! The product by the `gemm` crate, for machines that our kernels do not run on.
//!
//! The crate's own threading makes the order of sums depend on the number of threads. Blocks here depend on the shape
//! alone, and the summed dimension is cut where the weight's panels are cut only.

use super::matrix::{Assign, MatMut, MatRef};
use super::operand::{RightOperand, Stored};
use super::threads::Threads;
use rayon::prelude::*;

/// Elements of a stored operand decoded at a time: 4 MB, so that a panel stays in the cache until it is used.
const PANEL: usize = 1 << 20;
/// Edge of a block: large enough that packing its operands costs little beside the product.
const EDGE: usize = 256;
/// Multiply-adds below which a second task does not pay.
const SMALL: usize = 1 << 20;

/// `c = [c +] alpha · a · b`.
pub(super) fn product(
    c: &mut MatMut,
    assign: Assign,
    alpha: f32,
    a: MatRef,
    b: RightOperand,
    threads: Threads,
) {
    if let Stored::F32(data) = b.stored {
        let RightOperand { rows, cols, row_stride, col_stride, .. } = b;
        return plain(c, assign, alpha, a, MatRef { data, rows, cols, row_stride, col_stride }, threads);
    }
    // Panels are rows as stored: steps of the depth, or columns of C.
    let by_steps = b.col_stride == 1;
    let (outer, inner) = if by_steps { (b.rows, b.cols) } else { (b.cols, b.rows) };
    let height = (PANEL / inner.max(1)).max(1).next_multiple_of(16);
    let mut scratch = vec![0.0; height.min(outer) * inner];
    for start in (0..outer).step_by(height) {
        let count = height.min(outer - start);
        let panel = &mut scratch[..count * inner];
        let stride = b.row_stride.max(b.col_stride);
        let decode = |(i, row): (usize, &mut [f32])| b.run((start + i) * stride, row);
        match threads {
            Threads::Pool => panel.par_chunks_mut(inner.max(1)).enumerate().for_each(decode),
            Threads::Current => panel.chunks_mut(inner.max(1)).enumerate().for_each(decode),
        }
        let panel = MatRef::new(panel, count, inner, inner);
        if by_steps {
            let assign = if start == 0 { assign } else { Assign::Add };
            plain(c, assign, alpha, a.columns(start, count), panel, threads);
        } else {
            #[expect(unsafe_code, reason = "a panel gives a block of columns")]
            // SAFETY: `block` checks the bounds; this one is dropped before the loop takes the next, and `c`, which is
            // borrowed mutably, is not used while it lives.
            let mut block = unsafe { c.block(0, start, c.rows, count) };
            plain(&mut block, assign, alpha, a, panel.t(), threads);
        }
    }
}

fn plain(c: &mut MatMut, assign: Assign, alpha: f32, a: MatRef, b: MatRef, threads: Threads) {
    let (down, across) = match threads {
        Threads::Pool => grid(c.rows, c.cols, a.cols),
        Threads::Current => (1, 1),
    };
    if down * across == 1 {
        return serial(c, assign, alpha, a, b);
    }
    let height = c.rows.div_ceil(down).next_multiple_of(16);
    let width = c.cols.div_ceil(across).next_multiple_of(16);
    let c = &*c;
    (0..down * across).into_par_iter().for_each(|task| {
        let (row, col) = (task / across * height, task % across * width);
        let rows = height.min(c.rows.saturating_sub(row));
        let cols = width.min(c.cols.saturating_sub(col));
        if rows == 0 || cols == 0 {
            return;
        }
        #[expect(unsafe_code, reason = "every task writes its own block")]
        // SAFETY: `block` checks the bounds; task t has rows from `t / across · height` and columns from
        // `t % across · width` on, so that no two tasks have an element in common, and nobody uses `c` itself.
        let mut block = unsafe { c.block(row, col, rows, cols) };
        let a = MatRef { data: &a.data[row * a.row_stride..], rows, ..a };
        let b = MatRef { data: &b.data[col * b.col_stride..], cols, ..b };
        serial(&mut block, assign, alpha, a, b);
    });
}

/// Blocks down and across.
fn grid(rows: usize, cols: usize, depth: usize) -> (usize, usize) {
    if rows * cols * depth < SMALL {
        return (1, 1);
    }
    let down = ((rows + EDGE / 2) / EDGE).max(1);
    let across = ((cols + EDGE / 2) / EDGE).max(1);
    match (down, across) {
        (1, 1) if rows >= cols => (2, 1),
        (1, 1) => (1, 2),
        other => other,
    }
}

fn serial(c: &mut MatMut, assign: Assign, alpha: f32, a: MatRef, b: MatRef) {
    #[expect(unsafe_code, reason = "the crate takes pointers")]
    // SAFETY: the constructors of `MatRef` and `MatMut` checked that element (i, j) at `i · row_stride + j · col_stride` lies
    // in the buffer for every row and column, and `product` that the shapes fit; `c` is borrowed mutably, so that it
    // overlaps neither `a` nor `b`.
    unsafe {
        gemm::gemm(
            c.rows,
            c.cols,
            a.cols,
            c.data,
            1,
            c.stride as isize,
            assign == Assign::Add,
            a.data.as_ptr(),
            a.col_stride as isize,
            a.row_stride as isize,
            b.data.as_ptr(),
            b.col_stride as isize,
            b.row_stride as isize,
            1.0,
            alpha,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}
