//! The linear layers of a model in 4 bits: made while the checkpoint streams by, kept in a file, mapped from it.
//!
//! The file holds what bitsandbytes serialises for a linear layer.

use super::bitsandbytes::{self, QuantState};
use super::four_bit::{FourBitFormat, StoredScales};
use super::safetensors_file::{Entry, Writer};
use super::{Checkpoint, FourBitMatrix, ModelError, Tensor};
use candle_core::DType;
use olive_arch::Spec;
use olive_core::{Result, error::IoContext};
use olive_kernels::quant::double_quant::{self, DYNAMIC_MAP};
use olive_kernels::quant::{FloatType, nf4};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// What an adapter was trained on, beside the base model itself: `adapter_base.json` in the adapter's folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaseFormat {
    #[serde(flatten)]
    pub format: FourBitFormat,
    /// Key of the base model in the cache, under which its quantised form is kept.
    pub base_key: Option<String>,
    /// LoftQ: the 4-bit weights are not the base's, rounded, but lie beside this file ([`QuantisedBase::BESIDE`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loftq_iter: Option<usize>,
}

impl BaseFormat {
    pub const NAME: &'static str = "adapter_base.json";

    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, adapter: &Path) -> Result<()> {
        let path = adapter.join(Self::NAME);
        let text = serde_json::to_string_pretty(self).expect("plain data");
        std::fs::write(&path, text + "\n").at("write", &path)
    }

    /// `None` for an adapter that was trained on a base in its own type.
    ///
    /// # Errors
    /// The file is there but cannot be understood.
    pub fn read(adapter: &Path) -> Result<Option<BaseFormat>> {
        let path = adapter.join(Self::NAME);
        let record = super::stored_file::read_json(&path)?.map(serde_json::from_value).transpose();
        Ok(record.map_err(|e| ModelError::Damaged { path, reason: e.to_string() })?)
    }
}

/// The quantised linear layers, by weight name. Embedding, head, norms and biases are not among them.
#[derive(Clone)]
pub struct QuantisedBase {
    pub format: FourBitFormat,
    matrices: BTreeMap<String, FourBitMatrix>,
}

/// Bytes of the JSON text, padded with spaces: the header of the file is written before the text is known.
const STATE: usize = 256;

/// The tensors that are quantised, in the order of the layers.
pub(super) fn sources<'a>(spec: &Spec, checkpoint: &'a Checkpoint) -> Result<Vec<&'a Tensor>> {
    spec.all_linears()
        .map(|linear| {
            let shape = [linear.out_features, linear.in_features];
            checkpoint.tensor_of(&linear.weight_name(), &shape)
        })
        .collect()
}

/// The tensor, a matrix, in 4 bits.
pub(super) fn in_four_bits(tensor: &Tensor, format: FourBitFormat) -> Result<FourBitMatrix> {
    let rows = tensor.shape.first().copied().unwrap_or(1);
    let cols = tensor.element_count() / rows.max(1);
    FourBitMatrix::quantise(&tensor.name, [rows, cols], format, |range, out| tensor.read_f32(range, out))
}

impl QuantisedBase {
    /// Name of the file.
    pub const FILE: &'static str = "linears.safetensors";
    /// Name of the file in the folder of an adapter that goes with these weights only.
    pub const BESIDE: &'static str = "adapter_base.safetensors";

    /// Number of matrices that a model has.
    pub fn count(spec: &Spec) -> usize {
        spec.all_linears().count()
    }

    /// Bytes of the model in `checkpoint` with its linear layers in `format`.
    ///
    /// # Errors
    /// A missing or misshapen tensor.
    pub fn model_size(spec: &Spec, checkpoint: &Checkpoint, format: FourBitFormat) -> Result<u64> {
        let linears = sources(spec, checkpoint)?;
        let stored: u64 = linears.iter().map(|tensor| tensor.stored_size()).sum();
        let weights: usize = linears.iter().map(|tensor| tensor.element_count()).sum();
        Ok(checkpoint.size() - stored + (weights as f64 * format.bits() / 8.0) as u64)
    }

    /// Quantises into memory; `done` is told the number of finished matrices and may stop the work.
    ///
    /// # Errors
    /// A missing or misshapen tensor, values that are not finite, an error of `done`.
    pub fn in_memory(
        spec: &Spec,
        checkpoint: &Checkpoint,
        format: FourBitFormat,
        mut done: impl FnMut(usize) -> Result<()>,
    ) -> Result<QuantisedBase> {
        let mut matrices = BTreeMap::new();
        for (i, tensor) in sources(spec, checkpoint)?.into_iter().enumerate() {
            matrices.insert(tensor.name.clone(), in_four_bits(tensor, format)?);
            tensor.release();
            done(i + 1)?;
        }
        Ok(QuantisedBase { format, matrices })
    }

