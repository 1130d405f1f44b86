//! LoftQ (Li et al. 2023): a 4-bit matrix and a low-rank one whose sum is close to a given matrix, found by turns.

use super::low_rank::{self, LowRank};
use super::nf4::{self, Code, NotFinite, Quantised, Scales};
use crate::gemm::{Assign, MatMut, MatRef, gemm};
use rayon::prelude::*;

/// What [`split`] gives.
pub struct Split {
    /// NF4 with plain scales.
    pub quantised: Quantised,
    /// Approximates what the codes leave over.
    pub low_rank: LowRank,
    /// Squared Frobenius norm of what rounding the matrix alone would leave over.
    pub plain_error: f64,
}

/// Splits `weights`, `[out, in]`. First the matrix is quantised and the residual approximated; every further one of the
/// `iterations` quantises the matrix less the approximation of before (algorithm 1 of the paper, in PEFT's order).
///
/// # Errors
/// A weight is infinite or not a number.
pub fn split(weights: &[f32], shape: [usize; 2], rank: usize, iterations: usize) -> Result<Split, NotFinite> {
    let [rows, cols] = shape;
    let mut residual = weights.to_vec();
    let mut plain_error = 0.0;
    for iteration in 1.. {
        let read = |range: std::ops::Range<usize>, out: &mut [f32]| {
            out.copy_from_slice(&residual[range]);
            Ok::<_, NotFinite>(())
        };
        let quantised = nf4::quantise(Code::Nf4, weights.len(), read)?;
        let scales: Vec<u8> = quantised.absmax.iter().flat_map(|max| max.to_le_bytes()).collect();
        residual.par_chunks_mut(PART).enumerate().for_each(|(index, part)| {
            let start = index * PART;
            let range = start..start + part.len();
            nf4::decode(Code::Nf4, &quantised.codes, Scales::Plain(&scales), range.clone(), part);
            part.iter_mut().zip(&weights[range]).for_each(|(left, weight)| *left = weight - *left);
        });
        let low_rank = low_rank::approximate(&residual, shape, rank);
        if iteration == 1 {
            plain_error = low_rank.total;
        }
        if iteration >= iterations {
            return Ok(Split { quantised, low_rank, plain_error });
        }
        residual.copy_from_slice(weights);
        let left = MatRef::new(&low_rank.left, rows, rank, rank);
        let right = MatRef::new(&low_rank.right, rank, cols, cols);
        gemm(&mut MatMut::new(&mut residual, rows, cols, cols), Assign::Add, -1.0, left, right);
    }
    unreachable!("the last iteration returns")
}

/// Weights that one task decodes.
const PART: usize = 64 * nf4::BLOCK;
