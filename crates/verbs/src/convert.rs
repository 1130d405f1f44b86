//! `olive convert-adapters`: a PEFT adapter as a file for ONNX models; `olive extract-adapters`, as far as it goes.

use crate::error::VerbError;
use crate::input::adapter_folder;
use crate::int4;
pub use crate::int4::Int4Options;
use crate::weights_file::{self, WeightsFormat};
use half::f16;
use olive_core::Result;
use olive_kernels::quant::FloatType;
use olive_model::{Adapter, AdapterConfig, Checkpoint};
use olive_onnx::adapter_file::{AdapterParameter, Versions};
use std::path::{Path, PathBuf};

/// Options of `convert-adapters`.
#[derive(Debug, Clone)]
pub struct Options {
    /// The suffix of the format is added.
    pub output_path: String,
    pub format: WeightsFormat,
    /// Of float matrices, and of scales.
    pub float: FloatType,
    /// `None`: matrices stay float.
    pub int4: Option<Int4Options>,
}

/// Writes what the folder of an adapter, or of a run that made one, holds, and gives the file.
///
/// The matrices are transposed, `[in, rank]` and `[rank, out]`, and B is multiplied by the adapter's scale, so that what a
/// graph adds is `x · A · B`. Four-bit matrices are quantised along their first dimension.
///
/// # Errors
/// A format that is not there, an adapter that cannot be read or is of another kind, a file that cannot be written.
pub fn convert(adapter: &Path, options: &Options) -> Result<PathBuf> {
    weights_file::check(options.format, "--adapter_format")?;
    let adapter = &adapter_folder(adapter);
    let refuse = |reason: String, hint| VerbError::Adapter { path: adapter.clone(), reason, hint };
    if AdapterConfig::open(adapter)?.use_dora {
        let hint = "merge it: `olive run` with the pass MergeAdapterWeights";
        return Err(refuse("it is of DoRA, which scales the rows of the base".into(), hint).into());
    }
    let opened = Adapter::open(adapter)?;
    if let Some(module) = opened.whole.keys().next() {
        let hint = "merge it: `olive run` with the pass MergeAdapterWeights";
        return Err(refuse(format!("it takes the place of `{module}`"), hint).into());
    }
    let mut tensors = Vec::with_capacity(2 * opened.modules.len());
    for (module, pair) in opened.modules {
        let scale = pair.scale;
        let matrices = [
            ("lora_A", pair.a, [pair.rank, pair.in_features], None),
            ("lora_B", pair.b, [pair.out_features, pair.rank], Some(scale)),
        ];
        for (part, mut values, shape, scale) in matrices {
            let name = format!("{module}.{part}.weight");
            scaled(&mut values, options.float, scale);
            match options.int4 {
                None => tensors.push(float_tensor(name, &values, shape, options.float)),
                Some(int4) => tensors.extend(int4::quantise(&name, values, shape, int4, options.float)),
            }
        }
    }
    let path = options.format.with_suffix(&options.output_path);
    olive_onnx::weights_file::write(&path, options.format, &tensors, Versions::UNSAID)?;
    Ok(path)
}

/// Rounded to the type, and multiplied in it.
fn scaled(values: &mut [f32], float: FloatType, scale: Option<f64>) {
    float.round(values);
    let Some(scale) = scale else { return };
    let scale = match float {
        FloatType::F16 => f16::from_f64(scale).to_f32(),
        FloatType::F32 | FloatType::Bf16 => scale as f32,
    };
    values.iter_mut().for_each(|value| *value *= scale);
    float.round(values);
}

fn float_tensor(
    name: String,
    values: &[f32],
    [rows, cols]: [usize; 2],
    float: FloatType,
) -> AdapterParameter {
    let transposed: Vec<f32> =
        (0..cols).flat_map(|column| values.iter().skip(column).step_by(cols)).copied().collect();
    let bytes = float.to_bytes(&transposed);
    AdapterParameter { name, data_type: weights_file::element(float), dims: vec![cols, rows], bytes }
}

/// `olive extract-adapters`: nothing here has LoRA matrices in its own weights, which it says.
///
/// # Errors
/// Always: a folder that is no checkpoint, a model that has none, or one that has.
pub fn extract(given: &str, model: &Path, format: WeightsFormat) -> Result<()> {
    let inside = Checkpoint::open(model)?.tensors().any(|tensor| tensor.name.contains(".lora_A."));
    if !inside {
        return Err(VerbError::NothingToExtract { given: given.to_owned() }.into());
    }
    weights_file::check(format, "--format")?;
    let why = "LoRA matrices in the weights of a model itself are not taken out";
    Err(VerbError::unsupported("extract-adapters", why, None).into())
}
