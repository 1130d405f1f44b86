//! Rotations of vectors: orthogonal matrices that are never written down, or dense ones.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use rayon::prelude::*;

/// An orthogonal matrix R of a seed. Rows are multiplied with it from the right: `x R`.
#[derive(Debug, Clone)]
pub struct Rotation {
    width: usize,
    form: Form,
}

#[derive(Debug, Clone)]
enum Form {
    /// `diag(signs) (S ⊗ P) / √width`: S of Sylvester, P a Hadamard matrix of `order`, of ±1.
    Hadamard { signs: Vec<f64>, paley: Vec<f64>, order: usize },
    /// `[width, width]`.
    Dense(Vec<f64>),
}

impl Rotation {
    /// Random signs, then a Hadamard matrix: it spreads every coordinate evenly over all.
    /// `None` if no such matrix of this width is known here: it is a power of two, or one times the order of a Paley matrix.
    pub fn hadamard(width: usize, seed: u64) -> Option<Rotation> {
        let twos = width.trailing_zeros();
        let orders = (0..=twos.min(4)).map(|shift| width >> (twos - shift));
        let (order, paley) = orders.into_iter().find_map(|order| Some((order, paley(order)?)))?;
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let signs = (0..width).map(|_| if random.next_u32() & 1 == 0 { 1.0 } else { -1.0 }).collect();
        Some(Rotation { width, form: Form::Hadamard { signs, paley, order } })
    }

    /// Any direction is as likely as another: a matrix of normal values, its rows made orthogonal (Gram and Schmidt, twice).
    pub fn random(width: usize, seed: u64) -> Rotation {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut uniform = || (f64::from(random.next_u32()) + 0.5) / f64::from(u32::MAX);
        // Box and Muller.
        let mut normal = || (-2.0 * uniform().ln()).sqrt() * (std::f64::consts::TAU * uniform()).cos();
        let mut matrix: Vec<f64> = (0..width * width).map(|_| normal()).collect();
        for at in 0..width {
            let (before, rest) = matrix.split_at_mut(at * width);
            let row = &mut rest[..width];
            for _ in 0..2 {
                let parts: Vec<f64> = before.par_chunks_exact(width).map(|other| dot(other, row)).collect();
                for (other, part) in before.chunks_exact(width).zip(parts) {
                    row.iter_mut().zip(other).for_each(|(value, other)| *value -= part * other);
                }
            }
            let length = dot(row, row).sqrt();
            row.iter_mut().for_each(|value| *value /= length);
        }
        Rotation { width, form: Form::Dense(matrix) }
    }

    pub fn width(&self) -> usize {
        self.width
    }

    /// `x R` in the place of x.
    pub fn rotate(&self, x: &mut [f64]) {
        assert_eq!(x.len(), self.width, "a row of the rotation's width");
        match &self.form {
            Form::Hadamard { signs, paley, order } => {
                x.iter_mut().zip(signs).for_each(|(x, sign)| *x *= sign);
                let mut part = vec![0.0; *order];
                for x in x.chunks_exact_mut(*order) {
                    product(x, paley, &mut part);
                    x.copy_from_slice(&part);
                }
                let mut half = *order;
                while half < self.width {
                    for pair in x.chunks_exact_mut(2 * half) {
                        let (a, b) = pair.split_at_mut(half);
                        a.iter_mut().zip(b).for_each(|(a, b)| (*a, *b) = (*a + *b, *a - *b));
                    }
                    half *= 2;
                }
                let scale = 1.0 / (self.width as f64).sqrt();
                x.iter_mut().for_each(|x| *x *= scale);
            }
            Form::Dense(matrix) => {
                let mut out = vec![0.0; self.width];
                product(x, matrix, &mut out);
                x.copy_from_slice(&out);
            }
        }
    }

    /// `W R` for every part of this width of the rows of W, whose columns are multiplied with `factors` before.
    pub fn rotate_rows(&self, weight: &mut [f32], factors: Option<&[f32]>) {
        weight.par_chunks_exact_mut(self.width).enumerate().for_each_init(
            || vec![0.0; self.width],
            |row, (index, values)| {
                row.iter_mut().zip(&*values).for_each(|(out, value)| *out = f64::from(*value));
                if let Some(factors) = factors {
                    let start = index * self.width % factors.len();
                    let factors = &factors[start..start + self.width];
                    row.iter_mut().zip(factors).for_each(|(out, factor)| *out *= f64::from(*factor));
                }
                self.rotate(row);
                values.iter_mut().zip(&*row).for_each(|(out, value)| *out = *value as f32);
            },
        );
    }

