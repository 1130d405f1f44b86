//! Autograd over plain candle operations: the oracle that every backward is tested against.

use candle_core::{DType, Tensor, Var};
use olive_core::Result;

/// Vector-Jacobian product: the gradients of `Σ f(inputs) · grad` with respect to each input.
///
/// # Errors
/// An operation fails.
pub(crate) fn vjp<const N: usize>(
    inputs: [&Tensor; N],
    grad: &Tensor,
    f: impl FnOnce([&Tensor; N]) -> Result<Tensor>,
) -> Result<[Tensor; N]> {
    let mut vars = Vec::with_capacity(N);
    for input in inputs {
        vars.push(Var::from_tensor(&input.detach())?);
    }
    let output = f(std::array::from_fn(|i| vars[i].as_tensor()))?;
    let product = (output.to_dtype(DType::F32)? * grad.to_dtype(DType::F32)?)?.sum_all()?;
    let mut store = product.backward()?;
    let mut gradients = Vec::with_capacity(N);
    for var in &vars {
        gradients.push(match store.remove(var.as_tensor()) {
            Some(gradient) => gradient,
            None => var.zeros_like()?,
        });
    }
    Ok(gradients.try_into().expect("one gradient per input"))
}
