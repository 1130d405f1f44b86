//! What `olive init` is told.

use clap::{Args, ValueEnum};
use olive_project::{Method, Outcome};
use std::path::PathBuf;

#[derive(Args)]
pub(crate) struct InitArgs {
    /// The project's folder.
    #[arg(value_name = "DIR", default_value = ".")]
    pub(super) dir: PathBuf,
    /// The model: a folder, a GGUF file, or a hub id, which is fetched into `model-cache`.
    #[arg(long, value_name = "MODEL")]
    pub(super) model: Option<String>,
    /// The rows to learn from: JSON lines, JSON, CSV, Parquet or text.
    #[arg(long, value_name = "FILE", conflicts_with = "no_data")]
    pub(super) data: Option<PathBuf>,
    /// Train nothing: only convert the model.
    #[arg(long)]
    pub(super) no_data: bool,
    /// The key under which the rows stand in a JSON document; without it, that of the first list of objects.
    #[arg(long, value_name = "KEY", conflicts_with = "no_data")]
    pub(super) field: Option<String>,
    /// The column with what is asked.
    #[arg(long, value_name = "COLUMN", requires = "answer")]
    pub(super) question: Option<String>,
    /// The column with what is to be answered.
    #[arg(long, value_name = "COLUMN", requires = "question")]
    pub(super) answer: Option<String>,
    /// The column with texts that are learned as they are.
    #[arg(long, value_name = "COLUMN", conflicts_with_all = ["question", "answer"])]
    pub(super) text: Option<String>,
    /// How columns make a text: `{title}: {body}`.
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["question", "answer", "text"])]
    pub(super) template: Option<String>,
    /// What a run is to make.
    #[arg(long, value_enum, value_name = "KIND")]
    pub(super) result: Option<ResultKind>,
    /// How it is trained; without it, with LoRA if that fits into memory.
    #[arg(long, value_enum, value_name = "METHOD")]
    pub(super) method: Option<MethodName>,
    /// End the training after so many steps.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) max_steps: Option<u32>,
    /// Ask nothing: what is not said is what would be proposed.
    #[arg(short, long)]
    pub(super) yes: bool,
    /// Write a project anew that is there already.
    #[arg(long)]
    pub(super) overwrite: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ResultKind {
    /// An ONNX model in 4 bits.
    Int4,
    /// An ONNX model in float32.
    Float32,
    /// A Hugging Face folder.
    Merged,
    /// A PEFT adapter.
    Adapter,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum MethodName {
    Lora,
    Qlora,
}

impl ResultKind {
    pub(super) fn outcome(self) -> Outcome {
        match self {
            ResultKind::Int4 => Outcome::Int4,
            ResultKind::Float32 => Outcome::Float32,
            ResultKind::Merged => Outcome::Merged,
            ResultKind::Adapter => Outcome::Adapter,
        }
    }
}

impl MethodName {
    pub(super) fn method(self) -> Method {
        match self {
            MethodName::Lora => Method::Lora,
            MethodName::Qlora => Method::Qlora,
        }
    }
}
