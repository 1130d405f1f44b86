//! Sums of equally shaped tensors, on the same threads as everything else: candle's own sums keep a spinning pool.

use super::error::invalid;
use super::host::{HostRows, Owned, has_kernel, matrix, rows_per_task};
use super::vector::simd;
use candle_core::Tensor;
use olive_core::Result;
use rayon::prelude::*;

/// `x + factor · y`, both `[rows, n]`, in the memory of `y`, which it takes. The rows of `x` may lie apart.
///
/// # Errors
/// Shapes that do not fit, or a device error.
#[tracing::instrument(name = "residual::add_scaled", level = "trace", skip_all)]
pub fn add_scaled(x: &Tensor, y: Tensor, factor: Option<f64>) -> Result<Tensor> {
    if x.dims() != y.dims() {
        return Err(invalid(format!("cannot add {:?} and {:?}", x.dims(), y.dims())));
    }
    if !has_kernel(x) {
        return Ok(match factor {
            None => (x + y)?,
            Some(factor) => (x + (y * factor)?)?,
        });
    }
    let (mut sum, x) = (Owned::take(y)?, HostRows::new(x)?);
    let (cols, factor) = (x.cols.max(1), factor.unwrap_or(1.0) as f32);
    let step = rows_per_task(cols);
    sum.values().par_chunks_mut(step * cols).enumerate().for_each(|(i, chunk)| {
        simd(
            #[inline(always)]
            || {
                for (j, sum) in chunk.chunks_exact_mut(cols).enumerate() {
                    for (sum, x) in sum.iter_mut().zip(x.row(i * step + j)) {
                        *sum = x + factor * *sum;
                    }
                }
            },
        );
    });
    sum.into_tensor()
}

/// `factor · x`, `[rows, n]`, whose rows may lie apart.
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
    use crate::oracle::{assert_close, random};

    #[test]
    fn sums_agree_with_candle() -> Result<()> {
        let x = random(&[300, 70], 1)?;
        // A slice of columns, and values of their own.
        for y in [random(&[300, 140], 2)?.narrow(1, 70, 70)?, random(&[300, 70], 3)?] {
            let (sum, scaled) = ((&x + &y)?, (&x + (&y * 0.3)?)?);
            assert_close(&add_scaled(&x, y.copy()?, None)?, &sum, 1e-7);
            assert_close(&add_scaled(&x, y, Some(0.3))?, &scaled, 1e-6);
        }
        assert!(add_scaled(&x, random(&[300, 71], 4)?, None).is_err());
        let y = random(&[300, 140], 2)?.narrow(1, 70, 70)?;
        assert_close(&scale(&y, 0.3)?, &(&y * 0.3)?, 1e-7);
        Ok(())
    }
}
