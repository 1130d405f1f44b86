//! One AdamW update of one tensor, in a single sweep over parameter, moments and gradient.

use super::host::{HostRows, has_kernel};
use super::vector::{dot, simd};
use candle_core::{Device, Tensor};
use olive_core::Result;
use rayon::prelude::*;

/// The scalars of a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Update {
    /// On the gradient, from clipping.
    pub gradient_factor: f64,
    /// `1 - lr · weight_decay`, on the parameter.
    pub decay: f64,
    pub beta1: f64,
    pub beta2: f64,
    pub epsilon: f64,
    /// `lr / (1 - β₁ᵗ)`.
    pub step_size: f64,
    /// `√(1 - β₂ᵗ)`.
    pub correction: f64,
}

/// `m ← β₁m + (1-β₁)g`, `v ← β₂v + (1-β₂)g²`, `p ← decay·p − step_size · m / (√v / correction + ε)`.
///
/// Parameter, moments and gradient have one shape, any, and adjacent elements. The three results are tensors of their own.
///
/// # Errors
/// A device error.
#[tracing::instrument(name = "adamw::step", level = "trace", skip_all)]
pub fn step(u: &Update, parameter: &mut Tensor, moments: &mut [Tensor; 2], gradient: &Tensor) -> Result<()> {
    if !has_kernel(parameter) {
        return plain(u, parameter, moments, gradient);
    }
    const CHUNK: usize = 1 << 14;
    let shape = parameter.shape().clone();
    let copy = |t: &Tensor| -> Result<Vec<f32>> { Ok(HostRows::new(t)?.data().to_vec()) };
    let (mut p, mut m, mut v) = (copy(parameter)?, copy(&moments[0])?, copy(&moments[1])?);
    let gradient = HostRows::new(gradient)?;
    let [factor, decay, b1, b2, epsilon, step_size, correction] =
        [u.gradient_factor, u.decay, u.beta1, u.beta2, u.epsilon, u.step_size, u.correction]
            .map(|x| x as f32);
    let (rest1, rest2) = ((1.0 - u.beta1) as f32, (1.0 - u.beta2) as f32);
    p.par_chunks_mut(CHUNK)
        .zip(m.par_chunks_mut(CHUNK))
        .zip(v.par_chunks_mut(CHUNK))
        .zip(gradient.data().par_chunks(CHUNK))
        .for_each(|(((p, m), v), g)| {
            simd(
                #[inline(always)]
                || {
                    for (((p, m), v), g) in p.iter_mut().zip(m).zip(v).zip(g) {
                        let g = g * factor;
                        *m = b1 * *m + rest1 * g;
                        *v = b2 * *v + rest2 * g * g;
                        *p = decay * *p - step_size * (*m / (v.sqrt() / correction + epsilon));
                    }
                },
            );
        });
    *parameter = Tensor::from_vec(p, shape.clone(), &Device::Cpu)?;
    *moments = [Tensor::from_vec(m, shape.clone(), &Device::Cpu)?, Tensor::from_vec(v, shape, &Device::Cpu)?];
    Ok(())
}

fn plain(u: &Update, parameter: &mut Tensor, moments: &mut [Tensor; 2], gradient: &Tensor) -> Result<()> {
    let g = (gradient * u.gradient_factor)?;
    let m = ((&moments[0] * u.beta1)? + (&g * (1.0 - u.beta1))?)?;
    let v = ((&moments[1] * u.beta2)? + (g.sqr()? * (1.0 - u.beta2))?)?;
    let scale = ((v.sqrt()? / u.correction)? + u.epsilon)?;
    *parameter = ((&*parameter * u.decay)? - (m.div(&scale)? * u.step_size)?)?;
    *moments = [m, v];
    Ok(())
}

/// Sum of the squares of all elements, which are adjacent, in f64 and in an order of its own.
///
/// # Errors
/// A device error.
#[tracing::instrument(name = "adamw::sum_of_squares", level = "trace", skip_all)]
pub fn sum_of_squares(x: &Tensor) -> Result<f64> {
    if !has_kernel(x) {
        return Ok(f64::from(x.sqr()?.sum_all()?.to_scalar::<f32>()?));
    }
    let x = HostRows::new(x)?;
    let mut total = 0.0;
    simd(
        #[inline(always)]
        || {
            for part in x.data().chunks(4096) {
                total += f64::from(dot(part, part));
            }
        },
    );
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::{assert_close, random};

    #[test]
    fn kernel_agrees_with_plain_operations() -> Result<()> {
        let update = Update {
            gradient_factor: 0.4,
            decay: 0.999,
            beta1: 0.9,
            beta2: 0.99,
            epsilon: 1e-8,
            step_size: 0.02,
            correction: 0.3,
        };
        let mut fast = (random(&[40, 50], 1)?, [random(&[40, 50], 2)?, random(&[40, 50], 3)?.sqr()?]);
        let mut slow = fast.clone();
        for seed in 4..7 {
            let gradient = random(&[40, 50], seed)?;
            step(&update, &mut fast.0, &mut fast.1, &gradient)?;
            plain(&update, &mut slow.0, &mut slow.1, &gradient)?;
        }
        assert_close(&fast.0, &slow.0, 1e-6);
        assert_close(&fast.1[0], &slow.1[0], 1e-6);
        assert_close(&fast.1[1], &slow.1[1], 1e-6);
        Ok(())
    }
}
