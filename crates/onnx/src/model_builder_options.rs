//! The options of the pass ModelBuilder.

use olive_config::option::{BOOL, Block, Kind, Opt, TEXTS, at_least, option_of};
use olive_config::{DataConfig, Era, Fields, Findings, PASS, Setting, choice, options};
use olive_core::InnerPath;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};

/// Weights per scale for which ONNX Runtime has kernels.
pub(crate) const BLOCK_SIZES: &[i64] = &[16, 32, 64, 128, 256];
pub(crate) const MAX_ACCURACY_LEVEL: u8 = 4;
const ACCURACY: Kind = Kind::Int { min: 0, max: MAX_ACCURACY_LEVEL as i64 };
const ALGORITHMS: Kind = Kind::Choice(&[
    "default",
    "rtn",
    "k_quant",
    "rtn_last",
    "k_quant_last",
    "k_quant_mixed",
    "k_quant_linear",
]);
const EXPERTS: &str = "mixtures of experts are not supported";

// The fields stand in the order in which they enter cache keys; the block below has the groups in the order of the
// documentation.
options! {
    #[derive(Debug, Clone, PartialEq, Serialize)]
    pub struct ModelBuilderOptions {
        FORMAT {
            /// Type of the weights: `int4`, `int8` or `fp32` for the CPU; `fp16` and `bf16` need a GPU target.
            pub precision: Precision, required(), searchable();
            /// `cpu`, `cuda`, `dml`, `webgpu`, `NvTensorRtRtx`, from the target's accelerator; `--local` without a GPU
            /// means `cpu`.
            derived execution_provider: String;
            /// Weights per scale.
            pub block_size as "int4_block_size": usize = Kind::IntChoice(BLOCK_SIZES), also(&["block_size"]), default("32"), searchable(),
                tries("[32, 64, 128]");
            /// Type of activations in the kernel: 1 float32, 2 float16, 3 bfloat16, 4 int8; null is 4 on the
            /// CPU, else the kernel's own.
            pub accuracy_level as "int4_accuracy_level": Option<u8> = ACCURACY, also(&["accuracy_level"]), searchable();
            /// No zero points.
            pub is_symmetric as "int4_is_symmetric": bool, only(Era::New), also(&["is_symmetric"]), default("true"), searchable(),
                tries("[true, false]");
            /// How weights are rounded. `rtn_last`, `k_quant_last`, `k_quant_mixed` and `k_quant_linear` are
            /// the old words for `rtn` or `k_quant` with `matmul_mixed_precision`.
            pub algorithm as "int4_algo_config": QuantAlgorithm = ALGORITHMS, only(Era::New), also(&["algo_config"]),
                default("\"default\""), searchable(),
                tries("[\"default\", \"rtn\", \"k_quant_mixed\", \"k_quant_last\"]") => algorithm;
        }
        WIDTHS {
            /// Bits of some matrices, where they differ from those of the rest.
            derived mixed_precision: MixedPrecision;
            /// Other widths for some nodes: `last_matmul:int8` is the head, `mixed_layers:int8` the most
            /// sensitive projections, `linear_attn:int8` the layers with linear attention, which no model that
            /// is built here has.
            - "matmul_mixed_precision" = Kind::Any;
        }
        OPERATORS {
            /// Operators that are quantised: `MatMul`, `Gather` (the embedding).
            pub quantise_matmul as "int4_op_types_to_quantize": bool = TEXTS, only(Era::New),
                also(&["op_types_to_quantize"]), default("[\"MatMul\"]") => has_matmul;
            /// The embedding's Gather is quantised, whether it shares its matrix with the head or not.
            derived quantise_gather: bool;
        }
        NODES {
            /// Nodes that stay float, by their exact names: `/lm_head/MatMul`.
            pub nodes_to_exclude as "int4_nodes_to_exclude": Vec<String> = TEXTS, only(Era::New),
                also(&["nodes_to_exclude"]), default("[]") => node_names;
        }
        REPRESENTATION {
            /// Write DequantizeLinear and MatMul instead of MatMulNBits.
            pub use_qdq: bool, only(Era::New), default("false");
            /// For mixtures of experts.
            - "use_8bits_moe" = BOOL, only(Era::New), ignored_unless("false", EXPERTS);
        }
        EMBEDDINGS {
            /// One matrix for embedding and head; null is what the model does.
            pub shared_embeddings: Option<bool>;
        }
        FUSION {
            /// One MatMul for q, k and v, where the target's attention takes that.
            pub fuse_qkv: bool, default("true");
        }
        ENDS {
            /// Take `inputs_embeds` instead of `input_ids`.
            pub exclude_embeds: bool, default("false");
            /// Give `hidden_states` instead of `logits`.
            pub exclude_lm_head: bool, default("false");
            /// Give `hidden_states` beside `logits`.
            pub include_hidden_states: bool, only(Era::New), default("false");
            /// Logits of the last position only.
            pub prune_lm_head: bool, default("false");
        }
        FLOATS {
            /// Inputs and outputs of a WebGPU model in float32.
            pub use_webgpu_fp32: bool, only(Era::New), default("false");
            /// Inputs and outputs of an int4 model for CUDA in bfloat16.
            pub use_cuda_bf16: bool, only(Era::New), default("false");
        }
        CUDA_GRAPHS {
            /// Let the session capture CUDA graphs.
            pub enable_cuda_graph: bool, default("false");
        }
        METADATA {
            /// Only genai_config.json and the tokenizer. Of an ONNX model the graph goes along; of a Hugging
            /// Face model nothing else is written, but its adapter where `adapters` is separate.
            pub metadata_only: bool, default("false");
            /// The first layers only; an option of `extra_options`.
            derived num_hidden_layers: Option<usize>;
            /// Name of the ONNX file, `None` is `model.onnx`; an option of `extra_options`.
            derived filename: Option<String>;
        }
        ADAPTERS {
            /// What becomes of an adapter: `merged` into the weights, or `separate`, in
            /// adapter_weights.onnx_adapter beside the base, which then serves other adapters of the same
            /// modules, too.
            pub adapters: Adapters, default("\"merged\"");
        }
        SEARCH {
            /// Merged over `search` in genai_config.json.
            pub search: Option<Map<String, Json>>;
            /// The builder's own names for options; they win.
            - "extra_options" = Kind::Block(&EXTRA_OPTIONS), only(Era::New);
        }
        CALIBRATION {
            /// Dataset by which the codes of the weights are chosen: a name in `data_configs`. A quarter of it
            /// is held out, to measure what quantisation costs.
            pub calibration: Option<DataConfig>, also(&["calibration_data_config"]);
        }
    }
}

