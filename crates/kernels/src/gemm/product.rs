//! Products of matrices: on x86-64 with AVX2 our own, elsewhere the `gemm` crate's.

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
use super::amx;
use super::matrix::{Assign, MatMut, MatRef};
use super::operand::{RightOperand, Stored};
use super::portable;
use super::threads::Threads;
#[cfg(target_arch = "x86_64")]
use super::{blocked, kernel};
use std::marker::PhantomData;

/// `c = [c +] alpha · a · b` on the current thread: `[m, n]`, `[m, k]` and `[k, n]`, each with strides of its own.
pub(crate) fn gemm_serial(c: &mut MatMut, assign: Assign, alpha: f32, a: MatRef, b: MatRef) {
    product(c, assign, alpha, a, b.into(), Threads::Current);
}

/// As [`gemm_serial`], on all threads of the current rayon pool; b may be stored in any form.
pub(crate) fn gemm<'a>(
    c: &mut MatMut,
    assign: Assign,
    alpha: f32,
    a: MatRef,
    b: impl Into<RightOperand<'a>>,
) {
    product(c, assign, alpha, a, b.into(), Threads::Pool);
}

/// `alpha · a · b` as values of their own, row-major. What is overwritten at once needs no zeros before.
pub(crate) fn gemm_values<'a>(alpha: f32, a: MatRef, b: impl Into<RightOperand<'a>>) -> Vec<f32> {
    let b = b.into();
    let (rows, cols) = (a.rows, b.cols);
    if a.cols == 0 {
        return vec![0.0; rows * cols];
    }
    let mut values = Vec::with_capacity(rows * cols);
    let data = values.as_mut_ptr();
    let mut c = MatMut { data, rows, cols, stride: cols, lifetime: PhantomData };
    gemm(&mut c, Assign::Replace, alpha, a, b);
    #[expect(unsafe_code, reason = "values that the product has just written")]
    // SAFETY: the capacity is `rows · cols`, and a product that replaces, with a depth that is not 0, writes each of these
    // elements: through pointers, and reading none before, so that no reference to memory without a value is made.
    unsafe {
        values.set_len(rows * cols);
    }
    values
}

fn product(c: &mut MatMut, assign: Assign, alpha: f32, a: MatRef, b: RightOperand, threads: Threads) {
    assert!(a.rows == c.rows && b.cols == c.cols && a.cols == b.rows, "the shapes fit");
    if c.rows == 0 || c.cols == 0 {
        return;
    }
    if a.cols == 0 {
        if assign == Assign::Replace {
            (0..c.rows).for_each(|row| c.row(row).fill(0.0));
        }
        return;
    }
    #[cfg(target_arch = "x86_64")]
    if let Some(kernel) = kernel::best() {
        let threads = threads.of_product([c.rows, c.cols, a.cols]);
        #[cfg(target_os = "linux")]
        if amx::fits(a, &b) && amx::available() {
            return amx::product(c, assign, alpha, a, b, threads);
        }
        return blocked::product(kernel, c, assign, alpha, a, b, threads);
    }
    portable::product(c, assign, alpha, a, b, threads);
}

/// How a benchmark's operand lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Orientation {
    /// Row-major.
    AsIs,
    /// Its transpose is row-major.
    Transposed,
}

/// `c = a · b` on all threads of the current rayon pool, for benchmarks: c is `[m, n]`, row-major, a `[m, k]` and b `[k, n]`.
pub fn matmul(c: &mut [f32], a: &[f32], b: Stored, [m, n, k]: [usize; 3], lie: [Orientation; 2]) {
    let a = match lie[0] {
        Orientation::AsIs => MatRef::new(a, m, k, k),
        Orientation::Transposed => MatRef::new(a, k, m, m).t(),
    };
    let b = match lie[1] {
        Orientation::AsIs => RightOperand::new(b, k, n),
        Orientation::Transposed => RightOperand::new(b, n, k).t(),
    };
    gemm(&mut MatMut::new(c, m, n, n), Assign::Replace, 1.0, a, b);
}

/// GFLOP/s of a large product on the current pool, the best of some runs: what benchmarks set the training's rate against.
pub fn rate() -> f64 {
    const N: usize = 2048;
    let (a, b) = (vec![0.5; N * N], vec![0.25; N * N]);
    let mut c = vec![0.0; N * N];
    let mut best = f64::INFINITY;
    for _ in 0..5 {
        let started = std::time::Instant::now();
        let (a, b) = (MatRef::new(&a, N, N, N), MatRef::new(&b, N, N, N));
        gemm(&mut MatMut::new(&mut c, N, N, N), Assign::Replace, 1.0, a, b);
        best = best.min(started.elapsed().as_secs_f64());
    }
    2.0 * (N * N * N) as f64 / best / 1e9
}
