//! Linear layers whose weight is frozen: the weight stays in its storage form, gets no gradient and no f32 copy.
//!
//! Forward `Y = X·Wᵀ` and backward `dX = dY·W` decode W while the product packs it. A few rows of X (generation) need no
//! packing: each row of W is decoded into a row buffer and used at once.

use super::gemm::{Decode, Mat, MatMut, Right, Stored, Write, gemm, gemm_values};
use super::host::{HostRows, kernels_run, matrix};
use super::vector::{dot, dot_bf16, simd};
use crate::Result;
use crate::model::{self, FourBitMatrix};
use candle_core::{DType, Device, Tensor};
use rayon::prelude::*;
use std::ops::Range;

/// A frozen matrix `[out, in]`.
#[derive(Clone)]
pub struct FrozenWeight {
    pub out_features: usize,
    pub in_features: usize,
    storage: Storage,
}

#[derive(Clone)]
enum Storage {
    /// Bytes of the mapped checkpoint, decoded when they are used.
    Mapped(model::Tensor),
    /// Blocks of 4 bits, decoded when they are used.
    FourBit(FourBitMatrix),
    /// On a device with memory of its own.
    Device(Tensor),
}

impl FrozenWeight {
    /// Keeps the mapping on the CPU; uploads to any other device, as `dtype`.
    ///
    /// # Errors
    /// The tensor has not two dimensions or is not of a float type, or the device has no room.
    pub fn load(tensor: &model::Tensor, dtype: DType, device: &Device) -> Result<FrozenWeight> {
        let &[out_features, in_features] = tensor.shape.as_slice() else {
            return Err(super::invalid(format!(
                "`{}` is not a matrix but of shape {:?}",
                tensor.name, tensor.shape
            )));
        };
        // Fails here, and so never later, when the type is not a float.
        tensor.read_f32(0..0, &mut [])?;
        let storage = if device.is_cpu() {
            Storage::Mapped(tensor.clone())
        } else {
            let host = Tensor::from_raw_buffer(tensor.bytes(), tensor.dtype, &tensor.shape, &Device::Cpu)?;
            Storage::Device(host.to_device(device)?.to_dtype(dtype)?)
        };
        Ok(FrozenWeight { out_features, in_features, storage })
    }

    /// Keeps the 4 bits on the CPU; any other device gets the decoded values, as `dtype`.
    ///
    /// # Errors
    /// The device has no room.
    pub fn four_bit(matrix: &FourBitMatrix, dtype: DType, device: &Device) -> Result<FrozenWeight> {
        let [out_features, in_features] = matrix.shape;
        let storage = if device.is_cpu() {
            Storage::FourBit(matrix.clone())
        } else {
            let host = Tensor::from_vec(matrix.to_f32(), (out_features, in_features), &Device::Cpu)?;
            Storage::Device(host.to_dtype(dtype)?.to_device(device)?)
        };
        Ok(FrozenWeight { out_features, in_features, storage })
    }

    /// Says that the weight will not be used again soon; see [`model::Tensor::release`].
    pub fn release(&self) {
        match &self.storage {
            Storage::Mapped(tensor) => tensor.release(),
            Storage::FourBit(matrix) => matrix.release(),
            Storage::Device(_) => {}
        }
    }

    /// A matrix in memory, for a weight that is trained whole: plain operations work on it.
    ///
    /// # Errors
    /// The tensor has not two dimensions.
    pub fn dense(weight: Tensor) -> Result<FrozenWeight> {
        let (out_features, in_features) = weight.dims2()?;
        Ok(FrozenWeight { out_features, in_features, storage: Storage::Device(weight) })
    }

    /// A matrix of f32 values in this process's memory, `[out, in]`.
    ///
    /// # Errors
    /// There is no room for it.
    pub fn from_values(values: &[f32], out_features: usize, in_features: usize) -> Result<FrozenWeight> {
        let tensor = model::Tensor::in_memory("a weight", &[out_features, in_features], values)
            .map_err(|e| super::invalid(format!("no room for a weight: {e}")))?;
        Ok(FrozenWeight { out_features, in_features, storage: Storage::Mapped(tensor) })
    }

