//! The operands of a product: matrices in memory, and frozen weights that are decoded while they are packed.

use super::matrix::MatRef;
use crate::float_type::FloatType;
use std::ops::Range;

/// A row-major matrix in a form of its own.
pub trait Decode: Sync {
    /// Elements `range`, counted row by row, as f32.
    fn decode(&self, range: Range<usize>, out: &mut [f32]);

    /// How exact products with it are to be.
    fn precision(&self) -> Precision {
        Precision::F32
    }
}

/// How exact a product of two numbers is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// As in f32.
    F32,
    /// To 16 bits at the least: half the work where a machine can make use of it.
    Bits16,
}

/// How the elements of a stored matrix lie.
#[derive(Clone, Copy)]
pub enum Stored<'a> {
    F32(&'a [f32]),
    /// Two little-endian bytes per element.
    Bf16(&'a [u8]),
    F16(&'a [u8]),
    Coded(&'a dyn Decode),
}

impl Stored<'_> {
    /// Elements `range`, counted row by row, as f32.
    #[inline(always)]
    pub(crate) fn read(self, range: Range<usize>, out: &mut [f32]) {
        match self {
            Stored::F32(values) => out.copy_from_slice(&values[range]),
            Stored::Bf16(bytes) => FloatType::Bf16.widen(&bytes[2 * range.start..2 * range.end], out),
            Stored::F16(bytes) => FloatType::F16.widen(&bytes[2 * range.start..2 * range.end], out),
            Stored::Coded(matrix) => matrix.decode(range, out),
        }
    }
}

/// The right operand, or its transpose: element (k, j) is `stored[k · row_stride + j · col_stride]`, where one stride is 1.
#[derive(Clone, Copy)]
pub(crate) struct RightOperand<'a> {
    pub(super) stored: Stored<'a>,
    pub(super) rows: usize,
    pub(super) cols: usize,
    pub(super) row_stride: usize,
    pub(super) col_stride: usize,
}

impl<'a> RightOperand<'a> {
    /// A row-major matrix of adjacent rows.
    pub(crate) fn new(stored: Stored<'a>, rows: usize, cols: usize) -> RightOperand<'a> {
        let held = match stored {
            Stored::F32(values) => values.len(),
            Stored::Bf16(bytes) | Stored::F16(bytes) => bytes.len() / 2,
            Stored::Coded(_) => rows * cols,
        };
        assert!(rows * cols <= held, "the matrix fits its data");
        RightOperand { stored, rows, cols, row_stride: cols, col_stride: 1 }
    }

    /// The transpose, without moving anything.
    pub(crate) fn t(self) -> RightOperand<'a> {
        RightOperand {
            rows: self.cols,
            cols: self.rows,
            row_stride: self.col_stride,
            col_stride: self.row_stride,
            ..self
        }
    }

    /// Adjacent elements from `start` on.
    #[inline(always)]
    pub(crate) fn run(&self, start: usize, out: &mut [f32]) {
        self.stored.read(start..start + out.len(), out);
    }
}

impl<'a> From<MatRef<'a>> for RightOperand<'a> {
    fn from(m: MatRef<'a>) -> RightOperand<'a> {
        let MatRef { data, rows, cols, row_stride, col_stride } = m;
        RightOperand { stored: Stored::F32(data), rows, cols, row_stride, col_stride }
    }
}
