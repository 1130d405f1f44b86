//! A weight matrix in 4 bits, in memory or mapped.

use super::{ModelError, Tensor};
use crate::quant::double_quant::{self, NestedScales};
use crate::quant::nf4::{self, Code, NotFinite, Quantised, Scales};
use crate::{Error, Result};
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
    Mapped(Tensor),
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

    fn release(&self) {
        if let Bytes::Mapped(tensor) = self {
            tensor.release();
        }
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
    /// Quantises a matrix `[out, in]` into memory, on all threads; nothing but the result is held.
    ///
    /// # Errors
    /// The tensor is not of a float type, or holds values that are not finite.
    pub fn quantise(tensor: &Tensor, format: FourBitFormat) -> Result<FourBitMatrix> {
        let rows = tensor.shape.first().copied().unwrap_or(1);
        let cols = tensor.element_count() / rows.max(1);
        let read = |range, out: &mut [f32]| tensor.read_f32(range, out).map_err(Stopped::Other);
        let quantised =
            nf4::quantise(format.quant_type, rows * cols, read).map_err(|stopped| match stopped {
                Stopped::Other(error) => error,
                Stopped::NotFinite(NotFinite { near }) => {
                    ModelError::NotFinite { name: tensor.name.clone(), near }.into()
                }
            })?;
        Ok(FourBitMatrix::new(quantised, [rows, cols], format))
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

    /// As [`Tensor::release`].
    pub fn release(&self) {
        self.codes.release();
        match &self.scales {
            StoredScales::Plain(bytes) | StoredScales::Nested { codes: bytes, .. } => bytes.release(),
        }
    }
}