/// What may stand beside or in `config`.
const GROUPS: &[&[Opt]] = &[
    FORMAT,
    NODES,
    SEARCH,
    METADATA,
    ADAPTERS,
    OPERATORS,
    WIDTHS,
    CALIBRATION,
    EMBEDDINGS,
    ENDS,
    FUSION,
    CUDA_GRAPHS,
    REPRESENTATION,
    FLOATS,
];

pub static MODEL_BUILDER: Block = Block {
    name: "ModelBuilder",
    doc: "Writes an ONNX model for onnxruntime-genai. Bit widths and blocks are those of the `MatMulNBits` operator.",
    wrapper: Some("config"),
    outer: PASS,
    parts: GROUPS,
    open: None,
};

/// The method of an algorithm, whose older words also say some widths: `k_quant_last`.
fn algorithm(setting: &Setting) -> Option<QuantAlgorithm> {
    let method = split_algorithm(setting.json.as_str()?).0;
    serde_json::from_value(json!(method)).ok()
}

/// The method, and `_last`, `_mixed`, `_linear` or nothing.
pub(crate) fn split_algorithm(word: &str) -> (&str, &str) {
    let method = ["_last", "_mixed", "_linear"].iter().find_map(|suffix| word.strip_suffix(suffix));
    word.split_at(method.unwrap_or(word).len())
}

