//! A frozen linear layer with an optional low-rank branch: `y = x·Wᵀ + bias + s · (dropout(x)·Aᵀ)·Bᵀ`.

use super::dropout::Dropout;
use super::frozen_linear::{self, FrozenWeight};
use super::gemm::{Assign, MatMut, MatRef, gemm, gemm_values};
use super::host::{HostRows, matrix};
use candle_core::Tensor;
use olive_core::Result;
use rayon::prelude::*;

/// The trainable branch of one layer.
#[derive(Clone, Copy)]
pub struct Lora<'a> {
    /// `[r, in]`.
    pub a: &'a Tensor,
    /// `[out, r]`.
    pub b: &'a Tensor,
    /// `s`, for example `alpha / r`.
    pub scale: f64,
    /// On the branch's input, in training.
    pub dropout: Option<Dropout>,
}

/// A branch and what its [`forward`] took and gave.
#[derive(Clone, Copy)]
pub struct RanLora<'a> {
    pub lora: Lora<'a>,
    /// `[tokens, in]`.
    pub x: &'a Tensor,
    /// `[tokens, r]`.
    pub inner: &'a Tensor,
}

/// Whether a backward step gives the gradient of the layer's input too, which takes a product with the frozen weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InputGradient {
    Needed,
    NotNeeded,
}

impl InputGradient {
    pub fn needed_if(needed: bool) -> InputGradient {
        if needed { InputGradient::Needed } else { InputGradient::NotNeeded }
    }

    fn then<T>(self, gradient: impl FnOnce() -> T) -> Option<T> {
        (self == InputGradient::Needed).then(gradient)
    }
}

/// What [`backward`] gives.
pub struct LinearGradients {
    /// `[tokens, in]`; `None` when it was not asked for.
    pub x: Option<Tensor>,
    /// Gradients of A `[r, in]` and B `[out, r]`.
    pub lora: Option<(Tensor, Tensor)>,
}

/// Gives `y`, `[tokens, out]`, and the branch's inner values `[tokens, r]` that [`backward`] takes. x is `[tokens, in]`, whose
/// rows may lie apart, and the bias `[out]`.
///
/// # Errors
/// Shapes that do not fit, or a device error.
#[tracing::instrument(name = "linear::forward", level = "trace", skip_all)]
pub fn forward(
    x: &Tensor,
    weight: &FrozenWeight,
    bias: Option<&Tensor>,
    lora: Option<&Lora>,
) -> Result<(Tensor, Option<Tensor>)> {
    if !weight.on_host() {
        return plain_forward(x, weight, bias, lora);
    }
    let out = weight.out_features;
    let rows = HostRows::new(x)?;
    let mut y = frozen_linear::forward_values(mat(&rows), weight);
    if let Some(bias) = bias {
        let bias = HostRows::new(bias)?;
        y.par_chunks_mut(out).for_each(|y| y.iter_mut().zip(bias.data()).for_each(|(y, b)| *y += b));
    }
    let inner = match lora {
        None => None,
        Some(lora) => {
            let dropped = lora.dropout.map(|d| d.apply(x)).transpose()?;
            let x = HostRows::new(dropped.as_ref().unwrap_or(x))?;
            let (a, b) = (HostRows::new(lora.a)?, HostRows::new(lora.b)?);
            let inner = gemm_values(1.0, mat(&x), mat(&a).t());
            let branch = MatRef::new(&inner, x.rows, a.rows, a.rows);
            gemm(
                &mut MatMut::new(&mut y, x.rows, out, out),
                Assign::Add,
                lora.scale as f32,
                branch,
                mat(&b).t(),
            );
            Some(matrix(inner, x.rows, a.rows)?)
        }
    };
    Ok((matrix(y, rows.rows, out)?, inner))
}

/// With `du = s · dy·B`: `dB = s · dyᵀ·u`, `dA = duᵀ·dropout(x)`, `dx = dy·W + dropout(du·A)`. dy is `[tokens, out]`; its rows,
/// and those of what `ran` holds, may lie apart.
///
/// # Errors
/// Shapes that do not fit, or a device error.
#[tracing::instrument(name = "linear::backward", level = "trace", skip_all)]
pub fn backward(
    dy: &Tensor,
    weight: &FrozenWeight,
    ran: Option<RanLora>,
    input: InputGradient,
) -> Result<LinearGradients> {
    if !weight.on_host() {
        return plain_backward(dy, weight, ran, input);
    }
    let d_rows = HostRows::new(dy)?;
    let (tokens, width) = (d_rows.rows, weight.in_features);
    let mut dx = input.then(|| frozen_linear::backward_values(mat(&d_rows), weight));
    let mut gradients = None;
    if let Some(RanLora { lora, x, inner }) = ran {
        let (a, b, u) = (HostRows::new(lora.a)?, HostRows::new(lora.b)?, HostRows::new(inner)?);
        let (rank, out, scale) = (a.rows, b.rows, lora.scale as f32);
        let dropped = lora.dropout.map(|d| d.apply(x)).transpose()?;
        let x = HostRows::new(dropped.as_ref().unwrap_or(x))?;
        let du = gemm_values(scale, mat(&d_rows), mat(&b));
        let du = MatRef::new(&du, tokens, rank, rank);
        let da = gemm_values(1.0, du.t(), mat(&x));
        let db = gemm_values(scale, mat(&d_rows).t(), mat(&u));
        gradients = Some((matrix(da, rank, width)?, matrix(db, out, rank)?));
        if let Some(dx) = &mut dx {
            match lora.dropout {
                None => gemm(&mut MatMut::new(dx, tokens, width, width), Assign::Add, 1.0, du, mat(&a)),
                Some(dropout) => {
                    let branch = gemm_values(1.0, du, mat(&a));
                    let branch = dropout.apply(&matrix(branch, tokens, width)?)?;
                    let branch = HostRows::new(&branch)?;
                    dx.iter_mut().zip(branch.data()).for_each(|(dx, b)| *dx += b);
                }
            }
        }
    }
    let x = dx.map(|values| matrix(values, tokens, width)).transpose()?;
    Ok(LinearGradients { x, lora: gradients })
}

