//! Autograd over plain candle operations, for devices without a kernel and as the oracle of tests.

use crate::Result;
use candle_core::{DType, Tensor, Var};

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

/// What the oracle tests of the ops share.
#[cfg(test)]
pub(crate) mod oracle {
    use super::*;
    use crate::model::{Checkpoint, safetensors_file};
    use crate::ops::FrozenWeight;
    use candle_core::Device;
    use half::{bf16, f16};

    /// Values in (-1, 1) that depend on `seed` alone.
    pub(crate) fn random(shape: &[usize], seed: u64) -> Result<Tensor> {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let values: Vec<f32> = (0..shape.iter().product::<usize>())
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
            })
            .collect();
        Ok(Tensor::from_vec(values, shape, &Device::Cpu)?)
    }

    /// A mapped matrix `[out, in]` of that type.
    pub(crate) fn weight(out: usize, width: usize, dtype: DType, seed: u64) -> Result<FrozenWeight> {
        let values = random(&[out, width], seed)?.flatten_all()?.to_vec1::<f32>()?;
        let (name, bytes): (_, Vec<u8>) = match dtype {
            DType::BF16 => ("BF16", values.iter().flat_map(|v| bf16::from_f32(*v).to_le_bytes()).collect()),
            DType::F16 => ("F16", values.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect()),
            _ => ("F32", values.iter().flat_map(|v| v.to_le_bytes()).collect()),
        };
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        let entry = safetensors_file::Entry {
            name: "w".into(),
            dtype: name,
            shape: vec![out, width],
            bytes: bytes.len(),
        };
        let mut writer = safetensors_file::Writer::create(file.path(), &[entry])?;
        writer.write(&bytes)?;
        writer.finish()?;
        // The mapping outlives the file's name.
        FrozenWeight::load(Checkpoint::open_file(file.path())?.tensor("w")?, DType::F32, &Device::Cpu)
    }

    /// The largest difference is at most `tolerance` times the largest value.
    #[track_caller]
    pub(crate) fn assert_close(got: &Tensor, want: &Tensor, tolerance: f32) {
        assert_eq!(got.dims(), want.dims());
        let values = |t: &Tensor| t.flatten_all().and_then(|t| t.to_vec1::<f32>()).expect("f32 values");
        let (got, want) = (values(got), values(want));
        let scale = want.iter().fold(0f32, |m, v| m.max(v.abs()));
        let worst = got.iter().zip(&want).fold(0f32, |m, (a, b)| m.max((a - b).abs()));
        assert!(scale > 0.0, "the reference is not all zero");
        assert!(worst <= tolerance * scale, "differs by {worst:e} at a scale of {scale:e}");
        assert!(got.iter().all(|v| v.is_finite()));
    }
}
