//! Matrices in memory: views to read with any strides, and blocks to write.

use std::marker::PhantomData;

/// A read-only matrix `[rows, cols]`: element (i, j) is `data[i · row_stride + j · col_stride]`.
#[derive(Clone, Copy)]
pub(crate) struct MatRef<'a> {
    pub(super) data: &'a [f32],
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    pub(super) row_stride: usize,
    pub(super) col_stride: usize,
}

impl<'a> MatRef<'a> {
    /// Rows of `cols` adjacent elements, `stride` apart.
    pub(crate) fn new(data: &'a [f32], rows: usize, cols: usize, stride: usize) -> MatRef<'a> {
        assert!(
            rows == 0 || cols == 0 || (rows - 1) * stride + cols <= data.len(),
            "the matrix fits its data"
        );
        MatRef { data, rows, cols, row_stride: stride, col_stride: 1 }
    }

    /// Columns `start..start + cols`.
    pub(crate) fn columns(self, start: usize, cols: usize) -> MatRef<'a> {
        assert!(start + cols <= self.cols, "the columns lie inside");
        MatRef { data: self.data.get(start * self.col_stride..).unwrap_or_default(), cols, ..self }
    }

    /// Row `index` of a matrix of adjacent elements.
    pub(crate) fn row(self, index: usize) -> &'a [f32] {
        assert!(index < self.rows && self.col_stride == 1, "a row of a row-major matrix");
        &self.data[index * self.row_stride..][..self.cols]
    }

    /// The transpose, without moving anything.
    pub(crate) fn t(self) -> MatRef<'a> {
        MatRef {
            rows: self.cols,
            cols: self.rows,
            row_stride: self.col_stride,
            col_stride: self.row_stride,
            ..self
        }
    }
}

/// A matrix `[rows, cols]` to write: rows of adjacent elements, `stride` apart.
///
/// Several may view disjoint blocks of one buffer, which a slice per row block could not express.
pub(crate) struct MatMut<'a> {
    pub(super) data: *mut f32,
    pub(super) rows: usize,
    pub(super) cols: usize,
    pub(super) stride: usize,
    pub(super) lifetime: PhantomData<&'a mut [f32]>,
}

#[expect(unsafe_code, reason = "blocks of one buffer are written by several threads")]
// SAFETY: it stands for a mutable borrow of f32 values, whose lifetime it carries, and such a borrow is Send.
unsafe impl Send for MatMut<'_> {}
#[expect(unsafe_code, reason = "blocks of one buffer are written by several threads")]
// SAFETY: through a shared reference elements are reached by `block` alone, which is unsafe: its callers promise that no
// element is reached from two threads. `row` needs a mutable reference.
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
        // SAFETY: `new` checked that `rows` rows of `cols` floats, `stride` apart, lie in the buffer, and the assertion that
        // the block's first element is one of them, or at most one row or column behind, where the block is empty.
        let data = unsafe { self.data.add(row * self.stride + col) };
        MatMut { data, rows, cols, stride: self.stride, lifetime: PhantomData }
    }

    /// Row `index`.
    pub(crate) fn row(&mut self, index: usize) -> &mut [f32] {
        assert!(index < self.rows, "the row lies inside");
        #[expect(unsafe_code, reason = "a row of a strided matrix")]
        // SAFETY: rows below `rows` of `cols` floats lie in the buffer, as `new` or `block` checked; `&mut self` lets nobody
        // else reach this matrix, and who made it as a block promised that no other block overlaps it.
        unsafe {
            std::slice::from_raw_parts_mut(self.data.add(index * self.stride), self.cols)
        }
    }
}

/// What happens to the old content of the destination.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Assign {
    Replace,
    Add,
}
