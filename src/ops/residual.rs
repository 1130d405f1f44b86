//! Sums of equally shaped tensors, on the same threads as everything else: candle's own sums keep a spinning pool.

use super::host::{HostRows, has_kernel, matrix, rows_per_task};
use super::vector::simd;
use crate::Result;
use candle_core::Tensor;
use rayon::prelude::*;

/// `x + factor · y`, `[rows, n]`.
///
/// # Errors
/// Shapes that do not fit, or a device error.
#[tracing::instrument(name = "residual::add_scaled", level = "trace", skip_all)]
pub fn add_scaled(x: &Tensor, y: &Tensor, factor: Option<f64>) -> Result<Tensor> {
    if !has_kernel(x) {
        return Ok(match factor {
            None => (x + y)?,
            Some(factor) => (x + (y * factor)?)?,
        });
    }
    let (x, y) = (HostRows::new(x)?, HostRows::new(y)?);
    if (x.rows, x.cols) != (y.rows, y.cols) {
        return Err(super::invalid(format!("cannot add {}x{} and {}x{}", x.rows, x.cols, y.rows, y.cols)));
    }
    let (rows, cols, factor) = (x.rows, x.cols, factor.unwrap_or(1.0) as f32);
    let mut sum = vec![0.0; rows * cols];
    let step = rows_per_task(cols);
    sum.par_chunks_mut(step * cols).enumerate().for_each(|(i, chunk)| {
        simd(
            #[inline(always)]
            || {
                for (j, sum) in chunk.chunks_exact_mut(cols).enumerate() {
                    let row = i * step + j;
                    for ((sum, x), y) in sum.iter_mut().zip(x.row(row)).zip(y.row(row)) {
                        *sum = x + factor * y;
                    }
                }
            },
        );
    });
    matrix(sum, rows, cols)
}

/// `factor · x`, `[rows, n]`.
///
/// # Errors
/// A device error.
#[tracing::instrument(name = "residual::scale", level = "trace", skip_all)]
pub fn scale(x: &Tensor, factor: f64) -> Result<Tensor> {
    if !has_kernel(x) {
        return Ok((x * factor)?);
    }
    let x = HostRows::new(x)?;
    let mut y = Vec::with_capacity(x.rows * x.cols);
    (0..x.rows).for_each(|row| y.extend(x.row(row).iter().map(|x| x * factor as f32)));
    matrix(y, x.rows, x.cols)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::plain::oracle::{assert_close, random};

    #[test]
    fn sums_agree_with_candle() -> Result<()> {
        let (x, y) = (random(&[300, 70], 1)?, random(&[300, 140], 2)?.narrow(1, 70, 70)?);
        assert_close(&add_scaled(&x, &y, None)?, &(&x + &y)?, 1e-7);
        assert_close(&add_scaled(&x, &y, Some(0.3))?, &(&x + (&y * 0.3)?)?, 1e-6);
        assert_close(&scale(&y, 0.3)?, &(&y * 0.3)?, 1e-7);
        Ok(())
    }
}
