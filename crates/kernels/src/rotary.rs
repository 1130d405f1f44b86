//! Rotary position embedding: pairs (j, j + half) of every head, or neighbours, are rotated by the position's angles.

use super::host::{HostRows, Owned, has_kernel, rows_per_task};
use candle_core::{Device, Tensor};
use olive_core::Result;
use rayon::prelude::*;

/// Cosines and sines per token, `[tokens, rotary_dim / 2]` each.
#[derive(Clone)]
pub struct RotaryTables {
    cos: Tensor,
    sin: Tensor,
    pairs: RotaryPairs,
}

/// Which values of a head turn together; half the rotary width is their distance, or one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RotaryPairs {
    Halves,
    Neighbours,
}

impl RotaryTables {
    /// Rows for these positions: cosines and sines of position · frequency, times `scale`.
    ///
    /// # Errors
    /// A device error.
    pub fn new(
        frequencies: &[f32],
        scale: f32,
        pairs: RotaryPairs,
        positions: &[u32],
        device: &Device,
    ) -> Result<RotaryTables> {
        let shape = (positions.len(), frequencies.len());
        let angles = positions.iter().flat_map(|p| frequencies.iter().map(move |f| *p as f32 * f));
        let (cos, sin): (Vec<f32>, Vec<f32>) = angles.map(|a| (a.cos() * scale, a.sin() * scale)).unzip();
        Ok(RotaryTables {
            cos: Tensor::from_vec(cos, shape, device)?,
            sin: Tensor::from_vec(sin, shape, device)?,
            pairs,
        })
    }
}

/// Rotates `x`, `[tokens, heads · head_dim]`, whose memory it takes; the part of each head beyond the rotary width stays.
///
/// # Errors
/// Shapes that do not fit, or a device error.
#[tracing::instrument(name = "rotary::forward", level = "trace", skip_all)]
pub fn forward(x: Tensor, tables: &RotaryTables, head_dim: usize) -> Result<Tensor> {
    rotate(x, tables, head_dim, 1.0)
}

/// Gradient of the input, in the memory of `dy`, `[tokens, heads · head_dim]`: the transposed map, which turns the other
/// way.
///
/// # Errors
/// Shapes that do not fit, or a device error.
#[tracing::instrument(name = "rotary::backward", level = "trace", skip_all)]
pub fn backward(dy: Tensor, tables: &RotaryTables, head_dim: usize) -> Result<Tensor> {
    rotate(dy, tables, head_dim, -1.0)
}

fn rotate(x: Tensor, tables: &RotaryTables, head_dim: usize, sign: f32) -> Result<Tensor> {
    if !has_kernel(&x) {
        return plain(&x, tables, head_dim, f64::from(sign));
    }
    let (mut x, cos, sin) = (Owned::take(x)?, HostRows::new(&tables.cos)?, HostRows::new(&tables.sin)?);
    let (width, turned) = (x.cols(), 2 * cos.cols);
    let step = rows_per_task(width);
    x.values().par_chunks_mut(step * width).enumerate().for_each(|(i, chunk)| {
        for (j, x) in chunk.chunks_exact_mut(width).enumerate() {
            let (cos, sin) = (cos.row(i * step + j), sin.row(i * step + j));
            for head in x.chunks_exact_mut(head_dim) {
                if tables.pairs == RotaryPairs::Neighbours {
                    turn_neighbours(&mut head[..turned], cos, sin, sign);
                } else {
                    turn_halves(&mut head[..turned], cos, sin, sign);
                }
            }
        }
    });
    x.into_tensor()
}

fn turn_halves(x: &mut [f32], cos: &[f32], sin: &[f32], sign: f32) {
    let (low, high) = x.split_at_mut(cos.len());
    for ((low, high), (c, s)) in low.iter_mut().zip(high).zip(cos.iter().zip(sin)) {
        let s = sign * s;
        (*low, *high) = (*low * c - *high * s, *high * c + *low * s);
    }
}

fn turn_neighbours(x: &mut [f32], cos: &[f32], sin: &[f32], sign: f32) {
    for (x, (c, s)) in x.chunks_exact_mut(2).zip(cos.iter().zip(sin)) {
        let s = sign * s;
        (x[0], x[1]) = (x[0] * c - x[1] * s, x[1] * c + x[0] * s);
    }
}

fn plain(x: &Tensor, tables: &RotaryTables, head_dim: usize, sign: f64) -> Result<Tensor> {
    let (tokens, width) = x.dims2()?;
    let half = tables.cos.dim(1)?;
    let heads = x.contiguous()?.reshape((tokens, width / head_dim, head_dim))?;
    let cos = tables.cos.unsqueeze(1)?.to_dtype(x.dtype())?; // [tokens, 1, half]
    let sin = (tables.sin.unsqueeze(1)?.to_dtype(x.dtype())? * sign)?;
    let rest = heads.narrow(2, 2 * half, head_dim - 2 * half)?;
    let (low, high) = if tables.pairs == RotaryPairs::Neighbours {
        let pairs = heads.narrow(2, 0, 2 * half)?.reshape((tokens, width / head_dim, half, 2))?;
        (pairs.narrow(3, 0, 1)?.squeeze(3)?, pairs.narrow(3, 1, 1)?.squeeze(3)?)
    } else {
        (heads.narrow(2, 0, half)?, heads.narrow(2, half, half)?)
    };
    let turned_low = (low.broadcast_mul(&cos)? - high.broadcast_mul(&sin)?)?;
    let turned_high = (high.broadcast_mul(&cos)? + low.broadcast_mul(&sin)?)?;
    let turned = if tables.pairs == RotaryPairs::Neighbours {
        Tensor::stack(&[turned_low, turned_high], 3)?.flatten_from(2)?
    } else {
        Tensor::cat(&[turned_low, turned_high], 2)?
    };
    Ok(Tensor::cat(&[turned, rest], 2)?.reshape((tokens, width))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::autograd::vjp;
    use crate::oracle::{assert_close, random};

    #[test]
    fn kernel_agrees_with_autograd_also_on_a_part_of_the_head() -> Result<()> {
        let cases = [RotaryPairs::Halves, RotaryPairs::Neighbours].map(|pairs| [(8, pairs), (6, pairs)]);
        for (rotary_dim, pairs) in cases.concat() {
            let frequencies: Vec<f32> =
                (0..rotary_dim / 2).map(|j| 100f32.powf(-2.0 * j as f32 / rotary_dim as f32)).collect();
            let positions: Vec<u32> = (0..11).chain(0..8).collect();
            let tables = RotaryTables::new(&frequencies, 1.0, pairs, &positions, &Device::Cpu)?;
            let packed = random(&[19, 40], 1)?;
            let x = packed.narrow(1, 8, 24)?;
            let dy = random(&[19, 24], 2)?;
            assert_close(&forward(x.clone(), &tables, 8)?, &plain(&x, &tables, 8, 1.0)?, 1e-6);
            let [dx] = vjp([&x.contiguous()?], &dy, |[x]| plain(x, &tables, 8, 1.0))?;
            assert_close(&backward(dy, &tables, 8)?, &dx, 1e-6);
        }
        Ok(())
    }
}
