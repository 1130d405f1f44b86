//! A frozen linear layer whose rows keep their direction and length apart (DoRA, <https://arxiv.org/abs/2402.09353>):
//! `y = x·Wᵀ + bias + (g - 1) ⊙ x̃·Wᵀ + g ⊙ s·(x̃·Aᵀ)·Bᵀ` with `g = m / ‖W + s·B·A‖` per row and `x̃ = dropout(x)`.
//!
//! As in PEFT and section 4.3 of the paper, the norm is a constant for the gradients.

use super::frozen_linear::{self, FrozenWeight};
use super::linear::{self, InputGradient, Lora, RanLora};
use candle_core::{D, Tensor};
use olive_core::Result;

/// The lengths of the rows of a weight: those that are trained, and those that the weight has.
#[derive(Clone, Copy)]
pub struct Dora<'a> {
    /// `m`, `[out]`.
    pub magnitude: &'a Tensor,
    /// `‖W + s·B·A‖`, `[out]`; see [`row_norms`].
    pub norm: &'a Tensor,
}

impl Dora<'_> {
    /// `g` as a row `[1, out]` of the type of `like`.
    fn factor(&self, like: &Tensor) -> Result<Tensor> {
        Ok((self.magnitude / self.norm)?.to_dtype(like.dtype())?.unsqueeze(0)?)
    }
}

/// Gradients of A `[r, in]`, B `[out, r]` and the magnitude `[out]`, and of the input if it was asked for.
pub struct DoraGradients {
    pub x: Option<Tensor>,
    pub pair: (Tensor, Tensor),
    pub magnitude: Tensor,
}

/// Rows of W that are decoded together.
const ROWS: usize = 512;

/// `‖W + s·B·A‖` of every row, `[out]`, f32; W is `[out, in]`, A `[r, in]` and B `[out, r]`.
///
/// # Errors
/// Shapes that do not fit, or a device error.
#[tracing::instrument(name = "dora::row_norms", level = "trace", skip_all)]
pub fn row_norms(weight: &FrozenWeight, a: &Tensor, b: &Tensor, scale: f64) -> Result<Tensor> {
    let mut parts = Vec::new();
    for start in (0..weight.out_features).step_by(ROWS) {
        let rows = ROWS.min(weight.out_features - start);
        let ids: Vec<u32> = (start as u32..(start + rows) as u32).collect();
        let delta = (b.narrow(0, start, rows)?.contiguous()?.matmul(a)? * scale)?;
        let merged = (weight.gather(&ids)?.to_dtype(delta.dtype())? + delta)?;
        parts.push(merged.sqr()?.sum(D::Minus1)?.sqrt()?);
    }
    Ok(Tensor::cat(&parts, 0)?)
}

/// Gives `y`, `[tokens, out]`, and the branch's inner values `[tokens, r]` that [`backward`] takes. x is `[tokens, in]`, the
/// bias `[out]`.
///
/// # Errors
/// Shapes that do not fit, or a device error.
#[tracing::instrument(name = "dora::forward", level = "trace", skip_all)]
pub fn forward(
    x: &Tensor,
    weight: &FrozenWeight,
    bias: Option<&Tensor>,
    lora: &Lora,
    dora: &Dora,
) -> Result<(Tensor, Tensor)> {
    let dropped = dropped(x, lora)?;
    let (z, inner) = directions(&dropped, weight, lora)?;
    let z = z.broadcast_mul(&dora.factor(x)?)?;
    let mut y = match lora.dropout {
        None => z,
        Some(_) => {
            // PEFT: the frozen part sees the input as it is, what is added to it sees the dropped one.
            let whole = frozen_linear::forward(x, weight)?;
            ((whole + z)? - frozen_linear::forward(&dropped, weight)?)?
        }
    };
    if let Some(bias) = bias {
        y = y.broadcast_add(&bias.to_dtype(y.dtype())?)?;
    }
    Ok((y, inner))
}

