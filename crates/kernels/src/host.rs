//! Tensors of the CPU as f32 slices, without a copy.

use super::error::invalid;
use candle_core::{CpuStorage, DType, Device, InplaceOp1, Layout, Shape, Storage, StorageRef, Tensor};
use olive_core::Result;
use std::cell::Cell;

/// A tensor of the CPU seen as a matrix whose rows may lie apart, as those of a column slice do. Leading dimensions
/// count as rows.
pub(crate) struct HostRows<'a> {
    storage: StorageRef<'a>,
    offset: usize,
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    pub(crate) stride: usize,
}

impl<'a> HostRows<'a> {
    /// # Errors
    /// The tensor is not f32 on the CPU, or the elements of a row are not adjacent.
    pub(crate) fn new(tensor: &'a Tensor) -> Result<HostRows<'a>> {
        let cols = tensor.dims().last().copied().unwrap_or(1);
        let rows = tensor.elem_count() / cols.max(1);
        let (storage, layout) = tensor.storage_and_layout();
        let stride = match (layout.is_contiguous(), layout.stride()) {
            (true, _) => cols,
            (false, &[stride, 1]) => stride,
            _ => {
                return Err(invalid(format!(
                    "a kernel needs rows of adjacent elements, got the layout {layout:?}"
                )));
            }
        };
        match &*storage {
            Storage::Cpu(CpuStorage::F32(_)) => {}
            _ => {
                return Err(invalid(NOT_READABLE.into()));
            }
        }
        let offset = layout.start_offset();
        Ok(HostRows { storage, offset, rows, cols, stride })
    }

    /// From the first element of the first row to the last of the last.
    pub(crate) fn data(&self) -> &[f32] {
        let Storage::Cpu(CpuStorage::F32(values)) = &*self.storage else {
            unreachable!("checked by the constructor")
        };
        let len = if self.rows == 0 { 0 } else { (self.rows - 1) * self.stride + self.cols };
        &values[self.offset..self.offset + len]
    }

    pub(crate) fn row(&self, index: usize) -> &[f32] {
        &self.data()[index * self.stride..][..self.cols]
    }
}

thread_local! {
    static ONLY_PLAIN: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Runs `f` as on a device without kernels, for tests.
pub fn without_kernels<R>(f: impl FnOnce() -> R) -> R {
    ONLY_PLAIN.set(true);
    let result = f();
    ONLY_PLAIN.set(false);
    result
}

/// Type of activations on a device where `asked` was asked for: the kernels of the CPU take f32 alone.
pub fn activation_type(asked: DType, device: &Device) -> DType {
    if device.is_cpu() { DType::F32 } else { asked }
}

/// Whether the kernels of the CPU can work on a tensor that lies there.
pub(crate) fn kernels_run(on_host: bool) -> bool {
    on_host && !ONLY_PLAIN.get()
}

/// Whether a kernel can work on the tensor, or plain operations must.
pub(crate) fn has_kernel(tensor: &Tensor) -> bool {
    kernels_run(tensor.device().is_cpu())
}

/// f32 values in host memory that nobody else holds, and that may therefore be written: what a kernel makes its result of
/// where its input lay.
///
/// A candle tensor shares its memory with its clones and views, and cannot tell whether there are any. So the vector is
/// taken out of the tensor's memory: this value owns it as Rust means it, and no other handle can read what is written
/// here. Other handles to that memory, if there are any, hold nothing from then on, and kernels and candle's operations
/// refuse them. Where the tensor is a part of another one, as a slice of columns is, its elements are copied, and the other
/// stays as it is.
pub(crate) struct Owned {
    values: Vec<f32>,
    shape: Shape,
}

impl Owned {
    /// # Errors
    /// The tensor is not f32 on the CPU, or its memory was taken before.
    pub(crate) fn take(tensor: Tensor) -> Result<Owned> {
        struct Take(Cell<Option<Vec<f32>>>);
        impl InplaceOp1 for Take {
            fn name(&self) -> &'static str {
                "take"
            }
            fn cpu_fwd(&self, storage: &mut CpuStorage, _: &Layout) -> candle_core::Result<()> {
                match std::mem::replace(storage, TAKEN) {
                    CpuStorage::F32(values) => {
                        self.0.set(Some(values));
                        Ok(())
                    }
                    other => {
                        *storage = other;
                        candle_core::bail!("{NOT_READABLE}")
                    }
                }
            }
        }
        let shape = tensor.shape().clone();
        let tensor = if fills_its_memory(&tensor) { tensor } else { tensor.force_contiguous()? };
        let take = Take(Cell::new(None));
        tensor.inplace_op1(&take)?;
        match take.0.take() {
            Some(values) if values.len() == shape.elem_count() => Ok(Owned { values, shape }),
            Some(_) | None => Err(invalid(NOT_READABLE.into())),
        }
    }

    /// All of them, row by row.
    pub(crate) fn values(&mut self) -> &mut [f32] {
        &mut self.values
    }

    /// Elements of a row.
    pub(crate) fn cols(&self) -> usize {
        self.shape.dims().last().copied().unwrap_or(1)
    }

    /// A tensor of the values, in the shape of the one that they were taken from.
    pub(crate) fn into_tensor(self) -> Result<Tensor> {
        Ok(Tensor::from_vec(self.values, self.shape, &Device::Cpu)?)
    }
}

/// What is left of memory that was taken: of a type that no operation computes with.
const TAKEN: CpuStorage = CpuStorage::F4(Vec::new());

const NOT_READABLE: &str = "a kernel of the CPU was given a tensor that is not f32 in host memory, or whose memory another \
                            kernel has taken for its result";

/// Whether the tensor is all that its memory holds, in its order.
fn fills_its_memory(tensor: &Tensor) -> bool {
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cpu(CpuStorage::F32(values)) => layout.contiguous_offsets() == Some((0, values.len())),
        _ => false,
    }
}

