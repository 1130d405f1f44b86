//! Linear layers whose weight is frozen: the weight stays in its storage form, gets no gradient and no f32 copy.
//!
//! Forward `Y = X·Wᵀ` and backward `dX = dY·W` decode W while the product packs it. A few rows of X (generation) need no
//! packing: each row of W is decoded into a row buffer and used at once.

use super::error::invalid;
use super::gemm::{Assign, Decode, MatMut, MatRef, RightOperand, Stored, gemm, gemm_values};
use super::host::{HostRows, kernels_run, matrix};
use super::vector::{dot, dot_bf16, simd};
use candle_core::{DType, Device, Tensor};
use olive_core::Result;
use rayon::prelude::*;
use std::sync::Arc;

/// A matrix `[out, in]` in host memory, in the form in which it is stored.
pub trait HostMatrix: Decode + Send {
    fn shape(&self) -> [usize; 2];

    /// The elements as they lie, where products can read them so; else [`Stored::Coded`].
    fn stored(&self) -> Stored<'_>;

    /// Says that the matrix will not be used again soon: what can be read again from a file may leave the memory.
    fn release(&self) {}
}

/// A frozen matrix `[out, in]`.
#[derive(Clone)]
pub struct FrozenWeight {
    pub out_features: usize,
    pub in_features: usize,
    storage: Storage,
}

#[derive(Clone)]
enum Storage {
    /// Decoded when it is used.
    Host(Arc<dyn HostMatrix>),
    /// On a device with memory of its own, or trained whole.
    Dense(Tensor),
}

impl FrozenWeight {
    /// Keeps the matrix as it is stored on the CPU; any other device gets the decoded values, as `dtype`.
    ///
    /// # Errors
    /// The device has no room.
    pub fn new(matrix: Arc<dyn HostMatrix>, dtype: DType, device: &Device) -> Result<FrozenWeight> {
        let [out_features, in_features] = matrix.shape();
        let storage = if device.is_cpu() {
            Storage::Host(matrix)
        } else {
            Storage::Dense(decoded(&*matrix)?.to_dtype(dtype)?.to_device(device)?)
        };
        Ok(FrozenWeight { out_features, in_features, storage })
    }

    /// See [`HostMatrix::release`].
    pub fn release(&self) {
        if let Storage::Host(matrix) = &self.storage {
            matrix.release();
        }
    }

    /// A matrix in memory, for a weight that is trained whole: plain operations work on it.
    ///
    /// # Errors
    /// The tensor has not two dimensions.
    pub fn dense(weight: Tensor) -> Result<FrozenWeight> {
        let (out_features, in_features) = weight.dims2()?;
        Ok(FrozenWeight { out_features, in_features, storage: Storage::Dense(weight) })
    }

    /// Rows `ids`, as the embedding looks them up: `[ids, in]`.
    ///
    /// # Errors
    /// An id is outside the matrix.
    pub fn gather(&self, ids: &[u32]) -> Result<Tensor> {
        if let Some(id) = ids.iter().find(|id| **id as usize >= self.out_features) {
            return Err(invalid(format!("token id {id} is outside the vocabulary of {}", self.out_features)));
        }
        match &self.storage {
            Storage::Dense(weight) => Ok(weight.index_select(&Tensor::new(ids, weight.device())?, 0)?),
            Storage::Host(stored) => {
                let width = self.in_features;
                let mut rows = vec![0.0; ids.len() * width];
                for (row, id) in rows.chunks_exact_mut(width).zip(ids) {
                    let start = *id as usize * width;
                    stored.decode(start..start + width, row);
                }
                matrix(rows, ids.len(), width)
            }
        }
    }

    fn stored(&self) -> Stored<'_> {
        match &self.storage {
            Storage::Host(matrix) => matrix.stored(),
            Storage::Dense(_) => unreachable!("kernels run on weights in host memory only"),
        }
    }

    /// The weight as the right operand of a product, `[out, in]`.
    fn operand(&self) -> RightOperand<'_> {
        RightOperand::new(self.stored(), self.out_features, self.in_features)
    }

    /// The weight as a tensor of `like`'s type, for plain operations.
    fn on_device(&self, like: &Tensor) -> Result<Tensor> {
        match &self.storage {
            Storage::Dense(weight) => Ok(weight.to_dtype(like.dtype())?),
            Storage::Host(matrix) => decoded(&**matrix),
        }
    }

    /// Whether kernels of the CPU can work on it.
    pub(crate) fn on_host(&self) -> bool {
        kernels_run(!matches!(self.storage, Storage::Dense(_)))
    }
}

/// All values, `[out, in]`, as f32.
fn decoded(matrix: &dyn HostMatrix) -> Result<Tensor> {
    let [rows, cols] = matrix.shape();
    let mut values = vec![0.0; rows * cols];
    matrix.decode(0..values.len(), &mut values);
    Ok(Tensor::from_vec(values, (rows, cols), &Device::Cpu)?)
}

/// `x · wᵀ`: `[tokens, in]`, whose rows may lie apart, to `[tokens, out]`.
///
/// # Errors
/// Shapes that do not fit, or a device error.
#[tracing::instrument(name = "frozen_linear::forward", level = "trace", skip_all)]
pub fn forward(x: &Tensor, w: &FrozenWeight) -> Result<Tensor> {
    if !w.on_host() {
        return plain_forward(x, w);
    }
    let x = HostRows::new(x)?;
    let y = forward_values(MatRef::new(x.data(), x.rows, x.cols, x.stride), w);
    matrix(y, x.rows, w.out_features)
}