fn has_matmul(setting: &Setting) -> Option<bool> {
    Some(operators(setting).any(|operator| operator == "MatMul"))
}

/// Types of operators; on the command line of the builder they are joined by slashes.
pub(crate) fn operators(setting: &Setting) -> impl Iterator<Item = &str> {
    setting.json.as_array().into_iter().flatten().filter_map(Json::as_str).flat_map(|text| text.split('/'))
}

/// Names in a list, or joined by commas.
fn node_names(setting: &Setting) -> Option<Vec<String>> {
    let texts = setting.json.as_array().into_iter().flatten().filter_map(Json::as_str);
    Some(texts.flat_map(|names| names.split(',')).map(|name| name.trim().to_owned()).collect())
}

impl ModelBuilderOptions {
    /// The defaults of every option that has one.
    ///
    /// # Panics
    /// Never: every option but the precision has a default.
    pub fn new(precision: Precision, execution_provider: &str) -> ModelBuilderOptions {
        let unwritten = Fields::empty("", None, &MODEL_BUILDER);
        let mut values = unwritten.resolve(Era::New, &mut Findings::default());
        values.set("precision", json!(precision));
        let options = ModelBuilderOptions::read(&values).expect("every option has a value");
        ModelBuilderOptions { execution_provider: execution_provider.to_owned(), ..options }
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
        InnerPath::name(name).is_ok()
    }
}

const CONTINUOUS: &str = "continuous batching is not supported";

/// The groups of which `extra_options` has the options, too.
const SHARED: &[&[Opt]] =
    &[FORMAT, NODES, OPERATORS, WIDTHS, EMBEDDINGS, ENDS, FUSION, CUDA_GRAPHS, REPRESENTATION, FLOATS];

/// An option that may stand here as well as beside.
const fn shared(name: &str) -> Opt {
    option_of(SHARED, name).without_default()
}

options! {
    /// What only `extra_options` can say.
    #[derive(Debug, Clone, Default)]
    pub struct ExtraOptions {
        EXTRA_ALONE {
            /// Build the first layers only; null is all of them.
            pub num_hidden_layers: Option<usize> = at_least(1);
            /// Name of the ONNX file, which ends in `.onnx`; the weights are beside it in a file with `.data`
            /// at the end. Null is model.onnx.
            pub filename: Option<String>;
        }
    }
}

