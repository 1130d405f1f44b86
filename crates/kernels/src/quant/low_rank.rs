//! The best approximation of a matrix by one of low rank, without its whole singular value decomposition.
//!
//! Subspace iteration (Halko, Martinsson, Tropp 2011) with a Chebyshev polynomial of `M Mᵀ` in the place of a power
//! (Zhou, Saad 2007): the residual of a quantisation is mostly noise, whose singular values lie so close that powers
//! hardly tell them apart. Everything is a product of matrices but for a small eigenproblem. The start is fixed, so the
//! result depends on the matrix alone.

use super::eigen;
use crate::gemm::{Assign, MatMut, MatRef, gemm, gemm_values};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use rayon::prelude::*;

/// `left · right`, the singular values shared between both.
#[derive(Debug, Clone)]
pub struct LowRank {
    /// `[rows, rank]`, row-major.
    pub left: Vec<f32>,
    /// `[rank, cols]`, row-major. Rows beyond the rank of the matrix are zero.
    pub right: Vec<f32>,
    /// Squared Frobenius norm of the matrix.
    pub total: f64,
    /// Squared Frobenius norm of what is left of it.
    pub error: f64,
}

/// Directions beyond those that are asked for, at least; they make the iteration converge.
const OVERSAMPLING: usize = 16;
/// Relative improvement of the error's norm that is not worth another round.
const TOLERANCE: f64 = 1e-4;
/// More rounds than any matrix was seen to need.
const ROUNDS: usize = 12;
/// How much a filter may prefer the largest singular value: more would drown the others in rounding.
const AMPLIFICATION: f64 = 1e4;
const DEGREES: f64 = 8.0;

/// Approximates `matrix`, `[rows, cols]`, with a product of rank `rank`; the norm of the error is within 0.1 % of the
/// smallest possible one.
pub fn approximate(matrix: &[f32], shape: [usize; 2], rank: usize) -> LowRank {
    let [rows, cols] = shape;
    let (short, long) = (rows.min(cols), rows.max(cols));
    let m = MatRef::new(matrix, rows, cols, cols);
    let m = if rows <= cols { m } else { m.t() }; // [short, long]
    let total = squares(matrix);
    let mut result =
        LowRank { left: vec![0.0; rows * rank], right: vec![0.0; rank * cols], total, error: total };
    let kept = rank.min(short);
    if total == 0.0 || kept == 0 {
        return result;
    }
    let width = (kept + OVERSAMPLING.max(kept / 4)).min(short);

    let mut random = ChaCha8Rng::seed_from_u64(0x6c6f_6674_7121);
    // Vectors are rows.
    let mut basis = if width == short { identity(short) } else { start(m, width, &mut random) }; // [width, short]
    let mut before = 0.0;
    for round in 1.. {
        let images = gemm_values(1.0, MatRef::new(&basis, width, short, short), m); // [width, long]
        let image_view = MatRef::new(&images, width, long, long);
        let gram = gemm_values(1.0, image_view, image_view.t());
        let (values, vectors) = eigen::symmetric(&gram, width);
        let turn = MatRef::new(&vectors, width, width, width);
        basis = gemm_values(1.0, turn, MatRef::new(&basis, width, short, short));
        let images = gemm_values(1.0, turn, image_view);
        let captured: f64 = values[..kept].iter().sum();
        result.error = (total - captured).max(0.0);
        let gain = captured - before;
        if width == short || round == ROUNDS || gain <= 2.0 * TOLERANCE * result.error {
            share(&mut result, &basis, &images, &values[..kept], shape);
            return result;
        }
        before = captured;
        basis = filter(m, basis, &images, &values);
        orthonormalise(&mut basis, short, &mut random);
    }
    unreachable!("the last round returns")
}

/// Writes `√σ u` and `√σ v` of every kept direction to where they belong.
fn share(result: &mut LowRank, basis: &[f32], images: &[f32], values: &[f64], [rows, cols]: [usize; 2]) {
    let (short, long) = (rows.min(cols), rows.max(cols));
    let rank = result.left.len() / rows;
    for (i, value) in values.iter().enumerate() {
        // What is smaller is rounding.
        if *value <= values[0] * 1e-12 {
            continue;
        }
        let root = value.sqrt().sqrt() as f32;
        let (near, far) = (&basis[i * short..][..short], &images[i * long..][..long]);
        let near = near.iter().map(|v| v * root);
        let far = far.iter().map(|v| v / root);
        let (left, right): (Vec<f32>, Vec<f32>) =
            if rows <= cols { (near.collect(), far.collect()) } else { (far.collect(), near.collect()) };
        left.iter().enumerate().for_each(|(row, v)| result.left[row * rank + i] = *v);
        result.right[i * cols..][..cols].copy_from_slice(&right);
    }
}