/// `dy · w`: `[tokens, out]`, whose rows may lie apart, to `[tokens, in]`, the gradient of the input.
///
/// # Errors
/// Shapes that do not fit, or a device error.
#[tracing::instrument(name = "frozen_linear::backward", level = "trace", skip_all)]
pub fn backward(dy: &Tensor, w: &FrozenWeight) -> Result<Tensor> {
    if !w.on_host() {
        return plain_backward(dy, w);
    }
    let dy = HostRows::new(dy)?;
    let dx = backward_values(MatRef::new(dy.data(), dy.rows, dy.cols, dy.stride), w);
    matrix(dx, dy.rows, w.in_features)
}

fn plain_forward(x: &Tensor, w: &FrozenWeight) -> Result<Tensor> {
    Ok(x.contiguous()?.matmul(&w.on_device(x)?.t()?)?)
}

fn plain_backward(dy: &Tensor, w: &FrozenWeight) -> Result<Tensor> {
    Ok(dy.contiguous()?.matmul(&w.on_device(dy)?)?)
}

/// Rows of X up to which a dot product per row of W beats the packing of a matrix product.
const FEW: usize = 8;

/// Overwrites `y`, `[x.rows, out]`, with `x · wᵀ`; x is `[any, in]`.
#[tracing::instrument(name = "frozen_linear::forward_host", level = "trace", skip_all)]
pub(crate) fn forward_host(x: MatRef, w: &FrozenWeight, y: &mut [f32]) {
    assert_eq!(x.cols, w.in_features, "the input has the width of the weight");
    if x.rows <= FEW {
        return few_rows(x, w, y);
    }
    let out = w.out_features;
    gemm(&mut MatMut::new(y, x.rows, out, out), Assign::Replace, 1.0, x, w.operand().t());
}

/// [`forward_host`] into new memory.
#[tracing::instrument(name = "frozen_linear::forward_values", level = "trace", skip_all)]
pub(crate) fn forward_values(x: MatRef, w: &FrozenWeight) -> Vec<f32> {
    if x.rows <= FEW {
        let mut y = vec![0.0; x.rows * w.out_features];
        forward_host(x, w, &mut y);
        return y;
    }
    assert_eq!(x.cols, w.in_features, "the input has the width of the weight");
    gemm_values(1.0, x, w.operand().t())
}

/// `dy · w`, `[dy.rows, in]`; dy is `[any, out]`.
#[tracing::instrument(name = "frozen_linear::backward_values", level = "trace", skip_all)]
pub(crate) fn backward_values(dy: MatRef, w: &FrozenWeight) -> Vec<f32> {
    assert_eq!(dy.cols, w.out_features, "the gradient has the height of the weight");
    gemm_values(1.0, dy, w.operand())
}

/// The result of a row does not depend on how many there are.
fn few_rows(x: MatRef, w: &FrozenWeight, y: &mut [f32]) {
    let operand = w.operand();
    let (rows, width, out) = (x.rows, w.in_features, w.out_features);
    if rows == 0 {
        return;
    }
    const CHUNK: usize = 64;
    let mut transposed = vec![0.0; out * rows]; // [out, rows]
    transposed.par_chunks_mut(CHUNK * rows).enumerate().for_each(|(i, chunk)| {
        let mut weight_row = vec![0.0; width];
        for (j, y) in chunk.chunks_exact_mut(rows).enumerate() {
            let start = (i * CHUNK + j) * width;
            if let (Stored::Bf16(bytes), [y]) = (w.stored(), &mut *y) {
                let bytes = &bytes[2 * start..2 * (start + width)];
                *y = simd(
                    #[inline(always)]
                    || dot_bf16(x.row(0), bytes),
                );
                continue;
            }
            simd(
                #[inline(always)]
                || {
                    operand.run(start, &mut weight_row);
                    for (r, y) in y.iter_mut().enumerate() {
                        *y = dot(x.row(r), &weight_row);
                    }
                },
            );
        }
    });
    for (r, y) in y.chunks_exact_mut(out).enumerate() {
        for (j, y) in y.iter_mut().enumerate() {
            *y = transposed[j * rows + r];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::{assert_close, random, weight};

    #[test]
    fn kernel_agrees_with_plain_operations_in_every_storage_type() -> Result<()> {
        // More rows than a panel has, so that panels meet.
        let (out, width) = (3000, 700);
        for dtype in [DType::BF16, DType::F16, DType::F32] {
            let w = weight(out, width, dtype, 1)?;
            for rows in [1, 3, 21] {
                // A column slice, as the halves of packed projections are.
                let x = random(&[rows, 2 * width], 2)?.narrow(1, 5, width)?;
                let dy = random(&[rows, out], 3)?;
                assert_close(&forward(&x, &w)?, &plain_forward(&x, &w)?, 1e-5);
                assert_close(&backward(&dy, &w)?, &plain_backward(&dy, &w)?, 1e-5);
            }
            let rows = w.gather(&[2999, 0])?;
            assert_close(
                &rows,
                &w.on_device(&rows)?.index_select(&Tensor::new(&[2999u32, 0], &Device::Cpu)?, 0)?,
                0.0,
            );
            assert!(w.gather(&[3000]).is_err());
        }
        Ok(())
    }
}
