//! Matrix products on the CPU: one interface over the `gemm` crate, cut into tasks by shape.
//!
//! The crate's own threading is slower than one call per block on each thread, and it makes the order of sums depend on
//! the number of threads. Blocks here depend on the shape alone, and none cuts the summed dimension.

use rayon::prelude::*;
use std::marker::PhantomData;

/// A read-only matrix with arbitrary strides.
#[derive(Clone, Copy)]
pub(crate) struct Mat<'a> {
    data: &'a [f32],
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    row_stride: usize,
    col_stride: usize,
}

impl<'a> Mat<'a> {
    /// Rows of `cols` adjacent elements, `stride` apart.
    pub(crate) fn new(data: &'a [f32], rows: usize, cols: usize, stride: usize) -> Mat<'a> {
        assert!(
            rows == 0 || cols == 0 || (rows - 1) * stride + cols <= data.len(),
            "the matrix fits its data"
        );
        Mat { data, rows, cols, row_stride: stride, col_stride: 1 }
    }

    /// Columns `start..start + cols`.
    pub(crate) fn columns(self, start: usize, cols: usize) -> Mat<'a> {
        assert!(start + cols <= self.cols, "the columns lie inside");
        Mat { data: self.data.get(start * self.col_stride..).unwrap_or_default(), cols, ..self }
    }

    /// Row `index` of a matrix of adjacent elements.
    pub(crate) fn row(self, index: usize) -> &'a [f32] {
        assert!(index < self.rows && self.col_stride == 1, "a row of a row-major matrix");
        &self.data[index * self.row_stride..][..self.cols]
    }

    /// The transpose, without moving anything.
    pub(crate) fn t(self) -> Mat<'a> {
        Mat {
            rows: self.cols,
            cols: self.rows,
            row_stride: self.col_stride,
            col_stride: self.row_stride,
            ..self
        }
    }
}

/// A matrix to write: rows of adjacent elements, `stride` apart.
///
/// Several may view disjoint blocks of one buffer, which a slice per row block could not express.
pub(crate) struct MatMut<'a> {
    data: *mut f32,
    rows: usize,
    cols: usize,
    stride: usize,
    lifetime: PhantomData<&'a mut [f32]>,
}

#[expect(unsafe_code, reason = "blocks of one buffer are written by several threads")]
// SAFETY: it is a mutable borrow of f32 values, which may move between threads.
unsafe impl Send for MatMut<'_> {}
#[expect(unsafe_code, reason = "blocks of one buffer are written by several threads")]
// SAFETY: a shared reference only hands out blocks, through the unsafe `block`.
unsafe impl Sync for MatMut<'_> {}

impl<'a> MatMut<'a> {
    pub(crate) fn new(data: &'a mut [f32], rows: usize, cols: usize, stride: usize) -> MatMut<'a> {
        assert!(
            rows == 0 || cols == 0 || (rows - 1) * stride + cols <= data.len(),
            "the matrix fits its data"
        );
        MatMut { data: data.as_mut_ptr(), rows, cols, stride, lifetime: PhantomData }
    }

    /// The block of `rows` × `cols` at (`row`, `col`).
    ///
    /// # Safety
    /// No two live blocks of one matrix may overlap, and the matrix itself is not used while one lives.
    #[expect(unsafe_code, reason = "blocks of one buffer are written by several threads")]
    pub(crate) unsafe fn block(&self, row: usize, col: usize, rows: usize, cols: usize) -> MatMut<'a> {
        assert!(row + rows <= self.rows && col + cols <= self.cols, "the block lies inside");
        // SAFETY: the assertion keeps the pointer inside the buffer that `new` checked.
        let data = unsafe { self.data.add(row * self.stride + col) };
        MatMut { data, rows, cols, stride: self.stride, lifetime: PhantomData }
    }

    /// Row `index`.
    pub(crate) fn row(&mut self, index: usize) -> &mut [f32] {
        assert!(index < self.rows, "the row lies inside");
        #[expect(unsafe_code, reason = "a row of a strided matrix")]
        // SAFETY: the row lies in the buffer, and `&mut self` makes the borrow unique.
        unsafe {
            std::slice::from_raw_parts_mut(self.data.add(index * self.stride), self.cols)
        }
    }
}

/// What happens to the old content of the destination.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Write {
    Replace,
    Add,
}

