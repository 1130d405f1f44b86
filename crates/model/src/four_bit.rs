//! A weight matrix in 4 bits, in memory or mapped.

use super::ModelError;
use super::mapped_tensor::{MappedTensor, StoredMatrix};
use olive_core::{Error, Result};
use olive_kernels::quant::double_quant::{self, NestedScales};
use olive_kernels::quant::nf4::{self, Code, NotFinite, Quantised, Scales};
use olive_kernels::{Decode, HostMatrix, Stored};
use std::ops::Range;
use std::sync::Arc;

/// How the linear layers of a base model are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct FourBitFormat {
    pub quant_type: Code,
    /// The scales are quantised too.
    pub double_quant: bool,
}

impl FourBitFormat {
    /// Bits per weight, scales included.
    pub fn bits(self) -> f64 {
        let scale = if self.double_quant { 8.0 + 32.0 / double_quant::BLOCK as f64 } else { 32.0 };
        4.0 + scale / nf4::BLOCK as f64
    }
}

/// A matrix `[out, in]` in blocks of 64 weights. Cloning shares the data.
#[derive(Clone)]
pub struct FourBitMatrix {
    pub shape: [usize; 2],
    pub(super) code: Code,
    /// Two per byte.
    pub(super) codes: Bytes,
    pub(super) scales: StoredScales,
}

#[derive(Clone)]
pub(super) enum Bytes {
    Mapped(MappedTensor),
    Owned(Arc<[u8]>),
}

#[derive(Clone)]
pub(super) enum StoredScales {
    /// Little-endian f32, one per block.
    Plain(Bytes),
    Nested {
        codes: Bytes,
        absmax: Arc<[f32]>,
        offset: f32,
    },
}

impl Bytes {
    pub(super) fn get(&self) -> &[u8] {
        match self {
            Bytes::Mapped(tensor) => tensor.bytes(),
            Bytes::Owned(bytes) => bytes,
        }
    }

    fn mapped(&self) -> Option<&MappedTensor> {
        match self {
            Bytes::Mapped(tensor) => Some(tensor),
            Bytes::Owned(_) => None,
        }
    }

    fn release(&self) {
        self.mapped().into_iter().for_each(MappedTensor::release);
    }
}

/// What stops [`FourBitMatrix::quantise`] inside a task.
enum Stopped {
    NotFinite(NotFinite),
    Other(Error),
}

impl From<NotFinite> for Stopped {
    fn from(at: NotFinite) -> Stopped {
        Stopped::NotFinite(at)
    }
}

impl FourBitMatrix {
    /// Quantises a matrix `[out, in]`, which `read` gives by ranges, into memory, on all threads; nothing but the result is
    /// held. `name` is for messages.
    ///
    /// # Errors
    /// An error of `read`, or values that are not finite.
    pub fn quantise(
        name: &str,
        shape: [usize; 2],
        format: FourBitFormat,
        read: impl Fn(Range<usize>, &mut [f32]) -> Result<()> + Sync,
    ) -> Result<FourBitMatrix> {
        let read = |range, out: &mut [f32]| read(range, out).map_err(Stopped::Other);
        let quantised =
            nf4::quantise(format.quant_type, shape[0] * shape[1], read).map_err(|stopped| match stopped {
                Stopped::Other(error) => error,
                Stopped::NotFinite(NotFinite { near }) => {
                    ModelError::NotFinite { name: name.to_owned(), near }.into()
                }
            })?;
        Ok(FourBitMatrix::new(quantised, shape, format))
    }

    /// A matrix `[out, in]` of these codes; with double quantisation its scales are quantised here.
    pub(super) fn new(quantised: Quantised, shape: [usize; 2], format: FourBitFormat) -> FourBitMatrix {
        let owned = |bytes: Vec<u8>| Bytes::Owned(bytes.into());
        let scales = if format.double_quant {
            let nested = double_quant::quantise(&quantised.absmax);
            StoredScales::Nested {
                codes: owned(nested.codes),
                absmax: nested.absmax.into(),
                offset: nested.offset,
            }
        } else {
            StoredScales::Plain(owned(quantised.absmax.iter().flat_map(|max| max.to_le_bytes()).collect()))
        };
        FourBitMatrix { shape, code: format.quant_type, codes: owned(quantised.codes), scales }
    }

    /// Elements `range` as f32.
    pub fn read_f32(&self, range: Range<usize>, out: &mut [f32]) {
        let scales = match &self.scales {
            StoredScales::Plain(bytes) => Scales::Plain(bytes.get()),
            StoredScales::Nested { codes, absmax, offset } => {
                Scales::Nested(NestedScales { codes: codes.get(), absmax, offset: *offset })
            }
        };
        nf4::decode(self.code, self.codes.get(), scales, range, out);
    }

    /// All values as f32.
    pub fn to_f32(&self) -> Vec<f32> {
        let mut out = vec![0.0; self.shape[0] * self.shape[1]];
        self.read_f32(0..out.len(), &mut out);
        out
    }
}

impl Decode for FourBitMatrix {
    fn decode(&self, range: Range<usize>, out: &mut [f32]) {
        self.read_f32(range, out);
    }
}

impl StoredMatrix for FourBitMatrix {
    fn shape(&self) -> [usize; 2] {
        self.shape
    }

    fn tensors(&self) -> Vec<&MappedTensor> {
        let (StoredScales::Plain(scales) | StoredScales::Nested { codes: scales, .. }) = &self.scales;
        [&self.codes, scales].into_iter().filter_map(Bytes::mapped).collect()
    }
}

impl HostMatrix for FourBitMatrix {
    fn shape(&self) -> [usize; 2] {
        self.shape
    }

    fn stored(&self) -> Stored<'_> {
        Stored::Coded(self)
    }

    fn release(&self) {
        self.codes.release();
        match &self.scales {
            StoredScales::Plain(bytes) | StoredScales::Nested { codes: bytes, .. } => bytes.release(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device};
    use olive_kernels::FrozenWeight;
    use olive_kernels::frozen_linear::{backward, forward};
    use olive_kernels::oracle::{assert_close, random};

    #[test]
    fn four_bit_weights_act_like_the_values_they_decode_to() -> Result<()> {
        // A width that cuts blocks, and more rows than a panel has.
        for (quant_type, double_quant, width) in
            [(Code::Nf4, true, 700), (Code::Nf4, false, 701), (Code::Fp4, true, 64)]
        {
            let out = 1600;
            let values = random(&[out, width], 4)?.flatten_all()?.to_vec1::<f32>()?;
            let format = FourBitFormat { quant_type, double_quant };
            let matrix = FourBitMatrix::quantise("a weight", [out, width], format, |range, part| {
                part.copy_from_slice(&values[range]);
                Ok(())
            })?;
            let w = FrozenWeight::new(Arc::new(matrix.clone()), DType::F32, &Device::Cpu)?;
            let values = candle_core::Tensor::from_vec(matrix.to_f32(), (out, width), &Device::Cpu)?;
            for rows in [1, 3, 21] {
                let x = random(&[rows, width], 2)?;
                let dy = random(&[rows, out], 3)?;
                assert_close(&forward(&x, &w)?, &x.matmul(&values.t()?)?, 1e-5);
                assert_close(&backward(&dy, &w)?, &dy.matmul(&values)?, 1e-5);
            }
            assert_close(
                &w.gather(&[1599, 1])?,
                &values.index_select(&candle_core::Tensor::new(&[1599u32, 1], &Device::Cpu)?, 0)?,
                0.0,
            );
        }
        Ok(())
    }
}