fn mat<'a>(rows: &'a HostRows) -> MatRef<'a> {
    MatRef::new(rows.data(), rows.rows, rows.cols, rows.stride)
}

fn plain_forward(
    x: &Tensor,
    weight: &FrozenWeight,
    bias: Option<&Tensor>,
    lora: Option<&Lora>,
) -> Result<(Tensor, Option<Tensor>)> {
    let mut y = frozen_linear::forward(x, weight)?;
    if let Some(bias) = bias {
        y = y.broadcast_add(&bias.to_dtype(y.dtype())?)?;
    }
    let Some(lora) = lora else { return Ok((y, None)) };
    let dropped = lora.dropout.map(|d| d.apply(x)).transpose()?;
    let x = dropped.as_ref().unwrap_or(x).contiguous()?;
    let inner = x.matmul(&lora.a.to_dtype(x.dtype())?.t()?)?;
    let branch = (inner.matmul(&lora.b.to_dtype(x.dtype())?.t()?)? * lora.scale)?;
    Ok(((y + branch)?, Some(inner)))
}

fn plain_backward(
    dy: &Tensor,
    weight: &FrozenWeight,
    ran: Option<RanLora>,
    input: InputGradient,
) -> Result<LinearGradients> {
    let mut dx = input.then(|| frozen_linear::backward(dy, weight)).transpose()?;
    let mut gradients = None;
    if let Some(RanLora { lora, x, inner }) = ran {
        let dy = dy.contiguous()?;
        let (a, b) = (lora.a.to_dtype(dy.dtype())?, lora.b.to_dtype(dy.dtype())?);
        let dropped = lora.dropout.map(|d| d.apply(x)).transpose()?;
        let x = dropped.as_ref().unwrap_or(x).contiguous()?;
        let du = (dy.matmul(&b)? * lora.scale)?;
        let da = du.t()?.matmul(&x)?.to_dtype(lora.a.dtype())?;
        let db = (dy.t()?.matmul(inner)? * lora.scale)?.to_dtype(lora.b.dtype())?;
        gradients = Some((da, db));
        if let Some(dx) = &mut dx {
            let branch = du.matmul(&a)?;
            let branch = lora.dropout.map(|d| d.apply(&branch)).transpose()?.unwrap_or(branch);
            *dx = (&*dx + branch)?;
        }
    }
    Ok(LinearGradients { x: dx, lora: gradients })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::autograd::vjp;
    use crate::oracle::{assert_close, random, weight};
    use candle_core::DType;

    #[test]
    fn kernel_agrees_with_autograd_with_and_without_dropout() -> Result<()> {
        let weight = weight(52, 40, DType::BF16, 1)?;
        let (x, dy, bias) = (random(&[33, 40], 2)?, random(&[33, 52], 3)?, random(&[52], 4)?);
        let (a, b) = (random(&[6, 40], 5)?, random(&[52, 6], 6)?);
        for dropout in [None, Some(Dropout { rate: 0.3, key: [9; 32], place: 2 })] {
            let lora = Lora { a: &a, b: &b, scale: 1.7, dropout };
            let (y, inner) = forward(&x, &weight, Some(&bias), Some(&lora))?;
            assert_close(&y, &plain_forward(&x, &weight, Some(&bias), Some(&lora))?.0, 1e-5);
            // The frozen part has a formula of its own, so autograd sees the branch; W is added by its product.
            let want = vjp([&x, &a, &b], &dy, |[x, a, b]| {
                let mask = Tensor::ones_like(&x.detach())?;
                let mask = dropout.map(|d| d.apply(&mask)).transpose()?.unwrap_or(mask);
                Ok(((x * mask)?.matmul(&a.t()?)?.matmul(&b.t()?)? * 1.7)?)
            })?;
            let want_x = (&want[0] + frozen_linear::backward(&dy, &weight)?)?;
            for input in [InputGradient::Needed, InputGradient::NotNeeded] {
                for plain in [true, false] {
                    let step = if plain { plain_backward } else { backward };
                    let inner = inner.as_ref().expect("the branch has inner values");
                    let got = step(&dy, &weight, Some(RanLora { lora, x: &x, inner }), input)?;
                    assert_eq!(got.x.is_some(), input == InputGradient::Needed);
                    got.x.iter().for_each(|dx| assert_close(dx, &want_x, 1e-5));
                    let (da, db) = got.lora.expect("gradients of the branch");
                    assert_close(&da, &want[1], 1e-5);
                    assert_close(&db, &want[2], 1e-5);
                }
            }
        }
        Ok(())
    }
}
