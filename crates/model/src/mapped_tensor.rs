//! A tensor as it lies in a mapped file, value by value.

use super::ModelError;
use super::mapped_file::MappedFile;
use candle_core::DType;
use olive_core::Result;
use olive_kernels::Decode;
use olive_kernels::quant::FloatType;
use std::sync::Arc;

/// Type, shape and bytes, little-endian, row-major.
#[derive(Clone)]
pub struct MappedTensor {
    pub name: String,
    pub dtype: DType,
    pub shape: Vec<usize>,
    pub(crate) map: Arc<MappedFile>,
    pub(crate) offset: usize,
    pub(crate) len: usize,
}

impl MappedTensor {
    pub fn bytes(&self) -> &[u8] {
        &self.map[self.offset..self.offset + self.len]
    }

    /// See [`Tensor::release`](super::Tensor::release).
    pub fn release(&self) {
        release(&self.map, self.offset, self.len);
    }
}

/// A matrix that several tensors of a file make.
pub(crate) trait StoredMatrix: Decode + Send {
    fn shape(&self) -> [usize; 2];

    /// Those that are read again whenever values are asked for: first its codes.
    fn tensors(&self) -> Vec<&MappedTensor>;
}

/// Says that a part of a mapping will not be read again soon.
pub(crate) fn release(map: &MappedFile, offset: usize, len: usize) {
    #[cfg(unix)]
    if map.is_file() {
        #[expect(unsafe_code, reason = "the system call is offered as unsafe")]
        // SAFETY: the mapping is of a file and never written to, so a dropped page is read again with the same
        // content.
        // A refusal only means that the pages stay, so it is ignored.
        let _ = unsafe { map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, offset, len) };
    }
}

/// Values of a float type, which lie one after the other in `bytes`, as f32. `name` is for messages.
///
/// # Errors
/// It is no float type.
#[inline]
pub(crate) fn read_floats(dtype: DType, bytes: &[u8], out: &mut [f32], name: &str) -> Result<()> {
    match (FloatType::of(dtype), dtype) {
        (Some(float), _) => float.widen(bytes, out),
        (None, DType::F64) => {
            let values = bytes.as_chunks().0.iter().map(|b| f64::from_le_bytes(*b) as f32);
            out.iter_mut().zip(values).for_each(|(out, value)| *out = value);
        }
        (None, other) => {
            return Err(ModelError::Dtype { name: name.to_owned(), found: other.as_str().into() }.into());
        }
    }
    Ok(())
}
