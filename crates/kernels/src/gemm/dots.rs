//! Products with few columns, as of an adapter of small rank: dot products of rows of A and columns of B.
//!
//! A is read once, where it lies and eight steps at a time. The tiles of [`super::blocked`] would read it value by value
//! for vectors that are half empty.

use super::matrix::{Assign, MatMut, MatRef};
use super::operand::{RightOperand, Stored};
use super::pack::transpose;
use super::tasks::for_each;
use std::arch::x86_64::*;

/// Columns up to which it pays.
const COLS: usize = 8;
/// Columns and rows of a tile: with eight steps in every register of sums, three rows by four columns fill twelve.
const GROUP: usize = 4;
const ROWS: usize = 3;
/// Steps of the depth at a time, so that all columns of B and three rows of A stay in an L1 cache.
const DEPTH: usize = 768;
/// Steps below which adding up eight sums costs more than it saves.
const SHALLOW: usize = 64;

/// Whether the operands are for this way.
pub(super) fn fits(a: MatRef, b: &RightOperand) -> bool {
    b.cols <= COLS && a.col_stride == 1 && a.cols >= SHALLOW && matches!(b.stored, Stored::F32(_))
}

/// `c = [c +] alpha · a · b` on so many threads.
#[expect(
    unsafe_code,
    reason = "rows of one matrix are written by several threads, and may not hold values yet"
)]
pub(super) fn product(
    c: &mut MatMut,
    assign: Assign,
    alpha: f32,
    a: MatRef,
    b: &RightOperand,
    threads: usize,
) {
    let (depth, columns) = (a.cols, columns(b));
    let height = match threads {
        1 => c.rows,
        _ => c.rows.div_ceil(4 * threads).next_multiple_of(ROWS),
    };
    let c = &*c;
    for_each(c.rows.div_ceil(height), threads, |task| {
        let below = ((task + 1) * height).min(c.rows);
        for row in (task * height..below).step_by(ROWS) {
            for start in (0..depth).step_by(DEPTH) {
                let steps = start..(start + DEPTH).min(depth);
                // Rows that are not there repeat the last one.
                let left: [&[f32]; ROWS] =
                    std::array::from_fn(|i| &a.row((row + i).min(below - 1))[steps.clone()]);
                let add = assign == Assign::Add || start > 0;
                for (first, group) in (0..c.cols).step_by(GROUP).zip(columns.chunks_exact(GROUP * depth)) {
                    let right: [&[f32]; GROUP] = std::array::from_fn(|j| &group[j * depth..][steps.clone()]);
                    // SAFETY: `blocked::product` calls this with a kernel, and one is given out only where the machine has
                    // AVX2 and FMA; `dots` itself reads slices.
                    let sums = unsafe { dots(left, right) };
                    for (i, sums) in sums.iter().enumerate().take(below - row) {
                        for (j, sum) in sums.iter().enumerate().take(c.cols - first) {
                            // SAFETY: the row is less than `below` and the column than `c.cols`, so the element lies in C; a
                            // task has rows of its own, so that nobody else reads or writes it. By pointer, because C may
                            // not hold values yet: it is read only when it is added to.
                            unsafe {
                                let c = c.data.add((row + i) * c.stride + first + j);
                                c.write(if add { *c + alpha * sum } else { alpha * sum });
                            }
                        }
                    }
                }
            }
        }
    });
}

