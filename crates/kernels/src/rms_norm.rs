//! Root-mean-square normalisation with a frozen weight, over the last dimension.

use super::host::{HostRows, Owned, has_kernel, matrix, rows_per_task};
use super::vector::{dot, simd};
use candle_core::{D, DType, Tensor};
use olive_core::Result;
use rayon::prelude::*;

/// `x / √(mean(x²) + eps) · weight`: `[rows, n]`, whose rows may lie apart, to `[rows, n]`; weight `[n]` in f32.
///
/// # Errors
/// Shapes that do not fit, or a device error.
#[tracing::instrument(name = "rms_norm::forward", level = "trace", skip_all)]
pub fn forward(x: &Tensor, weight: &Tensor, eps: f64) -> Result<Tensor> {
    if !has_kernel(x) {
        return plain(x, weight, eps);
    }
    let (x, weight) = (HostRows::new(x)?, HostRows::new(weight)?);
    let weight = weight.data();
    let mut y = vec![0.0; x.rows * x.cols];
    let step = rows_per_task(x.cols);
    y.par_chunks_mut(step * x.cols).enumerate().for_each(|(i, chunk)| {
        for (j, y) in chunk.chunks_exact_mut(x.cols).enumerate() {
            let x = x.row(i * step + j);
            simd(
                #[inline(always)]
                || {
                    let scale = inverse_rms(x, eps);
                    for ((y, x), w) in y.iter_mut().zip(x).zip(weight) {
                        *y = x * scale * w;
                    }
                },
            );
        }
    });
    matrix(y, x.rows, x.cols)
}

/// Gradient of the input `x`, `[rows, n]`, given that of the output `dy`, `[rows, n]`, whose memory it takes; weight `[n]`.
///
/// With `r = 1/√(mean(x²) + eps)` and `g = dy·weight`: `dx = r·g − x · r³/n · Σ g·x`.
///
/// # Errors
/// Shapes that do not fit, or a device error.
#[tracing::instrument(name = "rms_norm::backward", level = "trace", skip_all)]
pub fn backward(x: &Tensor, weight: &Tensor, eps: f64, dy: Tensor) -> Result<Tensor> {
    if !has_kernel(x) {
        return plain_backward(x, weight, eps, &dy);
    }
    let (mut dx, x, weight) = (Owned::take(dy)?, HostRows::new(x)?, HostRows::new(weight)?);
    let weight = weight.data();
    let step = rows_per_task(x.cols);
    dx.values().par_chunks_mut(step * x.cols).enumerate().for_each(|(i, chunk)| {
        for (j, dx) in chunk.chunks_exact_mut(x.cols).enumerate() {
            let x = x.row(i * step + j);
            simd(
                #[inline(always)]
                || {
                    let scale = inverse_rms(x, eps);
                    for (dx, w) in dx.iter_mut().zip(weight) {
                        *dx *= w;
                    }
                    let pull = dot(dx, x) * scale * scale * scale / x.len() as f32;
                    for (dx, x) in dx.iter_mut().zip(x) {
                        *dx = *dx * scale - x * pull;
                    }
                },
            );
        }
    });
    dx.into_tensor()
}

/// Gradient of the weight `[n]`, where that is trained: the sum over the rows of `dy · x / √(mean(x²) + eps)`, both
/// `[rows, n]`.
///
/// # Errors
/// Shapes that do not fit, or a device error.
#[tracing::instrument(name = "rms_norm::weight_gradient", level = "trace", skip_all)]
pub fn weight_gradient(x: &Tensor, eps: f64, dy: &Tensor) -> Result<Tensor> {
    let (x, dy) = (x.to_dtype(DType::F32)?, dy.to_dtype(DType::F32)?);
    let rms = (x.sqr()?.mean_keepdim(D::Minus1)? + eps)?.sqrt()?;
    Ok((x.broadcast_div(&rms)? * dy)?.sum(0)?)
}

#[inline(always)]
fn inverse_rms(x: &[f32], eps: f64) -> f32 {
    (dot(x, x) / x.len() as f32 + eps as f32).sqrt().recip()
}

fn plain(x: &Tensor, weight: &Tensor, eps: f64) -> Result<Tensor> {
    let wide = x.to_dtype(DType::F32)?;
    let rms = (wide.sqr()?.mean_keepdim(D::Minus1)? + eps)?.sqrt()?;
    Ok(wide.broadcast_div(&rms)?.broadcast_mul(weight)?.to_dtype(x.dtype())?)
}

fn plain_backward(x: &Tensor, weight: &Tensor, eps: f64, dy: &Tensor) -> Result<Tensor> {
    let (wide, gradient) = (x.to_dtype(DType::F32)?, dy.to_dtype(DType::F32)?.broadcast_mul(weight)?);
    let scale = (wide.sqr()?.mean_keepdim(D::Minus1)? + eps)?.sqrt()?.recip()?; // [rows, 1]
    let pull = ((&gradient * &wide)?.mean_keepdim(D::Minus1)? * scale.powf(3.0)?)?;
    Ok((gradient.broadcast_mul(&scale)? - wide.broadcast_mul(&pull)?)?.to_dtype(x.dtype())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::autograd::vjp;
    use crate::oracle::{assert_close, random};

    #[test]
    fn kernel_agrees_with_autograd() -> Result<()> {
        let (x, dy) = (random(&[37, 67], 1)?, random(&[37, 67], 2)?);
        let weight = random(&[67], 3)?;
        assert_close(&forward(&x, &weight, 1e-5)?, &plain(&x, &weight, 1e-5)?, 1e-5);
        let [dx] = vjp([&x], &dy, |[x]| plain(x, &weight, 1e-5))?;
        assert_close(&plain_backward(&x, &weight, 1e-5, &dy)?, &dx, 1e-5);
        assert_close(&backward(&x, &weight, 1e-5, dy.copy()?)?, &dx, 1e-5);
        let [dw] = vjp([&weight], &dy, |[weight]| plain(&x, weight, 1e-5))?;
        assert_close(&weight_gradient(&x, 1e-5, &dy)?, &dw, 1e-5);
        Ok(())
    }
}