/// Sum of squares, the same with every number of threads.
fn squares(values: &[f32]) -> f64 {
    let sum = |part: &[f32]| part.iter().map(|v| f64::from(*v) * f64::from(*v)).sum::<f64>();
    values.par_chunks(1 << 16).map(sum).collect::<Vec<_>>().iter().sum()
}

fn identity(n: usize) -> Vec<f32> {
    (0..n * n).map(|i| if i / n == i % n { 1.0 } else { 0.0 }).collect()
}

fn noise(random: &mut ChaCha8Rng, n: usize) -> Vec<f32> {
    (0..n).map(|_| (random.next_u32() >> 8) as f32 / (1 << 23) as f32 - 1.0).collect()
}

/// Orthonormal vectors in what `m` makes of random ones.
fn start(m: MatRef, width: usize, random: &mut ChaCha8Rng) -> Vec<f32> {
    let vectors = noise(random, width * m.cols);
    let mut basis = gemm_values(1.0, MatRef::new(&vectors, width, m.cols, m.cols), m.t());
    orthonormalise(&mut basis, m.rows, random);
    basis
}

/// A Chebyshev polynomial of `m mᵀ` on the vectors `basis`, whose products with `m` are `images`: small on the
/// eigenvalues below the last of `values`, growing fast above.
fn filter(m: MatRef, basis: Vec<f32>, images: &[f32], values: &[f64]) -> Vec<f32> {
    let width = values.len();
    let cut = values[width - 1].max(values[0] * 1e-6);
    let center = cut / 2.0;
    let steepness = ((values[0] - center) / center).acosh();
    let degree = ((2.0 * AMPLIFICATION).ln() / steepness).floor().clamp(1.0, DEGREES) as usize;
    let scale = (1.0 / center) as f32;
    // T₁(x) = x and Tₖ₊₁(x) = 2 x Tₖ(x) - Tₖ₋₁(x), with x = (m mᵀ - center) / center.
    let mut now = gemm_values(scale, MatRef::new(images, width, m.cols, m.cols), m.t());
    now.iter_mut().zip(&basis).for_each(|(n, b)| *n -= b);
    let mut previous = basis;
    for _ in 1..degree {
        let images = gemm_values(1.0, MatRef::new(&now, width, m.rows, m.rows), m);
        let mut next = gemm_values(2.0 * scale, MatRef::new(&images, width, m.cols, m.cols), m.t());
        next.iter_mut().zip(&now).zip(&previous).for_each(|((n, now), p)| *n -= 2.0 * now + p);
        (previous, now) = (now, next);
    }
    now
}

/// Vectors that are made orthogonal to each other one by one; against earlier ones it is done for all at once.
const PANEL: usize = 32;

/// Makes rows of length `n` orthonormal, in their order. One that depends on those before is replaced by a random one.
fn orthonormalise(vectors: &mut [f32], n: usize, random: &mut ChaCha8Rng) {
    let count = vectors.len() / n;
    for from in (0..count).step_by(PANEL) {
        let to = (from + PANEL).min(count);
        let (done, rest) = vectors.split_at_mut(from * n);
        let panel = &mut rest[..(to - from) * n];
        panel.chunks_exact_mut(n).for_each(normalise);
        // Twice is enough (Kahan, Parlett).
        for _ in 0..2 {
            remove(panel, done, n);
        }
        for i in 0..to - from {
            let (earlier, row) = panel.split_at_mut(i * n);
            let row = &mut row[..n];
            loop {
                let before = norm(row);
                for _ in 0..2 {
                    for other in earlier.chunks_exact(n) {
                        let along = dot(row, other) as f32;
                        row.iter_mut().zip(other).for_each(|(v, o)| *v -= along * o);
                    }
                }
                if before > 1e-5 && norm(row) > 1e-5 * before {
                    normalise(row);
                    break;
                }
                row.copy_from_slice(&noise(random, n));
                normalise(row);
                for _ in 0..2 {
                    remove(row, done, n);
                }
            }
        }
    }
}

