//! `--adapter_format`: files of named tensors.

use crate::error::VerbError;
use crate::words::Word;
use olive_kernels::quant::FloatType;
use olive_onnx::proto::data_type;
pub use olive_onnx::weights_file::WeightsFormat;

impl Word for WeightsFormat {
    const ALL: &'static [WeightsFormat] = &[
        WeightsFormat::Pickle,
        WeightsFormat::Numpy,
        WeightsFormat::Safetensors,
        WeightsFormat::OnnxAdapter,
    ];

    fn word(self) -> &'static str {
        match self {
            WeightsFormat::Pickle => "pt",
            WeightsFormat::Numpy => "numpy",
            WeightsFormat::Safetensors => "safetensors",
            WeightsFormat::OnnxAdapter => "onnx_adapter",
        }
    }
}

/// # Errors
/// PyTorch's pickles, which are programs. `option` is what asked for the format.
pub(crate) fn check(format: WeightsFormat, option: &str) -> Result<(), VerbError> {
    match format {
        WeightsFormat::Pickle => Err(VerbError::unsupported(
            format!("{option} pt"),
            "a pickle runs code where it is read",
            Some("`safetensors`, `numpy` or `onnx_adapter`"),
        )),
        WeightsFormat::Numpy | WeightsFormat::Safetensors | WeightsFormat::OnnxAdapter => Ok(()),
    }
}

/// The type of the elements of a matrix, or of its scales.
pub(crate) fn element(float: FloatType) -> i32 {
    match float {
        FloatType::F16 => data_type::FLOAT16,
        FloatType::F32 | FloatType::Bf16 => data_type::FLOAT,
    }
}
