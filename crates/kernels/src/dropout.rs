//! Dropout whose masks are drawn from a keyed stream, so that the backward, or a resumed run, draws the same ones.

use super::host::{HostRows, has_kernel, matrix};
use candle_core::{Device, Tensor};
use olive_core::Result;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use rayon::prelude::*;

/// One dropout: the same value gives the same mask for the same shape.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dropout {
    /// Share of the elements that become zero, in [0, 1).
    pub rate: f64,
    /// Key of the stream: step and micro-batch.
    pub key: [u8; 32],
    /// Place in the model.
    pub place: u32,
}

/// Rows that share a stream.
const ROWS: usize = 32;

impl Dropout {
    /// Zeroes elements of `[rows, n]`, whose rows may lie apart, and scales the rest by `1 / (1 - rate)`: `[rows, n]`. Its own
    /// backward.
    ///
    /// # Errors
    /// A device error.
    #[tracing::instrument(name = "dropout", level = "trace", skip_all)]
    pub fn apply(&self, x: &Tensor) -> Result<Tensor> {
        if !has_kernel(x) {
            let (rows, cols) = x.dims2()?;
            let mut mask = vec![1.0; rows * cols];
            self.multiply(&mut mask, cols);
            let mask = Tensor::from_vec(mask, (rows, cols), &Device::Cpu)?;
            return Ok((x * mask.to_device(x.device())?.to_dtype(x.dtype())?)?);
        }
        let x = HostRows::new(x)?;
        let mut y = Vec::with_capacity(x.rows * x.cols);
        (0..x.rows).for_each(|row| y.extend_from_slice(x.row(row)));
        self.multiply(&mut y, x.cols);
        matrix(y, x.rows, x.cols)
    }

    /// The rate is rounded to 1/65536, so that one random word serves two elements.
    fn multiply(&self, values: &mut [f32], cols: usize) {
        let threshold = (self.rate * 65_536.0).round() as u32;
        let keep = (1.0 / (1.0 - f64::from(threshold) / 65_536.0)) as f32;
        values.par_chunks_mut(ROWS * cols).enumerate().for_each(|(block, values)| {
            let mut stream = ChaCha8Rng::from_seed(self.key);
            stream.set_stream(u64::from(self.place) << 32 | block as u64);
            let mut random = [0u8; 1024];
            for values in values.chunks_mut(512) {
                stream.fill_bytes(&mut random);
                for (value, bytes) in values.iter_mut().zip(random.as_chunks::<2>().0) {
                    let draw = u32::from(u16::from_le_bytes(*bytes));
                    *value *= if draw < threshold { 0.0 } else { keep };
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_have_the_rate_and_the_mean_and_repeat() -> Result<()> {
        let x = Tensor::ones((200, 500), candle_core::DType::F32, &Device::Cpu)?;
        let dropout = Dropout { rate: 0.3, key: [7; 32], place: 5 };
        let y = dropout.apply(&x)?.flatten_all()?.to_vec1::<f32>()?;
        let zeros = y.iter().filter(|v| **v == 0.0).count() as f64 / y.len() as f64;
        let mean = y.iter().map(|v| f64::from(*v)).sum::<f64>() / y.len() as f64;
        assert!((zeros - 0.3).abs() < 0.01, "{zeros}");
        assert!((mean - 1.0).abs() < 0.02, "{mean}");
        assert_eq!(y, dropout.apply(&x)?.flatten_all()?.to_vec1::<f32>()?);
        let elsewhere = Dropout { place: 6, ..dropout }.apply(&x)?.flatten_all()?.to_vec1::<f32>()?;
        assert_ne!(y, elsewhere);
        Ok(())
    }
}
