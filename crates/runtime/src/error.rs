//! What can go wrong in finding and using ONNX Runtime.

use olive_core::shown;
use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    #[error("ONNX Runtime was not found on this machine, and may not be fetched offline")]
    Offline,
    #[error("ONNX Runtime was not found on this machine, and fetching it failed: {reason}")]
    Fetch { reason: String },
    #[error("`{}` is not ONNX Runtime: {reason}", shown(path))]
    NotTheLibrary { path: PathBuf, reason: String },
    #[error("`{}` is ONNX Runtime {version}; 1.{needed} or newer is needed", shown(path))]
    TooOld { path: PathBuf, version: String, needed: u32 },
    #[error("ONNX Runtime could not be started")]
    Start { source: ort::Error },
    #[error("this process already uses ONNX Runtime from `{}`", shown(path))]
    AlreadyLoaded { path: PathBuf },
    #[error("`{}` is not an ONNX model folder: {missing} is missing", shown(path))]
    NotAModel { path: PathBuf, missing: String },
    #[error("genai_config.json in `{}` cannot be used: {reason}", shown(path))]
    GenaiConfig { path: PathBuf, reason: String },
    #[error("the model in `{}` cannot be run: {reason}", shown(path))]
    Unsupported { path: PathBuf, reason: String },
    #[error("ONNX Runtime cannot load `{}`", shown(path))]
    Load { path: PathBuf, source: ort::Error },
    #[error("the adapter `{}` cannot be used: {reason}", shown(path))]
    Adapter { path: PathBuf, reason: String },
    #[error("`--device {given}`: {reason}")]
    Device { given: String, reason: &'static str },
    #[error("ONNX Runtime failed while running the model")]
    Run(#[from] ort::Error),
}

impl olive_core::Fault for RuntimeError {
    fn hint(&self) -> Option<String> {
        match self {
            RuntimeError::Offline | RuntimeError::Fetch { .. } => Some(
                "provide it in one of three ways: set ORT_DYLIB_PATH (or --ort-lib) to libonnxruntime.so; \
                 `pip install onnxruntime`; or put the library next to the olive executable"
                    .into(),
            ),
            RuntimeError::NotTheLibrary { .. } => Some(
                "the file is `libonnxruntime.so.<version>` in the `capi` folder of the onnxruntime wheel"
                    .into(),
            ),
            RuntimeError::TooOld { .. } => Some(
                "`pip install --upgrade onnxruntime`, or unset ORT_DYLIB_PATH to let olive find or fetch one"
                    .into(),
            ),
            RuntimeError::NotAModel { .. } => {
                Some("such a folder holds model.onnx, genai_config.json and the tokenizer's files".into())
            }
            RuntimeError::Adapter { .. } => Some(
                "an adapter fits a graph that ModelBuilder wrote with `adapters: separate` for the same modules; \
                 `--no-adapter` runs the model without one"
                    .into(),
            ),
            RuntimeError::Start { .. }
            | RuntimeError::AlreadyLoaded { .. }
            | RuntimeError::GenaiConfig { .. }
            | RuntimeError::Unsupported { .. }
            | RuntimeError::Load { .. }
            | RuntimeError::Device { .. }
            | RuntimeError::Run(_) => None,
        }
    }

    fn exit_code(&self) -> u8 {
        match self {
            RuntimeError::Device { .. } => 2,
            _ => 1,
        }
    }
}
