//! Gated activation of the MLP: `act(gate) · up` (SwiGLU, GeGLU).

use super::host::{HostRows, Owned, has_kernel, matrix, rows_per_task};
use super::vector::{Arithmetic, exp, sigmoid, simd_by};
use candle_core::Tensor;
use candle_core::cpu::erf::erf_f32;
use olive_core::Result;
use rayon::prelude::*;

/// Activation of the gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    Silu,
    /// `gelu` with the error function.
    Gelu,
    /// `gelu` in the tanh approximation.
    GeluTanh,
}

/// `act(gate) · up`, all `[rows, n]`. The rows of `gate` and `up` may lie apart, as the halves of a packed projection do.
///
/// # Errors
/// Shapes that do not fit, or a device error.
#[tracing::instrument(name = "glu::forward", level = "trace", skip_all)]
pub fn forward(gate: &Tensor, up: &Tensor, activation: Activation) -> Result<Tensor> {
    if !has_kernel(gate) {
        return plain(gate, up, activation);
    }
    let (gate, up) = (HostRows::new(gate)?, HostRows::new(up)?);
    let mut y = vec![0.0; gate.rows * gate.cols];
    let step = rows_per_task(gate.cols);
    y.par_chunks_mut(step * gate.cols).enumerate().for_each(|(i, chunk)| {
        for (j, y) in chunk.chunks_exact_mut(gate.cols).enumerate() {
            let (gate, up) = (gate.row(i * step + j), up.row(i * step + j));
            simd_by(
                #[inline(always)]
                // One loop per activation, so that each is free of branches and vectorises.
                |by| match activation {
                    Activation::Silu => products(y, [gate, up], by, silu),
                    Activation::Gelu => products(y, [gate, up], by, gelu),
                    Activation::GeluTanh => products(y, [gate, up], by, gelu_tanh),
                },
            );
        }
    });
    matrix(y, gate.rows, gate.cols)
}

/// Gradients of `gate` and `up` from that of the product, all `[rows, n]`. They are written in the memory of `gate` and
/// `up`, which it takes; views of a packed projection are copied.
///
/// # Errors
/// Shapes that do not fit, or a device error.
#[tracing::instrument(name = "glu::backward", level = "trace", skip_all)]
pub fn backward(gate: Tensor, up: Tensor, activation: Activation, dy: &Tensor) -> Result<[Tensor; 2]> {
    if !has_kernel(&gate) {
        return plain_backward(&gate, &up, activation, dy);
    }
    let (mut gate, mut up, dy) = (Owned::take(gate)?, Owned::take(up)?, HostRows::new(dy)?);
    let cols = dy.cols;
    let step = rows_per_task(cols);
    let chunks = gate.values().par_chunks_mut(step * cols).zip(up.values().par_chunks_mut(step * cols));
    chunks.enumerate().for_each(|(i, (gate, up))| {
        let rows = gate.chunks_exact_mut(cols).zip(up.chunks_exact_mut(cols));
        for (j, (gate, up)) in rows.enumerate() {
            let dy = dy.row(i * step + j);
            simd_by(
                #[inline(always)]
                |by| match activation {
                    Activation::Silu => slopes(gate, up, dy, by, silu),
                    Activation::Gelu => slopes(gate, up, dy, by, gelu),
                    Activation::GeluTanh => slopes(gate, up, dy, by, gelu_tanh),
                },
            );
        }
    });
    Ok([gate.into_tensor()?, up.into_tensor()?])
}

/// One row of the forward; `activation` gives value and slope.
#[inline(always)]
fn products(
    y: &mut [f32],
    [gate, up]: [&[f32]; 2],
    by: Arithmetic,
    activation: impl Fn(f32, Arithmetic) -> (f32, f32),
) {
    for ((y, gate), up) in y.iter_mut().zip(gate).zip(up) {
        *y = activation(*gate, by).0 * up;
    }
}

/// One row of the backward: gradients take the place of the values. `activation` gives value and slope.
#[inline(always)]
fn slopes(
    gate: &mut [f32],
    up: &mut [f32],
    dy: &[f32],
    by: Arithmetic,
    activation: impl Fn(f32, Arithmetic) -> (f32, f32),
) {
    for ((gate, up), dy) in gate.iter_mut().zip(up).zip(dy) {
        let (value, slope) = activation(*gate, by);
        (*gate, *up) = (dy * *up * slope, dy * value);
    }
}

/// Value and slope of `x · sigmoid(x)`.
#[inline(always)]
fn silu(x: f32, by: Arithmetic) -> (f32, f32) {
    let s = sigmoid(x, by);
    (x * s, s * (1.0 + x * (1.0 - s)))
}