pub(crate) static EXTRA_OPTIONS: Block = Block {
    name: "extra_options",
    doc: "The builder's own names for options. They win over those beside them.",
    wrapper: None,
    outer: &[],
    parts: &[
        &[
            shared("int4_block_size"),
            shared("int4_accuracy_level"),
            shared("int4_is_symmetric"),
            shared("int4_algo_config"),
            shared("int4_nodes_to_exclude").documented("Nodes that stay float."),
            shared("int4_op_types_to_quantize"),
            shared("matmul_mixed_precision"),
        ],
        EXTRA_ALONE,
        &[
            Opt::new("config_only", Kind::Bool, "Another word for `metadata_only`."),
            Opt::new("hf_token", Kind::Any, "Token for the Hub.")
                .ignored("the token comes from the Hub's login or `HF_TOKEN`"),
            Opt::new("hf_remote", Kind::Bool, "Trust code of models.").quiet(),
            shared("exclude_embeds"),
            shared("exclude_lm_head"),
            shared("include_hidden_states"),
            shared("prune_lm_head"),
            shared("shared_embeddings"),
            shared("enable_cuda_graph"),
            Opt::new("enable_dml_graph", Kind::Bool, "Capture graphs.")
                .ignored_unless("false", "set it in genai_config.json"),
            Opt::new("enable_webgpu_graph", Kind::Bool, "Capture graphs.")
                .ignored_unless("false", "set it in genai_config.json"),
            shared("use_webgpu_fp32"),
            shared("use_cuda_bf16"),
            shared("use_qdq"),
            shared("use_8bits_moe"),
            Opt::new("qmoe_block_size", Kind::Any, "For mixtures of experts.").ignored(EXPERTS),
            Opt::new("qmoe_weights_prepacked", Kind::Any, "For mixtures of experts.").ignored(EXPERTS),
            Opt::new("moe_quant_type", Kind::Any, "For mixtures of experts.").ignored(EXPERTS),
            shared("fuse_qkv"),
            Opt::new("disable_qkv_fusion", Kind::Bool, "The opposite of `fuse_qkv`."),
            Opt::new("fuse_mlp_gate_up", Kind::Bool, "One MatMul for gate and up.")
                .ignored_unless("false", "they stay separate"),
            Opt::new("fuse_qk_norm_gqa", Kind::Bool, "Norms in the attention.")
                .ignored("it follows from the target"),
            Opt::new("windowed_kv_cache", Kind::Bool, "Short cache.")
                .refused_unless("false", "the cache holds the context"),
            Opt::new("adapter_path", Kind::Text, "Adapter.")
                .refused_unless("null", "give it as `adapter_path` of the input model"),
            Opt::new("kv_cache_quant_scheme", Kind::Text, "Quantised cache.")
                .also(&["kv_cache_quant_type"])
                .refused_unless("\"none\"", "the cache has the type of inputs and outputs"),
            Opt::new("kv_cache_scale_file", Kind::Any, "Quantised cache.")
                .ignored("the cache is not quantised"),
            Opt::new("kv_cache_rotation", Kind::Any, "Quantised cache.")
                .ignored("the cache is not quantised"),
            Opt::new("use_paged_attention", Kind::Bool, "Continuous batching.")
                .refused_unless("false", CONTINUOUS),
            Opt::new("paged_block_size", Kind::Any, "Continuous batching.").ignored(CONTINUOUS),
            Opt::new("paged_chunk_size", Kind::Any, "Continuous batching.").ignored(CONTINUOUS),
            Opt::new("gpu_utilization_factor", Kind::Any, "Continuous batching.").ignored(CONTINUOUS),
            Opt::new("max_batch_size", Kind::Any, "Continuous batching.").ignored(CONTINUOUS),
            Opt::new("max_scheduled_tokens", Kind::Any, "Continuous batching.").ignored(CONTINUOUS),
            Opt::new("num_blocks", Kind::Any, "Continuous batching.").ignored(CONTINUOUS),
            Opt::new("matmulnbits_weights_prepacked", Kind::Any, "Layout of weights.")
                .refused_unless("0", "weights have the standard layout"),
            Opt::new("enable_cuda_fpa_intb_gemm", Kind::Any, "Kernel of a session.")
                .ignored("set it in genai_config.json"),
            Opt::new("use_device_allocator_for_initializers", Kind::Any, "Memory of a session.")
                .ignored("set it in genai_config.json"),
        ],
    ],
    open: Some("the builder has no such option"),
};

/// How ModelBuilder exports a model with an adapter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Adapters {
    /// In the weights.
    Merged,
    /// In a file of its own, for a session to switch on.
    Separate,
}

choice!(Adapters: "merged", "separate");

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

choice!(Precision: "fp32|float32", "fp16|float16", "bf16|bfloat16", "int8", "int4");

impl Precision {
    pub(crate) const ALL: [Precision; 5] =
        [Precision::Fp32, Precision::Fp16, Precision::Bf16, Precision::Int8, Precision::Int4];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Precision::Fp32 => "fp32",
            Precision::Fp16 => "fp16",
            Precision::Bf16 => "bf16",
            Precision::Int8 => "int8",
            Precision::Int4 => "int4",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum QuantAlgorithm {
    Default,
    Rtn,
    KQuant,
}
