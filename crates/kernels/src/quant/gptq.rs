//! GPTQ (Frantar et al. 2022), in the order of operations that Olive's pass of that name has.
//!
//! A rounding error in one column is made up for by the columns behind it, by way of the upper Cholesky factor U of the
//! inverse moments. Scale and zero point of a group come from weights that carry the corrections of finished blocks of columns
//! only. [`feedback`](super::feedback) finds scales by the weighted error instead, and writes ONNX Runtime's blocks.

use super::cholesky;
use super::grid::{Grid, Scheme};
use crate::gemm::{Assign, MatMut, MatRef, gemm_serial};
use rayon::prelude::*;

/// Columns that are finished before those behind them are corrected.
const BLOCK: usize = 128;
/// Rows of a weight that a thread works on at a time.
const ROWS: usize = 64;

/// What the moments say about the order of columns, and how errors are made up for.
pub struct Corrections {
    /// U, `[width, width]`, zeros below the diagonal.
    upper: Vec<f32>,
    /// Columns in the order in which they are rounded; `None`: as they stand.
    order: Option<Vec<usize>>,
    /// Columns whose inputs are always zero, whose weights therefore mean nothing.
    dead: Vec<bool>,
    /// Share of the mean that was added to the diagonal.
    pub damping: f32,
}

/// Codes of a weight, and what they stand for.
#[derive(Debug, Default)]
pub struct Chosen {
    /// One per weight, `[rows, width]`.
    pub codes: Vec<u8>,
    /// `[rows, groups]`.
    pub grids: Vec<Grid>,
}

/// In which order columns are rounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    AsTheyStand,
    /// Those with the largest inputs first (`desc_act`).
    ByActivation,
}

impl Corrections {
    /// `sums`: the moments of the inputs, `[width, width]`. `damping` times the mean of the diagonal is added to it, ten times
    /// as much as often as it takes to make the matrix positive. `None`: the moments are not numbers.
    pub fn new(mut sums: Vec<f32>, damping: f32, order: Order) -> Option<Corrections> {
        let k = sums.len().isqrt();
        assert_eq!(k * k, sums.len(), "moments are a square");
        if sums.iter().any(|sum| !sum.is_finite()) {
            return None;
        }
        let dead: Vec<bool> = (0..k).map(|i| sums[i * k + i] == 0.0).collect();
        for i in (0..k).filter(|i| dead[*i]) {
            sums[i * k + i] = 1.0;
        }
        let order = match order {
            Order::AsTheyStand => None,
            Order::ByActivation => {
                let mut order: Vec<usize> = (0..k).collect();
                order.sort_by(|a, b| sums[b * k + b].total_cmp(&sums[a * k + a]));
                sums = permuted(&sums, &order);
                Some(order)
            }
        };
        let mean = (0..k).map(|i| f64::from(sums[i * k + i])).sum::<f64>() / k.max(1) as f64;
        let mut damping = damping;
        loop {
            // With H = R Rᵀ, R upper, the inverse is (R⁻¹)ᵀ R⁻¹, so U is R⁻¹. R is the lower factor of H turned by 180
            // degrees, turned back.
            let mut turned: Vec<f32> = sums.iter().rev().copied().collect();
            for i in 0..k {
                turned[i * k + i] += damping * mean as f32;
            }
            if cholesky::factor(&mut turned, k) {
                let mut upper = cholesky::inverse_of_lower(&turned, k);
                upper.reverse();
                return Some(Corrections { upper, order, dead, damping });
            }
            damping = (damping * 10.0).max(1e-4);
            if damping > 1e6 {
                return None;
            }
        }
    }

    /// Chooses codes for rows of a weight, `[rows, width]`, and puts what they stand for in place of the weights.
    pub fn quantise(&self, weights: &mut [f32], scheme: Scheme) -> Chosen {
        let k = self.dead.len();
        let parts: Vec<Chosen> =
            weights.par_chunks_mut(ROWS * k).map(|rows| self.quantise_rows(rows, scheme)).collect();
        let mut all = Chosen::default();
        for part in parts {
            all.codes.extend(part.codes);
            all.grids.extend(part.grids);
        }
        all
    }

