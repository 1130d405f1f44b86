//! Why a model cannot be written in another format.

use olive_core::{Fault, shown};
use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error("there are no GGUF files of `{architecture}`")]
    Family { architecture: &'static str },
    #[error("a GGUF file cannot say that {what}")]
    Unsaid { what: String, hint: &'static str },
    #[error("the tokenizer of `{}` cannot be written: {reason}", shown(path))]
    Tokenizer { path: PathBuf, reason: String, hint: &'static str },
    #[error("this adapter cannot be written: {reason}")]
    Adapter { reason: String },
    #[error("`{name}` has values beyond those of f16")]
    TooLarge { name: String },
    #[error("`{name}` is no tensor of such models")]
    Tensor { name: String },
}

impl Fault for ExportError {
    fn hint(&self) -> Option<String> {
        match self {
            ExportError::Family { .. } => Some("export ONNX with the pass ModelBuilder".into()),
            ExportError::Unsaid { hint, .. } | ExportError::Tokenizer { hint, .. } => {
                Some((*hint).to_owned())
            }
            ExportError::Adapter { .. } => {
                Some("merge it with the pass MergeAdapterWeights, and export the merged model".into())
            }
            ExportError::TooLarge { .. } => Some("choose bf16, f32 or q8_0".into()),
            ExportError::Tensor { .. } => None,
        }
    }
}
