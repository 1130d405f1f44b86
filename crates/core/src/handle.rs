//! What a pass takes and gives: paths and facts, never tensors.

use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// A model on disk. This is what is cached, printed and compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ModelHandle {
    /// A Hugging Face folder.
    Hf { dir: PathBuf },
    /// A Hugging Face folder and a PEFT adapter on it.
    HfWithAdapter { base: PathBuf, adapter: PathBuf },
    /// A Hugging Face folder, and a folder with a note for passes that quantise it: which weights need how many bits.
    HfWithNote { base: PathBuf, note: PathBuf },
    /// A folder with a graph and `genai_config.json`, which names it.
    Onnx { dir: PathBuf },
}

impl ModelHandle {
    pub fn kind(&self) -> ModelKind {
        match self {
            ModelHandle::Hf { .. } => ModelKind::Hf,
            ModelHandle::HfWithAdapter { .. } => ModelKind::HfWithAdapter,
            ModelHandle::HfWithNote { .. } => ModelKind::HfWithNote,
            ModelHandle::Onnx { .. } => ModelKind::Onnx,
        }
    }

    /// For messages: "a Hugging Face model", …
    pub fn describe(&self) -> &'static str {
        match self {
            ModelHandle::Hf { .. } => "a Hugging Face model",
            ModelHandle::HfWithAdapter { .. } => "a model with an adapter",
            ModelHandle::HfWithNote { .. } => "a model with a note of which weights need more bits",
            ModelHandle::Onnx { .. } => "an ONNX model",
        }
    }

    /// The model of this kind that a pass made of this one in the folder `output`.
    pub fn made_into(&self, kind: ModelKind, output: PathBuf) -> ModelHandle {
        match kind {
            ModelKind::Hf => ModelHandle::Hf { dir: output },
            ModelKind::Onnx => ModelHandle::Onnx { dir: output },
            ModelKind::HfWithAdapter => {
                ModelHandle::HfWithAdapter { base: self.base().to_owned(), adapter: output }
            }
            ModelKind::HfWithNote => ModelHandle::HfWithNote { base: self.base().to_owned(), note: output },
        }
    }

    /// The same model, whose weights (without an adapter's) lie in this folder.
    pub fn on_base(self, dir: PathBuf) -> ModelHandle {
        match self {
            ModelHandle::Hf { .. } => ModelHandle::Hf { dir },
            ModelHandle::Onnx { .. } => ModelHandle::Onnx { dir },
            ModelHandle::HfWithAdapter { adapter, .. } => ModelHandle::HfWithAdapter { base: dir, adapter },
            ModelHandle::HfWithNote { note, .. } => ModelHandle::HfWithNote { base: dir, note },
        }
    }

    /// The folder that the newest pass wrote.
    pub fn dir(&self) -> &Path {
        match self {
            ModelHandle::Hf { dir } | ModelHandle::Onnx { dir } => dir,
            ModelHandle::HfWithAdapter { adapter, .. } => adapter,
            ModelHandle::HfWithNote { note, .. } => note,
        }
    }

    /// The folder of the weights, without an adapter's.
    pub fn base(&self) -> &Path {
        match self {
            ModelHandle::Hf { dir } | ModelHandle::Onnx { dir } => dir,
            ModelHandle::HfWithAdapter { base, .. } | ModelHandle::HfWithNote { base, .. } => base,
        }
    }
}

/// The shape of a [`ModelHandle`] before it exists, for checking a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelKind {
    Hf,
    HfWithAdapter,
    HfWithNote,
    Onnx,
}
