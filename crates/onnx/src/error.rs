//! What can go wrong in writing an ONNX model.

use olive_core::shown;
use std::path::PathBuf;

/// Precisions by provider, for the message about combinations that cannot be built.
const COMBINATIONS: &str = "fp32, int8 and int4 for cpu; fp16, bf16, int8 and int4 for cuda; fp16 and int4 for dml; fp16, int8 and int4 for webgpu; fp16, bf16 and int4 for NvTensorRtRtx";

#[derive(Debug, thiserror::Error)]
pub enum OnnxError {
    #[error("a model in {precision} for `{provider}` cannot be built")]
    Combination { precision: &'static str, provider: String },
    #[error("ONNX Runtime cannot run this model: {0}")]
    Unsupported(String),
    #[error("`{option}` is {found}, which is not {expected}")]
    Option { option: &'static str, found: String, expected: &'static str },
    #[error("`nodes_to_exclude` names `{name}`, which is no node of this model that could be quantised")]
    UnknownNode { name: String, known: Vec<String> },
    #[error("genai_config.json cannot be written for `{}`: {reason}", shown(path))]
    Graph { path: PathBuf, reason: String },
    #[error("the ONNX model `{}` cannot be changed: {reason}", shown(path))]
    Model { path: PathBuf, reason: String },
    #[error("the head cannot take the embedding's codes: it has other values, so the model is not tied")]
    NotTied,
    #[error("the adapter cannot be kept apart from the model: {0}")]
    SeparateAdapter(String),
    #[error("the weights of the adapter cannot be written to `{}`: {reason}", shown(path))]
    WeightsFile { path: PathBuf, format: &'static str, reason: &'static str },
    #[error("neither config.json nor the tokenizer says which token ends a text")]
    NoEndOfText,
}

impl olive_core::Fault for OnnxError {
    fn hint(&self) -> Option<String> {
        match self {
            OnnxError::Combination { .. } => {
                Some(format!("what can be built: {}", COMBINATIONS))
            }
            OnnxError::UnknownNode { known, .. } => {
                Some(format!("its first ones are {}; the head is /lm_head/MatMul", known.join(", ")))
            }
            OnnxError::NoEndOfText => Some("add `eos_token_id` to config.json".into()),
            OnnxError::Graph { .. } => Some(
                "`metadata_only` takes a folder with the graph of a decoder, its config.json and its tokenizer".into(),
            ),
            OnnxError::Model { .. } => Some("give a model.onnx with the files beside it that hold its weights".into()),
            OnnxError::NotTied => Some("leave ShareEmbeddingLmHead out for this model".into()),
            OnnxError::SeparateAdapter(_) => Some("`adapters: merged` puts it into the weights".into()),
            OnnxError::WeightsFile { format, .. } => {
                let formats = [".onnx_adapter", ".safetensors", ".npz"];
                let others = formats.into_iter().filter(|other| other != format);
                Some(format!("other formats: {}", others.collect::<Vec<_>>().join(", ")))
            }
            OnnxError::Unsupported(_) | OnnxError::Option { .. } => None,
        }
    }
}