/// `c = [c +] alpha · a · b` on the current thread.
pub(crate) fn gemm_serial(c: &mut MatMut, write: Write, alpha: f32, a: Mat, b: Mat) {
    assert!(a.rows == c.rows && b.cols == c.cols && a.cols == b.rows, "the shapes fit");
    if c.rows == 0 || c.cols == 0 {
        return;
    }
    #[expect(unsafe_code, reason = "the crate takes pointers")]
    // SAFETY: the constructors checked that every element lies in its buffer; `c` is borrowed mutably, so that it
    // overlaps neither `a` nor `b`.
    unsafe {
        gemm::gemm(
            c.rows,
            c.cols,
            a.cols,
            c.data,
            1,
            c.stride as isize,
            write == Write::Add,
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

/// `c = [c +] alpha · a · b` on all threads of the current rayon pool.
pub(crate) fn gemm(c: &mut MatMut, write: Write, alpha: f32, a: Mat, b: Mat) {
    let (down, across) = grid(c.rows, c.cols, a.cols);
    if down * across == 1 {
        return gemm_serial(c, write, alpha, a, b);
    }
    let height = c.rows.div_ceil(down).next_multiple_of(ALIGN);
    let width = c.cols.div_ceil(across).next_multiple_of(ALIGN);
    let c = &*c;
    (0..down * across).into_par_iter().for_each(|task| {
        let (row, col) = (task / across * height, task % across * width);
        let rows = height.min(c.rows.saturating_sub(row));
        let cols = width.min(c.cols.saturating_sub(col));
        if rows == 0 || cols == 0 {
            return;
        }
        #[expect(unsafe_code, reason = "every task writes its own block")]
        // SAFETY: the blocks tile the matrix without overlap.
        let mut block = unsafe { c.block(row, col, rows, cols) };
        let a = Mat { data: &a.data[row * a.row_stride..], rows, ..a };
        let b = Mat { data: &b.data[col * b.col_stride..], cols, ..b };
        gemm_serial(&mut block, write, alpha, a, b);
    });
}

/// Multiple of the micro-kernels' tile sizes, so that blocks have no ragged inner edges.
const ALIGN: usize = 16;
/// Edge of a block: large enough that packing its operands costs little beside the product.
const EDGE: usize = 256;
/// Multiply-adds below which a second task does not pay.
const SMALL: usize = 1 << 20;

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

/// GFLOP/s of a large product on the current pool, the best of some runs: what benchmarks set the training's rate against.
pub fn rate() -> f64 {
    const N: usize = 2048;
    let (a, b) = (vec![0.5; N * N], vec![0.25; N * N]);
    let mut c = vec![0.0; N * N];
    let mut best = f64::INFINITY;
    for _ in 0..5 {
        let started = std::time::Instant::now();
        let (a, b) = (Mat::new(&a, N, N, N), Mat::new(&b, N, N, N));
        gemm(&mut MatMut::new(&mut c, N, N, N), Write::Replace, 1.0, a, b);
        best = best.min(started.elapsed().as_secs_f64());
    }
    2.0 * (N * N * N) as f64 / best / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(n: usize, seed: usize) -> Vec<f32> {
        (0..n).map(|i| ((i * 7919 + seed * 104_729) % 1013) as f32 / 506.0 - 1.0).collect()
    }

    #[test]
    fn products_of_every_orientation_agree_with_loops() {
        for (m, n, k) in [(1, 5, 3), (33, 70, 129), (300, 520, 40), (64, 576, 200)] {
            let (a, b) = (values(m * k, 1), values(k * n, 2));
            for (ta, tb) in [(false, false), (true, false), (false, true), (true, true)] {
                let at = |i: usize, l: usize| if ta { a[l * m + i] } else { a[i * k + l] };
                let bt = |l: usize, j: usize| if tb { b[j * k + l] } else { b[l * n + j] };
                let left = if ta { Mat::new(&a, k, m, m).t() } else { Mat::new(&a, m, k, k) };
                let right = if tb { Mat::new(&b, n, k, k).t() } else { Mat::new(&b, k, n, n) };
                let stride = n + 3;
                let mut c = values(m * stride, 3);
                let before = c.clone();
                gemm(&mut MatMut::new(&mut c, m, n, stride), Write::Add, 0.5, left, right);
                for i in 0..m {
                    for j in 0..n {
                        let exact: f64 = (0..k).map(|l| f64::from(at(i, l)) * f64::from(bt(l, j))).sum();
                        let want = f64::from(before[i * stride + j]) + 0.5 * exact;
                        let got = f64::from(c[i * stride + j]);
                        assert!((got - want).abs() < 1e-4, "{m}x{n}x{k} at {i},{j}: {got} not {want}");
                    }
                    let gap = n..if i + 1 < m { stride } else { n };
                    for j in gap {
                        assert_eq!(c[i * stride + j], before[i * stride + j], "the gap stays");
                    }
                }
            }
        }
    }
}