    /// Rows `ids`, as the embedding looks them up: `[ids, in]`.
    ///
    /// # Errors
    /// An id is outside the matrix.
    pub fn gather(&self, ids: &[u32]) -> Result<Tensor> {
        if let Some(id) = ids.iter().find(|id| **id as usize >= self.out_features) {
            return Err(super::invalid(format!(
                "token id {id} is outside the vocabulary of {}",
                self.out_features
            )));
        }
        match &self.storage {
            Storage::Device(weight) => Ok(weight.index_select(&Tensor::new(ids, weight.device())?, 0)?),
            Storage::Mapped(_) | Storage::FourBit(_) => {
                let width = self.in_features;
                let mut rows = vec![0.0; ids.len() * width];
                for (row, id) in rows.chunks_exact_mut(width).zip(ids) {
                    let start = *id as usize * width;
                    self.decode(start..start + width, row);
                }
                matrix(rows, ids.len(), width)
            }
        }
    }

    /// Elements `range` of a weight in host memory, as f32.
    fn decode(&self, range: Range<usize>, out: &mut [f32]) {
        match &self.storage {
            Storage::Mapped(tensor) => {
                tensor.read_f32(range, out).expect("a float type, as `load` checked");
            }
            Storage::FourBit(matrix) => matrix.read_f32(range, out),
            Storage::Device(_) => unreachable!("kernels run on weights in host memory only"),
        }
    }

    /// The bytes, if they are of this type.
    fn stored_as(&self, dtype: DType) -> Option<&[u8]> {
        match &self.storage {
            Storage::Mapped(tensor) if tensor.dtype == dtype => Some(tensor.bytes()),
            _ => None,
        }
    }

    /// The weight as the right operand of a product, `[out, in]`.
    fn operand(&self) -> Right<'_> {
        let floats = |bytes| bytemuck::try_cast_slice::<u8, f32>(bytes).ok();
        let stored = if let Some(bytes) = self.stored_as(DType::BF16) {
            Stored::Bf16(bytes)
        } else if let Some(bytes) = self.stored_as(DType::F16) {
            Stored::F16(bytes)
        } else if let Some(values) = self.stored_as(DType::F32).and_then(floats)
            && cfg!(target_endian = "little")
        {
            Stored::F32(values)
        } else {
            Stored::Coded(self)
        };
        Right::new(stored, self.out_features, self.in_features)
    }

    /// The weight as a tensor of `like`'s type, for plain operations.
    fn on_device(&self, like: &Tensor) -> Result<Tensor> {
        match &self.storage {
            Storage::Device(weight) => Ok(weight.to_dtype(like.dtype())?),
            Storage::Mapped(tensor) => {
                Ok(Tensor::from_vec(tensor.to_f32()?, tensor.shape.as_slice(), &Device::Cpu)?)
            }
            Storage::FourBit(matrix) => {
                Ok(Tensor::from_vec(matrix.to_f32(), matrix.shape.as_slice(), &Device::Cpu)?)
            }
        }
    }

    /// Whether kernels of the CPU can work on it.
    pub(crate) fn on_host(&self) -> bool {
        kernels_run(!matches!(self.storage, Storage::Device(_)))
    }
}

impl Decode for FrozenWeight {
    fn decode(&self, range: Range<usize>, out: &mut [f32]) {
        FrozenWeight::decode(self, range, out);
    }
}

/// `x · wᵀ`: `[tokens, in]` to `[tokens, out]`.
///
/// # Errors
/// Shapes that do not fit, or a device error.
#[tracing::instrument(name = "frozen_linear::forward", level = "trace", skip_all)]
pub fn forward(x: &Tensor, w: &FrozenWeight) -> Result<Tensor> {
    if !w.on_host() {
        return plain_forward(x, w);
    }
    let x = HostRows::new(x)?;
    let y = forward_values(Mat::new(x.data(), x.rows, x.cols, x.stride), w);
    matrix(y, x.rows, w.out_features)
}

/// `dy · w`: `[tokens, out]` to `[tokens, in]`, the gradient of the input.
///
/// # Errors
/// Shapes that do not fit, or a device error.
#[tracing::instrument(name = "frozen_linear::backward", level = "trace", skip_all)]
pub fn backward(dy: &Tensor, w: &FrozenWeight) -> Result<Tensor> {
    if !w.on_host() {
        return plain_backward(dy, w);
    }
    let dy = HostRows::new(dy)?;
    let dx = backward_values(Mat::new(dy.data(), dy.rows, dy.cols, dy.stride), w);
    matrix(dx, dy.rows, w.in_features)
}

