//! One block of the depth of a product, tile by tile.

use super::ahead::Ahead;
use super::band::Banded;
use super::kernel::{Kernel, Tile};
use super::matrix::{Assign, MatMut, MatRef};
use std::ops::Range;

/// Rows of A worked on at a time, so that they stay in an L2 cache.
pub(super) const ROWS: usize = 144;

/// Rows of A in a block of the depth.
pub(super) struct LeftRows {
    pub(super) data: *const f32,
    /// The steps that lie there, counted in A.
    pub(super) steps: Range<usize>,
    /// Floats per row before the first row of a tile.
    pub(super) apart: usize,
    /// Within a tile: floats between rows and between steps.
    pub(super) strides: [usize; 2],
    /// Whether the last tile is filled up.
    pub(super) whole: bool,
}

impl LeftRows {
    /// A as it lies, from `row` on.
    pub(super) fn direct(a: MatRef, row: usize, steps: Range<usize>) -> LeftRows {
        let data = a.data.as_ptr().wrapping_add(row * a.row_stride + steps.start * a.col_stride);
        LeftRows { data, steps, apart: a.row_stride, strides: [a.row_stride, a.col_stride], whole: false }
    }
}

/// Panels of B in a block of the depth.
pub(super) struct RightPanels {
    pub(super) data: *const f32,
    /// Floats between panels.
    pub(super) apart: usize,
    /// What is packed after them.
    pub(super) ahead: Ahead,
}

/// `c = [c +] alpha · a · b` for one block of the depth.
///
/// # Safety
/// A holds the rows of C and B its columns in whole panels, each for A's steps; nobody else uses C. `kernel` is one that
/// this machine runs.
#[expect(unsafe_code, reason = "micro-kernels take pointers")]
pub(super) unsafe fn tiles(
    kernel: &Kernel,
    c: &MatMut,
    assign: Assign,
    alpha: f32,
    a: LeftRows,
    mut b: RightPanels,
    banded: Banded,
) {
    let Kernel { mr, nr, adjacent, strided } = *kernel;
    let steps = a.steps;
    let add = assign == Assign::Add;
    for above in (0..c.rows).step_by(ROWS) {
        let below = (above + ROWS).min(c.rows);
        for (panel, left) in (0..c.cols).step_by(nr).enumerate() {
            for row in (above..below).step_by(mr) {
                let (rows, cols) = (mr.min(c.rows - row), nr.min(c.cols - left));
                let mut part = steps.clone();
                match banded {
                    Banded::No => {}
                    Banded::Left(band) => {
                        let seen = band.columns(row..row + rows, steps.end);
                        part = seen.start.max(steps.start)..seen.end.max(steps.start);
                        if part.is_empty() && add {
                            continue;
                        }
                    }
                    Banded::Product(band) => {
                        let seen = band.columns(row..row + rows, c.cols);
                        if seen.end <= left || left + cols <= seen.start {
                            continue;
                        }
                    }
                }
                b.ahead.step();
                let run = if a.strides[0] == 1 && (a.whole || rows == mr) { adjacent } else { strided };
                let skipped = part.start - steps.start;
                // SAFETY: the caller's promise. The tile has rows below `c.rows` and columns below `c.cols`. A's first element
                // for it is in row `row` and step `part.start`, and B's in its panel at the same step: both have the steps
                // of `part`, which lies within `steps`. `adjacent` is chosen only where a step of A is `mr` adjacent values.
                unsafe {
                    let data = c.data.add(row * c.stride + left);
                    let tile = Tile { c: data, stride: c.stride, rows, cols, alpha, add };
                    let a_data = a.data.add(row * a.apart + skipped * a.strides[1]);
                    let b_data = b.data.add(panel * b.apart + skipped * nr);
                    run(part.len(), a_data, a.strides, b_data, tile);
                }
            }
        }
    }
}
