//! The softmax over the last dimension, of plain candle operations on any device.

use candle_core::{D, Result, Tensor};

/// `e^x / Σ e^x`.
pub fn softmax(x: &Tensor) -> Result<Tensor> {
    let powers = from_largest(x)?.exp()?;
    powers.broadcast_div(&powers.sum_keepdim(D::Minus1)?)
}

/// `x - ln Σ e^x`.
pub(crate) fn log_softmax(x: &Tensor) -> Result<Tensor> {
    let x = from_largest(x)?;
    x.broadcast_sub(&x.exp()?.sum_keepdim(D::Minus1)?.log()?)
}

/// Less the largest value, whose power would be infinite sooner than any other.
fn from_largest(x: &Tensor) -> Result<Tensor> {
    x.broadcast_sub(&x.max_keepdim(D::Minus1)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;
    use candle_nn::ops;

    #[test]
    fn values_are_those_of_candle() {
        let values = |seed: usize| (0..3 * 517).map(move |at| (at * seed % 1013) as f32 * 0.173 - 80.0);
        let hidden = values(7919).map(|x| if x < -60.0 { f32::NEG_INFINITY } else { x });
        for values in [values(31).collect::<Vec<_>>(), hidden.collect()] {
            let x = Tensor::from_vec(values, (3, 517), &Device::Cpu).unwrap();
            let bits = |x: Result<Tensor>| -> Vec<u32> {
                x.unwrap()
                    .flatten_all()
                    .unwrap()
                    .to_vec1::<f32>()
                    .unwrap()
                    .iter()
                    .map(|x| x.to_bits())
                    .collect()
            };
            assert_eq!(bits(softmax(&x)), bits(ops::softmax(&x, D::Minus1)));
            assert_eq!(bits(softmax(&x)), bits(ops::softmax_last_dim(&x)));
            assert_eq!(bits(log_softmax(&x)), bits(ops::log_softmax(&x, D::Minus1)));
        }
    }
}