/// Value and slope of `x · Φ(x)`.
#[inline(always)]
fn gelu(x: f32, by: Arithmetic) -> (f32, f32) {
    let cumulative = 0.5 * (1.0 + erf_f32(x * std::f32::consts::FRAC_1_SQRT_2));
    let density = 0.398_942_3 * exp(-0.5 * x * x, by);
    (x * cumulative, cumulative + x * density)
}

/// Value and slope of the tanh approximation, `x/2 · (1 + tanh(√(2/π)·(x + 0.044715·x³)))`.
#[inline(always)]
fn gelu_tanh(x: f32, by: Arithmetic) -> (f32, f32) {
    const SCALE: f32 = 0.797_884_6;
    const CUBIC: f32 = 0.044_715;
    let inner = SCALE * (x + CUBIC * x * x * x);
    // (1 + tanh(u)) / 2 = sigmoid(2u).
    let half = sigmoid(2.0 * inner, by);
    let slope = half + x * 2.0 * half * (1.0 - half) * SCALE * (1.0 + 3.0 * CUBIC * x * x);
    (x * half, slope)
}

fn plain(gate: &Tensor, up: &Tensor, activation: Activation) -> Result<Tensor> {
    let gate = match activation {
        Activation::Silu => gate.silu()?,
        Activation::Gelu => gate.gelu_erf()?,
        Activation::GeluTanh => gate.gelu()?,
    };
    Ok((gate * up)?)
}

fn plain_backward(gate: &Tensor, up: &Tensor, activation: Activation, dy: &Tensor) -> Result<[Tensor; 2]> {
    let (value, slope) = plain_value_and_slope(gate, activation)?;
    Ok([((dy * up)? * slope)?, (dy * value)?])
}

/// Value and slope of the activation, by the formulas of [`silu`], [`gelu`] and [`gelu_tanh`].
fn plain_value_and_slope(x: &Tensor, activation: Activation) -> Result<(Tensor, Tensor)> {
    let sigmoid = |x: &Tensor| -> candle_core::Result<Tensor> { (x.neg()?.exp()? + 1.0)?.recip() };
    let (share, steepness) = match activation {
        Activation::Silu => {
            let share = sigmoid(x)?;
            let steepness = (&share * share.affine(-1.0, 1.0)?)?;
            (share, steepness)
        }
        Activation::Gelu => {
            let share = (x.affine(std::f64::consts::FRAC_1_SQRT_2, 0.0)?.erf()? + 1.0)?.affine(0.5, 0.0)?;
            let density = (x.sqr()? * -0.5)?.exp()?;
            (share, (density * (std::f64::consts::FRAC_2_SQRT_PI * std::f64::consts::FRAC_1_SQRT_2 / 2.0))?)
        }
        Activation::GeluTanh => {
            let scale = std::f64::consts::FRAC_2_SQRT_PI * std::f64::consts::FRAC_1_SQRT_2;
            let square = x.sqr()?;
            let share = sigmoid(&((x * square.affine(0.044_715, 1.0)?)? * (2.0 * scale))?)?;
            let inner_slope = square.affine(3.0 * 0.044_715 * 2.0 * scale, 2.0 * scale)?;
            let steepness = ((&share * share.affine(-1.0, 1.0)?)? * inner_slope)?;
            (share, steepness)
        }
    };
    // All three are x · share(x).
    let slope = (&share + (x * steepness)?)?;
    Ok(((x * share)?, slope))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::autograd::vjp;
    use crate::oracle::{assert_close, random};

    #[test]
    fn kernels_agree_with_autograd() -> Result<()> {
        let packed = (random(&[23, 158], 1)? * 6.0)?;
        let (gate, up) = (packed.narrow(1, 0, 79)?, packed.narrow(1, 79, 79)?);
        let dy = random(&[23, 79], 2)?;
        for activation in [Activation::Silu, Activation::Gelu, Activation::GeluTanh] {
            assert_close(&forward(&gate, &up, activation)?, &plain(&gate, &up, activation)?, 1e-6);
            let expected =
                vjp([&gate.contiguous()?, &up.contiguous()?], &dy, |[g, u]| plain(g, u, activation))?;
            let got = backward(gate.clone(), up.clone(), activation, &dy)?;
            let plainly = plain_backward(&gate, &up, activation, &dy)?;
            for (got, want) in got.iter().chain(&plainly).zip(expected.iter().cycle()) {
                assert_close(got, want, 2e-6);
            }
        }
        Ok(())
    }
}