fn plain_forward(x: &Tensor, w: &FrozenWeight) -> Result<Tensor> {
    Ok(x.contiguous()?.matmul(&w.on_device(x)?.t()?)?)
}

fn plain_backward(dy: &Tensor, w: &FrozenWeight) -> Result<Tensor> {
    Ok(dy.contiguous()?.matmul(&w.on_device(dy)?)?)
}

/// Rows of X up to which a dot product per row of W beats the packing of a matrix product.
const FEW: usize = 4;

/// Overwrites `y`, `[x.rows, out]`.
#[tracing::instrument(name = "frozen_linear::forward_host", level = "trace", skip_all)]
pub(crate) fn forward_host(x: Mat, w: &FrozenWeight, y: &mut [f32]) {
    assert_eq!(x.cols, w.in_features, "the input has the width of the weight");
    if x.rows <= FEW {
        return few_rows(x, w, y);
    }
    let out = w.out_features;
    gemm(&mut MatMut::new(y, x.rows, out, out), Write::Replace, 1.0, x, w.operand().t());
}

/// [`forward_host`] into new memory.
#[tracing::instrument(name = "frozen_linear::forward_values", level = "trace", skip_all)]
pub(crate) fn forward_values(x: Mat, w: &FrozenWeight) -> Vec<f32> {
    if x.rows <= FEW {
        let mut y = vec![0.0; x.rows * w.out_features];
        forward_host(x, w, &mut y);
        return y;
    }
    assert_eq!(x.cols, w.in_features, "the input has the width of the weight");
    gemm_values(1.0, x, w.operand().t())
}

/// `[dy.rows, in]`.
#[tracing::instrument(name = "frozen_linear::backward_values", level = "trace", skip_all)]
pub(crate) fn backward_values(dy: Mat, w: &FrozenWeight) -> Vec<f32> {
    assert_eq!(dy.cols, w.out_features, "the gradient has the height of the weight");
    gemm_values(1.0, dy, w.operand())
}

fn few_rows(x: Mat, w: &FrozenWeight, y: &mut [f32]) {
    let stored_bf16 = w.stored_as(DType::BF16);
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
            if let (Some(bytes), [y]) = (stored_bf16, &mut *y) {
                let bytes = &bytes[2 * start..2 * (start + width)];
                *y = simd(
                    #[inline(always)]
                    || dot_bf16(x.row(0), bytes),
                );
                continue;
            }
            w.decode(start..start + width, &mut weight_row);
            for (r, y) in y.iter_mut().enumerate() {
                *y = simd(
                    #[inline(always)]
                    || dot(x.row(r), &weight_row),
                );
            }
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
    use crate::ops::plain::oracle::{assert_close, random, weight};

    #[test]
    fn four_bit_weights_act_like_the_values_they_decode_to() -> Result<()> {
        use crate::quant::nf4::Code;
        // A width that cuts blocks, and more rows than a panel has.
        for (quant_type, double_quant, width) in
            [(Code::Nf4, true, 700), (Code::Nf4, false, 701), (Code::Fp4, true, 64)]
        {
            let out = 1600;
            let Storage::Mapped(tensor) = weight(out, width, DType::BF16, 4)?.storage else {
                unreachable!("a mapped weight")
            };
            let matrix = FourBitMatrix::quantise(&tensor, model::FourBitFormat { quant_type, double_quant })?;
            let w = FrozenWeight::four_bit(&matrix, DType::F32, &Device::Cpu)?;
            let values = Tensor::from_vec(matrix.to_f32(), (out, width), &Device::Cpu)?;
            for rows in [1, 3, 21] {
                let x = random(&[rows, width], 2)?;
                let dy = random(&[rows, out], 3)?;
                assert_close(&forward(&x, &w)?, &x.matmul(&values.t()?)?, 1e-5);
                assert_close(&backward(&dy, &w)?, &dy.matmul(&values)?, 1e-5);
            }
            assert_close(
                &w.gather(&[1599, 1])?,
                &values.index_select(&Tensor::new(&[1599u32, 1], &Device::Cpu)?, 0)?,
                0.0,
            );
        }
        Ok(())
    }

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