/// Takes the parts along the orthonormal rows `done` out of the rows `panel`.
fn remove(panel: &mut [f32], done: &[f32], n: usize) {
    if done.is_empty() {
        return;
    }
    let (count, rows) = (done.len() / n, panel.len() / n);
    let done = MatRef::new(done, count, n, n);
    let along = gemm_values(1.0, MatRef::new(panel, rows, n, n), done.t());
    gemm(
        &mut MatMut::new(panel, rows, n, n),
        Assign::Add,
        -1.0,
        MatRef::new(&along, rows, count, count),
        done,
    );
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

fn norm(v: &[f32]) -> f64 {
    dot(v, v).sqrt()
}

fn normalise(v: &mut [f32]) {
    let norm = norm(v);
    if norm > 0.0 {
        v.iter_mut().for_each(|v| *v = (f64::from(*v) / norm) as f32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Singular values `values` between random orthonormal vectors.
    fn matrix(values: &[f64], [rows, cols]: [usize; 2]) -> Vec<f32> {
        let mut random = ChaCha8Rng::seed_from_u64(7);
        let mut vectors = |n: usize| {
            let mut v = noise(&mut random, values.len() * n);
            orthonormalise(&mut v, n, &mut ChaCha8Rng::seed_from_u64(8));
            v
        };
        let (mut u, v) = (vectors(rows), vectors(cols));
        u.chunks_exact_mut(rows).zip(values).for_each(|(u, s)| u.iter_mut().for_each(|u| *u *= *s as f32));
        let k = values.len();
        gemm_values(1.0, MatRef::new(&u, k, rows, rows).t(), MatRef::new(&v, k, cols, cols))
    }

    fn error(matrix: &[f32], [rows, cols]: [usize; 2], low: &LowRank, rank: usize) -> f64 {
        let product = gemm_values(
            1.0,
            MatRef::new(&low.left, rows, rank, rank),
            MatRef::new(&low.right, rank, cols, cols),
        );
        let left: Vec<f32> = matrix.iter().zip(&product).map(|(m, p)| m - p).collect();
        squares(&left).sqrt()
    }

    #[test]
    fn the_error_is_that_of_the_exact_decomposition() {
        type Spectrum = (&'static str, fn(usize) -> f64);
        let spectra: [Spectrum; 4] = [
            ("flat", |i| 2.0 - i as f64 / 300.0),
            ("slow", |i| 1.0 / (1.0 + i as f64).sqrt()),
            ("steep", |i| 0.7f64.powi(i as i32).max(1e-3)),
            ("step", |i| if i < 20 { 10.0 } else { 0.1 }),
        ];
        for (name, spectrum) in spectra {
            for shape in [[300, 700], [700, 300], [300, 300]] {
                let values: Vec<f64> = (0..300).map(spectrum).collect();
                let m = matrix(&values, shape);
                for rank in [1, 16, 64] {
                    let low = approximate(&m, shape, rank);
                    let best = values[rank..].iter().map(|v| v * v).sum::<f64>().sqrt();
                    let ours = error(&m, shape, &low, rank);
                    assert!(ours <= 1.001 * best && ours >= 0.999 * best, "{name} {rank}: {ours} not {best}");
                    assert!(
                        (low.error.sqrt() / ours - 1.0).abs() < 1e-2,
                        "{name} {rank}: says {}",
                        low.error
                    );
                }
            }
        }
    }

    #[test]
    fn a_matrix_of_lower_rank_is_reproduced_and_nothing_is_made_of_nothing() {
        let shape = [40, 90];
        let m = matrix(&[3.0, 2.0, 0.5], shape);
        for rank in [3, 16, 64] {
            let low = approximate(&m, shape, rank);
            assert!(error(&m, shape, &low, rank) < 1e-4);
            assert_eq!((low.left.len(), low.right.len()), (40 * rank, rank * 90));
        }
        let nothing = approximate(&vec![0.0; 40 * 90], shape, 8);
        assert!(nothing.left.iter().chain(&nothing.right).all(|v| *v == 0.0) && nothing.error == 0.0);
    }

    #[test]
    fn the_result_does_not_depend_on_the_number_of_threads() {
        let shape = [128, 200];
        let m = noise(&mut ChaCha8Rng::seed_from_u64(1), 128 * 200);
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
            let low = pool.install(|| approximate(&m, shape, 8));
            (low.left, low.right)
        };
        assert!(run(1) == run(3));
    }
}
