//! The values of tensors, some rows at a time.

use super::matrices::{Change, Matrix, Source};
use crate::error::ExportError;
use half::f16;
use olive_core::Result;
use olive_kernels::quant::ggml::WrittenType;
use olive_model::WeightSource;
use rayon::prelude::*;
use std::ops::Range;

/// Values in memory at a time.
const VALUES: usize = 1 << 22;

/// Rows that are read, changed and stored together. Rows of a head stay together where they change their order.
pub(super) fn rows_at_a_time(matrix: &Matrix) -> usize {
    let rows = (VALUES / matrix.columns.max(1)).max(1);
    match matrix.values {
        Source::Checkpoint { change: Change::Interleave { heads }, .. } => {
            let head = head_size(matrix, heads);
            (rows / head).max(1) * head
        }
        _ => rows,
    }
}

/// Rows of a head; a bias has them as values of its one row.
fn head_size(matrix: &Matrix, heads: usize) -> usize {
    let all = if matrix.rows == 0 { matrix.columns } else { matrix.rows };
    (all / heads).max(1)
}

/// The rows as the file has them.
///
/// # Errors
/// The tensor cannot be read; a value that the type cannot hold.
pub(super) fn encoded(matrix: &Matrix, rows: Range<usize>, weights: &dyn WeightSource) -> Result<Vec<u8>> {
    let values = match &matrix.values {
        Source::Values(values) => values[rows.start * matrix.columns..rows.end * matrix.columns].to_vec(),
        Source::Checkpoint { name, change } => {
            // A vector is read by its elements.
            let range = if matrix.rows == 0 { 0..matrix.columns } else { rows.clone() };
            let mut values = vec![0.0; rows.len() * matrix.columns];
            weights.read_rows(name, range, &mut values)?;
            if rows.end == matrix.row_count() {
                weights.release(name);
            }
            changed(values, *change, matrix)
        }
    };
    if matrix.kind == WrittenType::F16 && values.iter().any(|value| f16::from_f32(*value).is_infinite()) {
        return Err(ExportError::TooLarge { name: matrix.name.clone() }.into());
    }
    let kind = matrix.kind.ggml_type();
    let row = matrix.columns / kind.block_values() * kind.block_bytes();
    let mut bytes = vec![0; rows.len() * row];
    bytes
        .par_chunks_mut(row.max(1))
        .zip(values.par_chunks(matrix.columns.max(1)))
        .for_each(|(bytes, values)| matrix.kind.encode(values, bytes));
    Ok(bytes)
}

fn changed(mut values: Vec<f32>, change: Change, matrix: &Matrix) -> Vec<f32> {
    match change {
        Change::None => values,
        Change::PlusOne { times } => {
            values.iter_mut().for_each(|value| *value = (*value + 1.0) * times);
            values
        }
        Change::Interleave { heads } => {
            let width = if matrix.rows == 0 { 1 } else { matrix.columns };
            interleaved(&values, head_size(matrix, heads), width)
        }
    }
}

/// Rows of whole heads: row `2j + s` of a head was row `s · size / 2 + j`.
pub(super) fn interleaved(values: &[f32], head: usize, width: usize) -> Vec<f32> {
    let half = head / 2;
    let mut out = Vec::with_capacity(values.len());
    for rows in values.chunks(head * width) {
        for row in 0..head {
            let from = (row % 2 * half + row / 2) * width;
            out.extend_from_slice(&rows[from..from + width]);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::interleaved;

    #[test]
    fn the_halves_of_a_head_become_neighbours() {
        let rows = [0.0, 1.0, 2.0, 3.0, 10.0, 11.0, 12.0, 13.0];
        assert_eq!(interleaved(&rows, 4, 1), [0.0, 2.0, 1.0, 3.0, 10.0, 12.0, 11.0, 13.0]);
        assert_eq!(interleaved(&rows, 4, 2), [0.0, 1.0, 10.0, 11.0, 2.0, 3.0, 12.0, 13.0]);
    }
}
