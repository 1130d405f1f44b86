//! Uniform noise from a keyed stream, so that a resumed run draws the same.

use candle_core::{Device, Tensor};
use olive_core::Result;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// Adds noise uniform in [-bound, bound) to every element of a tensor of any shape.
///
/// # Errors
/// A device error.
#[tracing::instrument(name = "noise", level = "trace", skip_all)]
pub fn add_uniform(x: &Tensor, bound: f64, key: [u8; 32]) -> Result<Tensor> {
    let mut stream = ChaCha8Rng::from_seed(key);
    let mut draw = || ((stream.next_u32() >> 8) as f32 / (1 << 23) as f32 - 1.0) * bound as f32;
    let noise: Vec<f32> = (0..x.elem_count()).map(|_| draw()).collect();
    let noise = Tensor::from_vec(noise, x.shape().clone(), &Device::Cpu)?;
    Ok((x + noise.to_device(x.device())?.to_dtype(x.dtype())?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_fills_its_bounds_evenly_and_repeats() -> Result<()> {
        let x = Tensor::full(2f32, (100, 300), &Device::Cpu)?;
        let y = add_uniform(&x, 0.25, [4; 32])?.flatten_all()?.to_vec1::<f32>()?;
        let noise: Vec<f64> = y.iter().map(|y| f64::from(*y) - 2.0).collect();
        let n = noise.len() as f64;
        assert!(noise.iter().all(|e| (-0.25..=0.25).contains(e)));
        assert!(noise.iter().any(|e| *e > 0.2499) && noise.iter().any(|e| *e < -0.2499));
        assert!((noise.iter().sum::<f64>() / n).abs() < 0.003);
        // The variance of a uniform variable in ±b is b²/3.
        let variance = noise.iter().map(|e| e * e).sum::<f64>() / n;
        assert!((variance / (0.0625 / 3.0) - 1.0).abs() < 0.02, "{variance}");
        assert_eq!(y, add_uniform(&x, 0.25, [4; 32])?.flatten_all()?.to_vec1::<f32>()?);
        assert_ne!(y, add_uniform(&x, 0.25, [5; 32])?.flatten_all()?.to_vec1::<f32>()?);
        Ok(())
    }
}