/// `[rows, cols]` on the CPU, taking the values over.
pub(crate) fn matrix(values: Vec<f32>, rows: usize, cols: usize) -> Result<Tensor> {
    Ok(Tensor::from_vec(values, (rows, cols), &Device::Cpu)?)
}

/// Rows that one task of an elementwise kernel takes: enough work to be worth a task, whatever the width.
pub(crate) fn rows_per_task(cols: usize) -> usize {
    (16_384 / cols.max(1)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_handles_to_taken_memory_are_refused() -> Result<()> {
        let tensor = Tensor::new(&[[1f32, 2.0], [3.0, 4.0]], &Device::Cpu)?;
        let (clone, view) = (tensor.clone(), tensor.narrow(0, 1, 1)?);
        let mut owned = Owned::take(tensor)?;
        owned.values()[0] = 7.0;
        for other in [&clone, &view] {
            assert!(HostRows::new(other).is_err());
            assert!(other.flatten_all().and_then(|t| t.to_vec1::<f32>()).is_err());
            assert!(other.matmul(&Tensor::ones((2, 2), candle_core::DType::F32, &Device::Cpu)?).is_err());
            assert!(Owned::take(other.clone()).is_err());
        }
        assert_eq!(owned.into_tensor()?.to_vec2::<f32>()?, [[7.0, 2.0], [3.0, 4.0]]);
        Ok(())
    }

    #[test]
    fn a_part_of_a_tensor_is_copied() -> Result<()> {
        let tensor = Tensor::new(&[[1f32, 2.0], [3.0, 4.0]], &Device::Cpu)?;
        for part in [tensor.narrow(1, 1, 1)?, tensor.narrow(0, 0, 1)?, tensor.t()?] {
            let want = part.to_vec2::<f32>()?;
            let mut owned = Owned::take(part)?;
            assert_eq!(owned.values(), want.concat());
            owned.values().fill(0.0);
        }
        assert_eq!(tensor.to_vec2::<f32>()?, [[1.0, 2.0], [3.0, 4.0]]);
        Ok(())
    }
}
