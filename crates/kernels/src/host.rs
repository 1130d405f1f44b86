//! Tensors of the CPU as f32 slices, without a copy.

use candle_core::{CpuStorage, DType, Device, InplaceOp1, Layout, Storage, StorageRef, Tensor};
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
                return Err(super::invalid(format!(
                    "a kernel needs rows of adjacent elements, got the layout {layout:?}"
                )));
            }
        };
        match &*storage {
            Storage::Cpu(CpuStorage::F32(_)) => {}
            _ => {
                return Err(super::invalid(
                    "a CPU kernel was given a tensor that is not f32 in host memory".into(),
                ));
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

/// The tensor itself if it is all that its memory holds, a copy if it is a part of another.
pub(crate) fn whole(tensor: Tensor) -> Result<Tensor> {
    let (storage, layout) = tensor.storage_and_layout();
    let alone = match &*storage {
        Storage::Cpu(CpuStorage::F32(values)) => layout.contiguous_offsets() == Some((0, values.len())),
        _ => false,
    };
    drop(storage);
    Ok(if alone { tensor } else { tensor.force_contiguous()? })
}

/// Lets `change` write into a [`whole`] tensor of f32 on the CPU. Every clone of it changes as well.
pub(crate) fn in_place(tensor: &Tensor, change: impl FnOnce(&mut [f32])) -> Result<()> {
    struct Change<F>(Cell<Option<F>>);
    impl<F: FnOnce(&mut [f32])> InplaceOp1 for Change<F> {
        fn name(&self) -> &'static str {
            "in_place"
        }
        fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> candle_core::Result<()> {
            match (storage, layout.contiguous_offsets(), self.0.take()) {
                (CpuStorage::F32(values), Some((start, end)), Some(change)) => {
                    change(&mut values[start..end]);
                    Ok(())
                }
                _ => candle_core::bail!("only adjacent f32 elements are changed in place"),
            }
        }
    }
    Ok(tensor.inplace_op1(&Change(Cell::new(Some(change))))?)
}

/// `[rows, cols]` on the CPU, taking the values over.
pub(crate) fn matrix(values: Vec<f32>, rows: usize, cols: usize) -> Result<Tensor> {
    Ok(Tensor::from_vec(values, (rows, cols), &Device::Cpu)?)
}

/// Rows that one task of an elementwise kernel takes: enough work to be worth a task, whatever the width.
pub(crate) fn rows_per_task(cols: usize) -> usize {
    (16_384 / cols.max(1)).max(1)
}