/// dy is `[tokens, out]`. With `dz = g ⊙ dy` and `du = s · dz·B`: `dB = s · dzᵀ·u`, `dA = duᵀ·x̃`, `dm = Σ dy ⊙ z / norm`; `dx` comes from all the
/// places where `x` and `x̃` stand. `inner` is what [`forward`] gave; `z`, the layer without its lengths, is computed
/// again.
///
/// # Errors
/// Shapes that do not fit, or a device error.
#[tracing::instrument(name = "dora::backward", level = "trace", skip_all)]
pub fn backward(
    dy: &Tensor,
    weight: &FrozenWeight,
    RanLora { lora, x, inner }: RanLora,
    dora: &Dora,
    input: InputGradient,
) -> Result<DoraGradients> {
    let dy = dy.contiguous()?;
    let dropped = dropped(x, &lora)?;
    let (z, _) = directions(&dropped, weight, &lora)?;
    let sums = (&dy * z)?.to_dtype(dora.norm.dtype())?.sum(0)?;
    let magnitude = (sums / dora.norm)?;
    let dz = dy.broadcast_mul(&dora.factor(&dy)?)?;
    let (a, b) = (lora.a.to_dtype(dy.dtype())?, lora.b.to_dtype(dy.dtype())?);
    let du = (dz.matmul(&b)? * lora.scale)?;
    let da = du.t()?.matmul(&dropped)?.to_dtype(lora.a.dtype())?;
    let db = (dz.t()?.matmul(inner)? * lora.scale)?.to_dtype(lora.b.dtype())?;
    let dx = match (input, lora.dropout) {
        (InputGradient::NotNeeded, _) => None,
        (InputGradient::Needed, None) => Some((frozen_linear::backward(&dz, weight)? + du.matmul(&a)?)?),
        (InputGradient::Needed, Some(dropout)) => {
            let through = (frozen_linear::backward(&(&dz - &dy)?, weight)? + du.matmul(&a)?)?;
            Some((frozen_linear::backward(&dy, weight)? + dropout.apply(&through)?)?)
        }
    };
    Ok(DoraGradients { x: dx, pair: (da, db), magnitude })
}

fn dropped(x: &Tensor, lora: &Lora) -> Result<Tensor> {
    match lora.dropout {
        None => Ok(x.contiguous()?),
        Some(dropout) => dropout.apply(x),
    }
}

/// `x̃·Wᵀ + s·(x̃·Aᵀ)·Bᵀ`, and `x̃·Aᵀ`.
fn directions(dropped: &Tensor, weight: &FrozenWeight, lora: &Lora) -> Result<(Tensor, Tensor)> {
    let (z, inner) = linear::forward(dropped, weight, None, Some(&Lora { dropout: None, ..*lora }))?;
    Ok((z, inner.expect("a branch has inner values")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Dropout;
    use crate::autograd::vjp;
    use crate::oracle::{assert_close, random, weight};
    use candle_core::DType;

    #[test]
    fn gradients_are_those_of_autograd_with_a_constant_norm() -> Result<()> {
        let (w, x, dy) = (weight(52, 40, DType::BF16, 1)?, random(&[33, 40], 2)?, random(&[33, 52], 3)?);
        let (a, b, m) = (random(&[6, 40], 5)?, random(&[52, 6], 6)?, random(&[52], 7)?);
        let bias = random(&[52], 8)?;
        let rows: Vec<u32> = (0..52).collect();
        let dense = w.gather(&rows)?;
        let norm = row_norms(&w, &a, &b, 1.7)?;
        let merged = (&dense + (b.matmul(&a)? * 1.7)?)?;
        assert_close(&norm, &merged.sqr()?.sum(1)?.sqrt()?, 1e-6);
        for dropout in [None, Some(Dropout { rate: 0.3, key: [9; 32], place: 2 })] {
            let lora = Lora { a: &a, b: &b, scale: 1.7, dropout };
            let dora = Dora { magnitude: &m, norm: &norm };
            let mask = dropout.map(|d| d.apply(&Tensor::ones_like(&x)?)).transpose()?;
            let mask =
                mask.map_or_else(|| Tensor::ones_like(&x).map_err(Into::into), Ok::<_, olive_core::Error>)?;
            let plain = |[x, a, b, m]: [&Tensor; 4]| -> Result<Tensor> {
                let g = (m / &norm)?.unsqueeze(0)?;
                let xd = (x * &mask)?;
                let base = x.matmul(&dense.t()?)?;
                let rest = xd.matmul(&dense.t()?)?.broadcast_mul(&(&g - 1.0)?)?;
                let branch = (xd.matmul(&a.t()?)?.matmul(&b.t()?)? * 1.7)?.broadcast_mul(&g)?;
                Ok(((base + rest)? + branch)?)
            };
            let (y, inner) = forward(&x, &w, Some(&bias), &lora, &dora)?;
            let want = plain([&x, &a, &b, &m])?.broadcast_add(&bias)?;
            assert_close(&y, &want, 1e-5);
            let want = vjp([&x, &a, &b, &m], &dy, |[x, a, b, m]| plain([x, a, b, m]))?;
            let ran = RanLora { lora, x: &x, inner: &inner };
            let got = backward(&dy, &w, ran, &dora, InputGradient::Needed)?;
            assert_close(&got.x.expect("asked for"), &want[0], 1e-5);
            assert_close(&got.pair.0, &want[1], 1e-5);
            assert_close(&got.pair.1, &want[2], 1e-5);
            assert_close(&got.magnitude, &want[3], 1e-5);
            assert!(backward(&dy, &w, ran, &dora, InputGradient::NotNeeded)?.x.is_none());
        }
        Ok(())
    }
}
