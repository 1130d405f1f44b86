//! Cholesky factors of moments, and their inverses. Matrices are row-major, `[k, k]`.

use crate::gemm::{Assign, MatMut, MatRef, gemm};
use rayon::prelude::*;

/// Columns (or rows) that are worked on together.
const STRIP: usize = 64;

/// Replaces the lower triangle of a symmetric matrix by its Cholesky factor; false if it is not positive.
pub(super) fn factor(a: &mut [f32], k: usize) -> bool {
    for start in (0..k).step_by(STRIP) {
        let width = STRIP.min(k - start);
        // What the columns to the left contribute.
        let mut known = vec![0.0; (k - start) * width];
        if start > 0 {
            let left = MatRef::new(&a[start * k..], k - start, start, k);
            let top = MatRef::new(&a[start * k..], width, start, k);
            let mut known = MatMut::new(&mut known, k - start, width, width);
            gemm(&mut known, Assign::Replace, 1.0, left, top.t());
        }
        for (row, known) in a[start * k..].chunks_exact_mut(k).zip(known.chunks_exact(width)) {
            row[start..start + width].iter_mut().zip(known).for_each(|(v, known)| *v -= known);
        }
        let (top, rest) = a[start * k..].split_at_mut(width * k);
        for j in 0..width {
            for i in 0..=j {
                let dot: f32 = (0..i).map(|t| top[i * k + start + t] * top[j * k + start + t]).sum();
                let value = top[j * k + start + i] - dot;
                if i < j {
                    top[j * k + start + i] = value / top[i * k + start + i];
                } else if value > 0.0 && value.is_finite() {
                    top[j * k + start + j] = value.sqrt();
                } else {
                    return false;
                }
            }
        }
        let top = &*top;
        rest.par_chunks_exact_mut(k).for_each(|row| {
            let row = &mut row[start..start + width];
            for j in 0..width {
                let factor = &top[j * k + start..j * k + start + j + 1];
                let dot: f32 = row[..j].iter().zip(factor).map(|(a, b)| a * b).sum();
                row[j] = (row[j] - dot) / factor[j];
            }
        });
    }
    true
}

/// The inverse of the lower triangle of `factor`, whose upper one does not count; zeros above its diagonal.
pub(super) fn inverse_of_lower(factor: &[f32], k: usize) -> Vec<f32> {
    let mut inverse = vec![0.0; k * k];
    for start in (0..k).step_by(STRIP) {
        let width = STRIP.min(k - start);
        let (done, rest) = inverse.split_at_mut(start * k);
        let rows = &mut rest[..width * k];
        if start > 0 {
            let left = MatRef::new(&factor[start * k..], width, start, k);
            let above = MatRef::new(done, start, start, k);
            gemm(&mut MatMut::new(rows, width, start, k), Assign::Replace, -1.0, left, above);
        }
        for (i, row) in rows.chunks_exact_mut(k).enumerate() {
            row[start + i] = 1.0;
        }
        // Forward substitution with the triangle on the diagonal, for all columns up to it.
        for i in 0..width {
            let (solved, row) = rows.split_at_mut(i * k);
            let row = &mut row[..start + width];
            let triangle = &factor[(start + i) * k + start..][..=i];
            for (j, solved) in solved.chunks_exact(k).enumerate() {
                row.iter_mut().zip(solved).for_each(|(v, solved)| *v -= triangle[j] * solved);
            }
            row.iter_mut().for_each(|v| *v /= triangle[i]);
        }
    }
    inverse
}