    fn quantise_rows(&self, rows: &mut [f32], scheme: Scheme) -> Chosen {
        let k = self.dead.len();
        let count = rows.len() / k;
        let mut weights = self.in_order(rows); // carries the corrections of finished blocks
        let group = scheme.group_of(k);
        let per_row = k.div_ceil(group);
        let mut grids = vec![Grid { scale: 1.0, zero: 0.0, top: 0.0 }; count * per_row];
        if scheme.group.is_none() {
            for (grid, row) in grids.iter_mut().zip(weights.chunks_exact(k)) {
                *grid = scheme.grid(row);
            }
        }
        let mut codes = vec![0u8; count * k];
        let mut errors = vec![0.0; count * BLOCK.min(k)]; // [rows, block]
        let mut running = vec![0.0; BLOCK];
        for start in (0..k).step_by(BLOCK) {
            let width = BLOCK.min(k - start);
            for r in 0..count {
                let row = &weights[r * k..(r + 1) * k];
                let grids = &mut grids[r * per_row..(r + 1) * per_row];
                let running = &mut running[..width];
                running.copy_from_slice(&row[start..start + width]);
                for i in 0..width {
                    let column = start + i;
                    if scheme.group.is_some() && column.is_multiple_of(group) {
                        grids[column / group] = scheme.grid(&row[column..(column + group).min(k)]);
                    }
                    let grid = grids[column / group];
                    let code = grid.code(running[i]);
                    let factor = &self.upper[column * k + column..column * k + start + width];
                    let error = (running[i] - grid.value(code)) / factor[0];
                    running[i..].iter_mut().zip(factor).for_each(|(w, u)| *w -= error * u);
                    codes[r * k + column] = code as u8;
                    errors[r * width + i] = error;
                }
            }
            let behind = start + width;
            if behind < k {
                let errors = MatRef::new(&errors[..count * width], count, width, width);
                let factor = MatRef::new(&self.upper[start * k + behind..], width, k - behind, k);
                let mut rest = MatMut::new(&mut weights[behind..], count, k - behind, k);
                gemm_serial(&mut rest, Assign::Add, -1.0, errors, factor);
            }
        }
        self.undo_order(&mut codes);
        for (r, row) in rows.chunks_exact_mut(k).enumerate() {
            for (column, value) in row.iter_mut().enumerate() {
                let code = f32::from(codes[r * k + column]);
                *value = grids[r * per_row + column / group].value(code);
            }
        }
        Chosen { codes, grids }
    }

    /// The columns in the order in which they are rounded, those without inputs as zeros.
    fn in_order(&self, rows: &[f32]) -> Vec<f32> {
        let k = self.dead.len();
        let mut out = Vec::with_capacity(rows.len());
        for row in rows.chunks_exact(k) {
            let value = |column: usize| if self.dead[column] { 0.0 } else { row[column] };
            match &self.order {
                None => out.extend((0..k).map(value)),
                Some(order) => out.extend(order.iter().map(|column| value(*column))),
            }
        }
        out
    }

    fn undo_order(&self, codes: &mut [u8]) {
        let Some(order) = &self.order else { return };
        let mut sorted = vec![0; order.len()];
        for row in codes.chunks_exact_mut(order.len()) {
            sorted.copy_from_slice(row);
            order.iter().zip(&sorted).for_each(|(column, code)| row[*column] = *code);
        }
    }
}

/// Rows and columns of a square matrix in another order.
fn permuted(matrix: &[f32], order: &[usize]) -> Vec<f32> {
    let k = order.len();
    order.iter().flat_map(|row| order.iter().map(move |column| matrix[row * k + column])).collect()
}