    /// Quantises into a file, one matrix after the other; `done` as in [`QuantisedBase::in_memory`].
    ///
    /// # Errors
    /// As [`QuantisedBase::in_memory`], or the file cannot be written.
    pub fn write(
        spec: &Spec,
        checkpoint: &Checkpoint,
        format: FourBitFormat,
        file: &Path,
        mut done: impl FnMut(usize) -> Result<()>,
    ) -> Result<()> {
        let tensors = sources(spec, checkpoint)?;
        let entries: Vec<Entry> = tensors.iter().flat_map(|tensor| entries(tensor, format)).collect();
        let mut writer = Writer::create(file, &entries)?;
        for (i, tensor) in tensors.into_iter().enumerate() {
            let matrix = in_four_bits(tensor, format)?;
            tensor.release();
            write_matrix(&matrix, tensor.dtype, &mut writer)?;
            done(i + 1)?;
        }
        writer.finish()
    }

    /// Maps a file that [`QuantisedBase::write`] wrote.
    ///
    /// # Errors
    /// The file is missing, damaged, or of another model or format.
    pub fn open(spec: &Spec, format: FourBitFormat, file: &Path) -> Result<QuantisedBase> {
        let stored = Checkpoint::open_file(file)?;
        let damaged = |reason: String| ModelError::Damaged { path: file.to_owned(), reason };
        let mut matrices = BTreeMap::new();
        for linear in spec.all_linears() {
            let name = linear.weight_name();
            let part = |suffix: &str| stored.get(&format!("{name}{suffix}")).map(Tensor::mapped);
            let matrix = bitsandbytes::matrix(format.quant_type, &part)
                .map_err(|reason| damaged(format!("`{name}`: {reason}")))?;
            if matrix.shape != [linear.out_features, linear.in_features] {
                return Err(damaged(format!("`{name}` has another shape")).into());
            }
            if matches!(matrix.scales, StoredScales::Nested { .. }) != format.double_quant {
                return Err(damaged(format!("`{name}` has scales of another kind")).into());
            }
            matrices.insert(name, matrix);
        }
        Ok(QuantisedBase { format, matrices })
    }

    /// The weights that lie beside an adapter of LoftQ, which is of no use on any others; `None` for other adapters.
    ///
    /// # Errors
    /// As [`QuantisedBase::open`], or the adapter's record cannot be understood.
    pub fn beside(adapter: &Path, spec: &Spec) -> Result<Option<QuantisedBase>> {
        match BaseFormat::read(adapter)? {
            Some(BaseFormat { format, loftq_iter: Some(_), .. }) => {
                QuantisedBase::open(spec, format, &adapter.join(Self::BESIDE)).map(Some)
            }
            _ => Ok(None),
        }
    }

    pub fn get(&self, name: &str) -> Option<&FourBitMatrix> {
        self.matrices.get(name)
    }
}

fn state_suffix(format: FourBitFormat) -> String {
    format!("{}{}", bitsandbytes::STATE, format.quant_type.name())
}

/// The tensors of one matrix, in the order of [`write_matrix`].
pub(super) fn entries(tensor: &Tensor, format: FourBitFormat) -> Vec<Entry> {
    let count = tensor.element_count();
    let blocks = count.div_ceil(nf4::BLOCK);
    let entry = |suffix: &str, dtype: &'static str, shape: Vec<usize>| {
        let width = if dtype == "F32" { 4 } else { 1 };
        let bytes = width * shape.iter().product::<usize>();
        Entry { name: format!("{}{suffix}", tensor.name), dtype, shape, bytes }
    };
    let mut entries =
        vec![entry(".quant_map", "F32", vec![16]), entry(&state_suffix(format), "U8", vec![STATE])];
    if format.double_quant {
        entries.push(entry(".nested_quant_map", "F32", vec![256]));
        entries.push(entry(".nested_absmax", "F32", vec![blocks.div_ceil(double_quant::BLOCK)]));
        entries.push(entry(".absmax", "U8", vec![blocks]));
    } else {
        entries.push(entry(".absmax", "F32", vec![blocks]));
    }
    entries.push(entry("", "U8", vec![count.div_ceil(2), 1]));
    entries
}

pub(super) fn write_matrix(matrix: &FourBitMatrix, dtype: DType, writer: &mut Writer) -> Result<()> {
    let floats = |values: &[f32]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
    let nested = match &matrix.scales {
        StoredScales::Plain(_) => None,
        StoredScales::Nested { offset, .. } => Some(*offset),
    };
    let state = QuantState {
        quant_type: matrix.code,
        blocksize: nf4::BLOCK,
        dtype: match FloatType::of(dtype) {
            Some(FloatType::Bf16) => "bfloat16",
            Some(FloatType::F16) => "float16",
            Some(FloatType::F32) | None => "float32",
        }
        .into(),
        shape: matrix.shape,
        nested_blocksize: nested.map(|_| double_quant::BLOCK),
        nested_dtype: nested.map(|_| "float32".into()),
        nested_offset: nested,
    };
    let mut text = serde_json::to_vec(&state).expect("plain data");
    assert!(text.len() <= STATE, "the numbers of a state have bounded lengths");
    text.resize(STATE, b' ');
    writer.write(&floats(&matrix.code.table()))?;
    writer.write(&text)?;
    match &matrix.scales {
        StoredScales::Plain(bytes) => writer.write(bytes.get())?,
        StoredScales::Nested { codes, absmax, .. } => {
            writer.write(&floats(&DYNAMIC_MAP[..]))?;
            writer.write(&floats(absmax))?;
            writer.write(codes.get())?;
        }
    }
    writer.write(matrix.codes.get())
}
