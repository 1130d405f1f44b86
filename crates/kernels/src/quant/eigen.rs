//! Eigenvalues and eigenvectors of a small symmetric matrix.

/// Sweeps after which the rest is rounding; six to ten are usual.
const SWEEPS: usize = 30;

/// By Jacobi's rotations, in f64. `matrix` is `[n, n]`; gives the eigenvalues, the largest first, and the eigenvectors
/// as the rows of a matrix `[n, n]`.
pub(super) fn symmetric(matrix: &[f32], n: usize) -> (Vec<f64>, Vec<f32>) {
    assert_eq!(matrix.len(), n * n, "the matrix is square");
    // Both halves of a product of a matrix with itself differ by rounding.
    let mut a: Vec<f64> =
        (0..n * n).map(|at| (f64::from(matrix[at]) + f64::from(matrix[at % n * n + at / n])) / 2.0).collect();
    let mut vectors: Vec<f64> = (0..n * n).map(|at| f64::from(u8::from(at / n == at % n))).collect();
    let norm = a.iter().map(|v| v * v).sum::<f64>().sqrt();
    let small = norm * 1e-12;
    for _ in 0..SWEEPS {
        let mut turned = false;
        for p in 0..n {
            for q in p + 1..n {
                let off = a[p * n + q];
                if off.abs() <= small {
                    continue;
                }
                turned = true;
                let theta = (a[q * n + q] - a[p * n + p]) / (2.0 * off);
                let tangent = theta.signum() / (theta.abs() + (theta * theta + 1.0).sqrt());
                let cosine = 1.0 / (tangent * tangent + 1.0).sqrt();
                let sine = tangent * cosine;
                turn_rows(&mut a, n, p, q, cosine, sine);
                for row in a.chunks_exact_mut(n) {
                    (row[p], row[q]) = (cosine * row[p] - sine * row[q], sine * row[p] + cosine * row[q]);
                }
                turn_rows(&mut vectors, n, p, q, cosine, sine);
            }
        }
        if !turned {
            break;
        }
    }
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|i, j| a[j * n + j].total_cmp(&a[i * n + i]));
    let values = order.iter().map(|i| a[i * n + i].max(0.0)).collect();
    let vectors = order.iter().flat_map(|i| vectors[i * n..][..n].iter().map(|v| *v as f32)).collect();
    (values, vectors)
}

fn turn_rows(a: &mut [f64], n: usize, p: usize, q: usize, cosine: f64, sine: f64) {
    let (head, tail) = a.split_at_mut(q * n);
    for (x, y) in head[p * n..][..n].iter_mut().zip(&mut tail[..n]) {
        (*x, *y) = (cosine * *x - sine * *y, sine * *x + cosine * *y);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_are_orthonormal_and_stretched_by_their_values() {
        let n = 37;
        let root: Vec<f64> = (0..n * n).map(|i| ((i * 7919 + 13) % 1013) as f64 / 506.0 - 1.0).collect();
        let entry = |i: usize, j: usize| (0..n).map(|k| root[i * n + k] * root[j * n + k]).sum::<f64>();
        let matrix: Vec<f32> = (0..n * n).map(|at| entry(at / n, at % n) as f32).collect();
        let (values, vectors) = symmetric(&matrix, n);
        assert!(values.windows(2).all(|pair| pair[0] >= pair[1]));
        let row = |i: usize| &vectors[i * n..][..n];
        for i in 0..n {
            for j in 0..n {
                let dot: f64 = row(i).iter().zip(row(j)).map(|(a, b)| f64::from(a * b)).sum();
                assert!((dot - f64::from(u8::from(i == j))).abs() < 1e-5);
                let image: f64 = (0..n).map(|k| f64::from(matrix[j * n + k] * row(i)[k])).sum();
                assert!((image - values[i] * f64::from(row(i)[j])).abs() < 1e-5 * values[0]);
            }
        }
    }
}
