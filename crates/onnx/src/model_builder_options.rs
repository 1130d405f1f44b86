//! The options of the pass ModelBuilder.

use olive_config::DataConfig;
use serde::{Deserialize, Serialize};
use std::path::{Component, Path};

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ModelBuilderOptions {
    pub precision: Precision,
    /// `cpu`, `cuda`, `dml`, `webgpu`, from the target's accelerator; `--local` without a GPU means `cpu`.
    pub execution_provider: String,
    pub block_size: usize,
    /// `None`: 4 on cpu, else 0.
    pub accuracy_level: Option<u8>,
    pub is_symmetric: bool,
    pub algorithm: QuantAlgorithm,
    pub mixed_precision: MixedPrecision,
    /// MatMul nodes are quantised (in int4 and int8 models).
    pub quantise_matmul: bool,
    /// The embedding's Gather is quantised, whether it shares its matrix with the head or not.
    pub quantise_gather: bool,
    /// Exact node names, for example `/lm_head/MatMul`.
    pub nodes_to_exclude: Vec<String>,
    /// `DequantizeLinear` and `MatMul` instead of `MatMulNBits`.
    pub use_qdq: bool,
    /// One matrix for embedding and head; `None`: when the model ties them.
    pub shared_embeddings: Option<bool>,
    /// One MatMul for q, k and v, where the provider's attention takes that.
    pub fuse_qkv: bool,
    /// Embeddings instead of token ids go in.
    pub exclude_embeds: bool,
    /// Hidden states instead of logits come out.
    pub exclude_lm_head: bool,
    /// Hidden states come out beside the logits.
    pub include_hidden_states: bool,
    /// Logits of the last position only.
    pub prune_lm_head: bool,
    /// Inputs and outputs of a WebGPU model are f32.
    pub use_webgpu_fp32: bool,
    /// Inputs and outputs of an int4 model for CUDA are bf16.
    pub use_cuda_bf16: bool,
    pub enable_cuda_graph: bool,
    /// Only genai_config.json and the tokenizer are written; an ONNX model keeps its graph.
    pub metadata_only: bool,
    /// The first layers only.
    pub num_hidden_layers: Option<usize>,
    /// Name of the ONNX file; `None`: `model.onnx`.
    pub filename: Option<String>,
    /// What becomes of an adapter.
    pub adapters: Adapters,
    /// Merged over `search` of genai_config.json.
    pub search: Option<serde_json::Map<String, serde_json::Value>>,
    /// Data by which the codes of an int4 model are chosen.
    pub calibration: Option<DataConfig>,
}

impl ModelBuilderOptions {
    /// The defaults of every option that has one.
    pub fn new(precision: Precision, execution_provider: &str) -> ModelBuilderOptions {
        ModelBuilderOptions {
            precision,
            execution_provider: execution_provider.to_owned(),
            block_size: 32,
            accuracy_level: None,
            is_symmetric: true,
            algorithm: QuantAlgorithm::Default,
            mixed_precision: MixedPrecision::default(),
            quantise_matmul: true,
            quantise_gather: false,
            nodes_to_exclude: Vec::new(),
            use_qdq: false,
            shared_embeddings: None,
            fuse_qkv: true,
            exclude_embeds: false,
            exclude_lm_head: false,
            include_hidden_states: false,
            prune_lm_head: false,
            use_webgpu_fp32: false,
            use_cuda_bf16: false,
            enable_cuda_graph: false,
            metadata_only: false,
            num_hidden_layers: None,
            filename: None,
            adapters: Adapters::Merged,
            search: None,
            calibration: None,
        }
    }

    /// Name of the ONNX file; `.data` is added for its weights.
    pub fn file_name(&self) -> &str {
        self.filename.as_deref().unwrap_or(Self::FILE_NAME)
    }

    /// Name of the ONNX file unless [`ModelBuilderOptions::filename`] says otherwise.
    pub const FILE_NAME: &'static str = "model.onnx";

    /// What [`ModelBuilderOptions::filename`] must be, for messages.
    pub const ONNX_FILE_NAME: &'static str = "the name of a file without its folder that ends in `.onnx`";

    pub fn is_onnx_file_name(name: &str) -> bool {
        Self::is_file_name(name) && name.len() > ".onnx".len() && name.ends_with(".onnx")
    }

    /// The name of a file in the same folder.
    pub fn is_file_name(name: &str) -> bool {
        let mut parts = Path::new(name).components();
        matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None)) && !name.ends_with('/')
    }
}

/// How ModelBuilder exports a model with an adapter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Adapters {
    /// In the weights.
    Merged,
    /// In a file of its own, for a session to switch on.
    Separate,
}

/// Bits of some matrices, where they differ from those of the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct MixedPrecision {
    /// The head.
    pub last_matmul: Option<u8>,
    /// In the first and last eighth of the layers, and every third one, the projections that suffer most.
    pub mixed_layers: Option<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    Fp32,
    Fp16,
    Bf16,
    Int8,
    Int4,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum QuantAlgorithm {
    Default,
    Rtn,
    KQuant,
}