    /// `Rᵀ W` for every part of so many rows of W, `[rows, cols]`.
    pub fn rotate_columns(&self, weight: &mut [f32], cols: usize) {
        for part in weight.chunks_exact_mut(self.width * cols) {
            let columns: Vec<Vec<f64>> = (0..cols)
                .into_par_iter()
                .map(|col| {
                    let mut column: Vec<f64> =
                        part[col..].iter().step_by(cols).map(|value| f64::from(*value)).collect();
                    self.rotate(&mut column);
                    column
                })
                .collect();
            part.par_chunks_exact_mut(cols).enumerate().for_each(|(row, values)| {
                values.iter_mut().zip(&columns).for_each(|(out, column)| *out = column[row] as f32);
            });
        }
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut lanes = [0.0; 8];
    let ((a, rest_of_a), (b, rest_of_b)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    for (a, b) in a.iter().zip(b) {
        for i in 0..8 {
            lanes[i] += a[i] * b[i];
        }
    }
    lanes.iter().sum::<f64>() + rest_of_a.iter().zip(rest_of_b).map(|(a, b)| a * b).sum::<f64>()
}

/// `out = x M`, M row by row.
fn product(x: &[f64], matrix: &[f64], out: &mut [f64]) {
    out.fill(0.0);
    for (x, row) in x.iter().zip(matrix.chunks_exact(x.len())) {
        out.iter_mut().zip(row).for_each(|(out, value)| *out += x * value);
    }
}

/// A Hadamard matrix of this order by Paley's constructions: of order q + 1, q a prime of the form 4k + 3, or 2 (q + 1), q one of
/// the form 4k + 1. `None` where neither gives it. <https://doi.org/10.1002/sapm1933121311>
fn paley(order: usize) -> Option<Vec<f64>> {
    if order == 1 {
        return Some(vec![1.0]);
    }
    let is_prime = |q: usize| q > 2 && (2..).take_while(|d| d * d <= q).all(|d| !q.is_multiple_of(d));
    let first = order.checked_sub(1).filter(|q| q % 4 == 3 && is_prime(*q));
    if let Some(q) = first {
        // I + S, S skew-symmetric.
        let core = conference(q, -1.0);
        return Some(
            core.iter().enumerate().map(|(at, s)| if at % (order + 1) == 0 { 1.0 } else { *s }).collect(),
        );
    }
    let q = (order / 2).checked_sub(1).filter(|q| order.is_multiple_of(2) && q % 4 == 1 && is_prime(*q))?;
    // C ⊗ [1 1; 1 −1] + I ⊗ [1 −1; −1 −1], C symmetric.
    let (half, core) = (q + 1, conference(q, 1.0));
    let element = |at: usize| {
        let (i, j) = (at / order, at % order);
        let (odd_i, odd_j) = (i % 2 == 1, j % 2 == 1);
        match i / 2 == j / 2 {
            true => {
                if odd_i || odd_j {
                    -1.0
                } else {
                    1.0
                }
            }
            false => core[i / 2 * half + j / 2] * if odd_i && odd_j { -1.0 } else { 1.0 },
        }
    };
    Some((0..order * order).map(element).collect())
}

/// The conference matrix of a prime q, `[q + 1, q + 1]`: zeros on the diagonal, ones in the first row, `first_column` below them, and
/// elsewhere whether i − j is a square modulo q (1) or not (−1).
fn conference(q: usize, first_column: f64) -> Vec<f64> {
    let mut is_square = vec![false; q];
    (1..q).for_each(|x| is_square[x * x % q] = true);
    let order = q + 1;
    let element = |at: usize| match (at / order, at % order) {
        (i, j) if i == j => 0.0,
        (0, _) => 1.0,
        (_, 0) => first_column,
        (i, j) => {
            if is_square[(i + q - j) % q] {
                1.0
            } else {
                -1.0
            }
        }
    };
    (0..order * order).map(element).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix(rotation: &Rotation) -> Vec<Vec<f64>> {
        let row = |i: usize| {
            let mut row = vec![0.0; rotation.width];
            row[i] = 1.0;
            rotation.rotate(&mut row);
            row
        };
        (0..rotation.width).map(row).collect()
    }

    #[test]
    fn rows_are_orthonormal() {
        for width in [1, 2, 12, 20, 24, 28, 36, 40, 60, 64, 80, 96, 108, 140, 144, 576] {
            for rotation in [Rotation::hadamard(width, 3).expect("there is one"), Rotation::random(width, 3)]
            {
                let rows = matrix(&rotation);
                for (i, a) in rows.iter().enumerate() {
                    for (j, b) in rows.iter().enumerate() {
                        let want = f64::from(u8::from(i == j));
                        assert!((dot(a, b) - want).abs() < 1e-12, "{width}: {i} and {j}");
                    }
                }
            }
        }
        for width in [3, 10, 22, 34 * 4 + 2] {
            assert!(Rotation::hadamard(width, 0).is_none(), "{width}");
        }
    }

    #[test]
    fn a_hadamard_matrix_has_one_size_of_elements() {
        for width in [12, 28, 36, 72, 128] {
            let size = 1.0 / (width as f64).sqrt();
            let rows = matrix(&Rotation::hadamard(width, 5).expect("there is one"));
            assert!(rows.iter().flatten().all(|element| (element.abs() - size).abs() < 1e-12), "{width}");
        }
    }

    #[test]
    fn both_sides_of_a_product_can_be_rotated() {
        // W x = (W R)(Rᵀ x), and Rᵀ (W x) = (Rᵀ W) x.
        let (width, rows) = (12, 24);
        let rotation = Rotation::hadamard(width, 1).expect("there is one");
        let weight: Vec<f32> = (0..rows * width).map(|i| (i % 7) as f32 - 3.0).collect();
        let factors: Vec<f32> = (0..width).map(|i| 1.0 + i as f32).collect();
        let x: Vec<f64> = (0..width).map(|i| (i % 5) as f64 - 2.0).collect();
        let times = |weight: &[f32], x: &[f64]| -> Vec<f64> {
            weight
                .chunks_exact(width)
                .map(|row| row.iter().zip(x).map(|(w, x)| f64::from(*w) * x).sum())
                .collect()
        };
        let close =
            |a: &[f64], b: &[f64]| assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-4), "{a:?} {b:?}");
        let scaled: Vec<f64> = x.iter().zip(&factors).map(|(x, f)| x * f64::from(*f)).collect();
        let (mut on_input, mut turned) = (weight.clone(), x.clone());
        rotation.rotate_rows(&mut on_input, Some(&factors));
        rotation.rotate(&mut turned);
        close(&times(&on_input, &turned), &times(&weight, &scaled));
        let mut on_output = weight.clone();
        rotation.rotate_columns(&mut on_output, width);
        let mut y = times(&weight, &x);
        y.chunks_exact_mut(width).for_each(|y| rotation.rotate(y));
        close(&times(&on_output, &x), &y);
    }
}