/// The columns of B one after another, filled up to whole groups with zeros.
fn columns(b: &RightOperand) -> Vec<f32> {
    let Stored::F32(values) = b.stored else { unreachable!("`fits` was asked") };
    let mut columns = vec![0.0; b.cols.next_multiple_of(GROUP) * b.rows];
    if b.row_stride == 1 {
        for (j, column) in columns.chunks_exact_mut(b.rows).enumerate().take(b.cols) {
            column.copy_from_slice(&values[j * b.col_stride..][..b.rows]);
        }
        return columns;
    }
    // A register's worth of steps at a time, where a step fills one.
    let whole = if b.cols == COLS { b.rows - b.rows % COLS } else { 0 };
    #[expect(unsafe_code, reason = "code for features that the machine may lack")]
    // SAFETY: `product` runs with a kernel, and one is given out only where the machine has AVX2; `turn` itself indexes
    // slices.
    unsafe {
        turn(values, b.row_stride, whole, b.rows, &mut columns);
    }
    for k in whole..b.rows {
        for j in 0..b.cols {
            columns[j * b.rows + k] = values[k * b.row_stride + j];
        }
    }
    columns
}

/// `rows` rows of eight values, `stride` apart and a multiple of eight, become eight columns, `apart` apart.
#[target_feature(enable = "avx2")]
fn turn(values: &[f32], stride: usize, rows: usize, apart: usize, columns: &mut [f32]) {
    for first in (0..rows).step_by(8) {
        let mut tile = [_mm256_setzero_ps(); 8];
        for (i, row) in tile.iter_mut().enumerate() {
            *row = load(&values[(first + i) * stride..][..8]);
        }
        for (j, column) in transpose(tile).into_iter().enumerate() {
            store(column, &mut columns[j * apart + first..][..8]);
        }
    }
}

/// Every row times every column, all of one length.
#[target_feature(enable = "avx2,fma")]
fn dots(left: [&[f32]; ROWS], right: [&[f32]; GROUP]) -> [[f32; GROUP]; ROWS] {
    let steps = left[0].len();
    let whole = steps - steps % 8;
    let mut sums = [[_mm256_setzero_ps(); GROUP]; ROWS];
    for k in (0..whole).step_by(8) {
        let mut rows = [_mm256_setzero_ps(); ROWS];
        for (row, left) in rows.iter_mut().zip(left) {
            *row = load(&left[k..k + 8]);
        }
        for (j, right) in right.iter().enumerate() {
            let column = load(&right[k..k + 8]);
            for (sums, row) in sums.iter_mut().zip(rows) {
                sums[j] = _mm256_fmadd_ps(row, column, sums[j]);
            }
        }
    }
    let mut totals = [[0.0; GROUP]; ROWS];
    for ((totals, sums), left) in totals.iter_mut().zip(sums).zip(left) {
        let pairs = [_mm256_hadd_ps(sums[0], sums[1]), _mm256_hadd_ps(sums[2], sums[3])];
        let halves = _mm256_hadd_ps(pairs[0], pairs[1]);
        let sum = _mm_add_ps(_mm256_castps256_ps128(halves), _mm256_extractf128_ps::<1>(halves));
        *totals = [
            _mm_cvtss_f32(sum),
            _mm_cvtss_f32(_mm_shuffle_ps::<1>(sum, sum)),
            _mm_cvtss_f32(_mm_shuffle_ps::<2>(sum, sum)),
            _mm_cvtss_f32(_mm_shuffle_ps::<3>(sum, sum)),
        ];
        for (total, right) in totals.iter_mut().zip(right) {
            *total += left[whole..].iter().zip(&right[whole..]).map(|(a, b)| a * b).sum::<f32>();
        }
    }
    totals
}

#[expect(unsafe_code, reason = "a SIMD load")]
#[target_feature(enable = "avx2")]
#[inline]
fn load(values: &[f32]) -> __m256 {
    assert!(values.len() == 8, "a register of values");
    // SAFETY: the slice has the eight floats that are read, as just checked; the load needs no alignment.
    unsafe { _mm256_loadu_ps(values.as_ptr()) }
}

#[expect(unsafe_code, reason = "a SIMD store")]
#[target_feature(enable = "avx2")]
#[inline]
fn store(register: __m256, values: &mut [f32]) {
    assert!(values.len() == 8, "a register of values");
    // SAFETY: the slice has the eight floats that are written, as just checked; the store needs no alignment.
    unsafe { _mm256_storeu_ps(values.as_mut_ptr(), register) }
}
