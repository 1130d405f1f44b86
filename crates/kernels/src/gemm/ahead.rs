//! Asks memory for the part of a stored weight that is packed next, while the products of this part run.

use super::operand::{RightOperand, Stored};
use std::arch::x86_64::*;
use std::ops::Range;

const LINE: usize = 64;

/// Cache lines to ask for, some with every tile.
pub(super) struct Ahead {
    /// Runs of adjacent bytes: the first, bytes of each, bytes from one to the next, and how many are left.
    run: *const u8,
    len: usize,
    apart: usize,
    runs: usize,
    /// Bytes of the run that were asked for.
    done: usize,
    /// Lines per tile.
    share: usize,
}

impl Ahead {
    pub(super) const NOTHING: Ahead =
        Ahead { run: std::ptr::null(), len: 0, apart: 0, runs: 0, done: 0, share: 0 };

    /// The elements of `b` in these steps and columns, as far as there are so many, over `tiles` tiles.
    pub(super) fn new(b: &RightOperand, steps: Range<usize>, columns: Range<usize>, tiles: usize) -> Ahead {
        let (start, size) = match b.stored {
            Stored::F32(values) => (values.as_ptr().cast(), 4),
            Stored::Bf16(bytes) | Stored::F16(bytes) => (bytes.as_ptr(), 2),
            Stored::Coded(_) => return Ahead::NOTHING,
        };
        let (steps, columns) = (steps.start..steps.end.min(b.rows), columns.start..columns.end.min(b.cols));
        if steps.is_empty() || columns.is_empty() {
            return Ahead::NOTHING;
        }
        let first = size * (steps.start * b.row_stride + columns.start * b.col_stride);
        let (len, apart, runs) = match b.col_stride {
            1 => (columns.len(), b.row_stride, steps.len()),
            _ => (steps.len(), b.col_stride, columns.len()),
        };
        let (len, apart) = (size * len, size * apart);
        let share = (len.div_ceil(LINE) * runs).div_ceil(tiles.max(1));
        Ahead { run: start.wrapping_add(first), len, apart, runs, done: 0, share }
    }

    /// The share of one more tile.
    #[inline(always)]
    pub(super) fn step(&mut self) {
        for _ in 0..self.share {
            if self.runs == 0 {
                return;
            }
            #[expect(unsafe_code, reason = "an instruction without effect on values, whatever the address")]
            // SAFETY: a prefetch reads no value and never faults, whatever the address; the pointers are made by wrapping
            // arithmetic, which may leave the buffer.
            unsafe {
                // Into L2: L1 is full of the panels at hand.
                _mm_prefetch::<_MM_HINT_T1>(self.run.wrapping_add(self.done).cast());
            }
            self.done += LINE;
            if self.done >= self.len {
                (self.run, self.runs, self.done) = (self.run.wrapping_add(self.apart), self.runs - 1, 0);
            }
        }
    }
}
