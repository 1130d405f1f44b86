//! The options of ModelBuilder as they may be written.

use olive_config::option::{Block, Kind, Opt, at_least};
use olive_config::{DATA_REFERENCE, Era, PASS};

pub static BLOCK: Block = Block {
    name: "ModelBuilder",
    doc: "Writes an ONNX model for onnxruntime-genai. Bit widths and blocks are those of the `MatMulNBits` operator.",
    wrapper: Some("config"),
    outer: PASS,
    parts: &[&[
        Opt::new(
            "precision",
            Kind::Choice(&["fp32|float32", "fp16|float16", "bf16|bfloat16", "int8", "int4"]),
            "Type of the weights: `int4`, `int8` or `fp32` for the CPU; `fp16` and `bf16` need a GPU target.",
        )
        .required(),
        Opt::new("int4_block_size", BLOCK_SIZES, "Weights per scale.").also(&["block_size"]).default("32"),
        Opt::new("int4_accuracy_level", ACCURACY, ACCURACY_DOC).also(&["accuracy_level"]),
        Opt::new("int4_is_symmetric", Kind::Bool, "No zero points.")
            .only(Era::New)
            .also(&["is_symmetric"])
            .default("true"),
        Opt::new("int4_algo_config", ALGORITHMS, ALGORITHMS_DOC)
            .only(Era::New)
            .also(&["algo_config"])
            .default("\"default\""),
        Opt::new(
            "int4_nodes_to_exclude",
            Kind::Texts,
            "Nodes that stay float, by their exact names: `/lm_head/MatMul`.",
        )
        .only(Era::New)
        .also(&["nodes_to_exclude"])
        .default("[]"),
        Opt::new("search", Kind::Any, "Merged over `search` in genai_config.json."),
        Opt::new(
            "extra_options",
            Kind::Block(&EXTRA_OPTIONS),
            "The builder's own names for options; they win.",
        )
        .only(Era::New),
        Opt::new("metadata_only", Kind::Bool, METADATA_DOC).default("false"),
        Opt::new("adapters", Kind::Choice(&["merged", "separate"]), ADAPTERS_DOC).default("\"merged\""),
        Opt::new("int4_op_types_to_quantize", Kind::Texts, OP_TYPES_DOC)
            .only(Era::New)
            .also(&["op_types_to_quantize"])
            .default("[\"MatMul\"]"),
        Opt::new("matmul_mixed_precision", Kind::Any, MIXED_DOC),
        Opt::new(
            "calibration",
            Kind::Special(&DATA_REFERENCE),
            "Dataset by which the codes of the weights are chosen: a name in `data_configs`. A quarter of it is held out, \
             to measure what quantisation costs.",
        )
        .also(&["calibration_data_config"]),
        Opt::new("shared_embeddings", Kind::Bool, SHARED_DOC),
        Opt::new("exclude_embeds", Kind::Bool, EMBEDS_DOC).default("false"),
        Opt::new("exclude_lm_head", Kind::Bool, HEAD_DOC).default("false"),
        Opt::new("include_hidden_states", Kind::Bool, HIDDEN_DOC).only(Era::New).default("false"),
        Opt::new("prune_lm_head", Kind::Bool, PRUNE_DOC).default("false"),
        Opt::new("fuse_qkv", Kind::Bool, FUSE_DOC).default("true"),
        Opt::new("enable_cuda_graph", Kind::Bool, GRAPH_DOC).default("false"),
        Opt::new("use_qdq", Kind::Bool, QDQ_DOC).only(Era::New).default("false"),
        Opt::new("use_8bits_moe", Kind::Bool, "For mixtures of experts.")
            .only(Era::New)
            .ignored_unless("false", EXPERTS),
        Opt::new("use_webgpu_fp32", Kind::Bool, WEBGPU_DOC).only(Era::New).default("false"),
        Opt::new("use_cuda_bf16", Kind::Bool, BF16_DOC).only(Era::New).default("false"),
    ]],
    open: None,
};

const BLOCK_SIZES: Kind = Kind::IntChoice(&[16, 32, 64, 128, 256]);
const ACCURACY: Kind = Kind::Int { min: 0, max: 4 };
const ACCURACY_DOC: &str = "Type of activations in the kernel: 1 float32, 2 float16, 3 bfloat16, 4 int8; null is 4 on the CPU, else the \
     kernel's own.";
const ALGORITHMS: Kind =
    Kind::Choice(&["default", "rtn", "k_quant", "rtn_last", "k_quant_last", "k_quant_mixed"]);
const ALGORITHMS_DOC: &str = "How weights are rounded. `rtn_last`, `k_quant_last` and `k_quant_mixed` are the old words for `rtn` or `k_quant` \
     with `matmul_mixed_precision`.";
const OP_TYPES_DOC: &str = "Operators that are quantised: `MatMul`, `Gather` (the embedding).";
const MIXED_DOC: &str = "Other widths for some nodes: `last_matmul:int8` is the head, `mixed_layers:int8` the most sensitive projections.";
const SHARED_DOC: &str = "One matrix for embedding and head; null is what the model does.";
const EMBEDS_DOC: &str = "Take `inputs_embeds` instead of `input_ids`.";
const HEAD_DOC: &str = "Give `hidden_states` instead of `logits`.";
const HIDDEN_DOC: &str = "Give `hidden_states` beside `logits`.";
const PRUNE_DOC: &str = "Logits of the last position only.";
const FUSE_DOC: &str = "One MatMul for q, k and v, where the target's attention takes that.";
const GRAPH_DOC: &str = "Let the session capture CUDA graphs.";
const QDQ_DOC: &str = "Write DequantizeLinear and MatMul instead of MatMulNBits.";
const WEBGPU_DOC: &str = "Inputs and outputs of a WebGPU model in float32.";
const BF16_DOC: &str = "Inputs and outputs of an int4 model for CUDA in bfloat16.";
const ADAPTERS_DOC: &str = "What becomes of an adapter: `merged` into the weights, or `separate`, in adapter_weights.onnx_adapter beside the \
     base, which then serves other adapters of the same modules, too.";
const METADATA_DOC: &str = "Only genai_config.json and the tokenizer. Of an ONNX model the graph goes along; of a Hugging Face model nothing else \
     is written, but its adapter where `adapters` is separate.";
const FILENAME_DOC: &str = "Name of the ONNX file, which ends in `.onnx`; the weights are beside it in a file with `.data` at the end. Null is \
     model.onnx.";
const EXPERTS: &str = "mixtures of experts are not supported";
const CONTINUOUS: &str = "continuous batching is not supported";

/// Names of options as the builder's own command line has them.
pub(crate) static EXTRA_OPTIONS: Block = Block {
    name: "extra_options",
    doc: "The builder's own names for options. They win over those beside them.",
    wrapper: None,
    outer: &[],
    parts: &[&[
        Opt::new("int4_block_size", BLOCK_SIZES, "Weights per scale.").also(&["block_size"]),
        Opt::new("int4_accuracy_level", ACCURACY, ACCURACY_DOC).also(&["accuracy_level"]),
        Opt::new("int4_is_symmetric", Kind::Bool, "No zero points.").also(&["is_symmetric"]),
        Opt::new("int4_algo_config", ALGORITHMS, ALGORITHMS_DOC).also(&["algo_config"]),
        Opt::new("int4_nodes_to_exclude", Kind::Texts, "Nodes that stay float.").also(&["nodes_to_exclude"]),
        Opt::new("int4_op_types_to_quantize", Kind::Texts, OP_TYPES_DOC).also(&["op_types_to_quantize"]),
        Opt::new("matmul_mixed_precision", Kind::Any, MIXED_DOC),
        Opt::new("num_hidden_layers", at_least(1), "Build the first layers only; null is all of them."),
        Opt::new("filename", Kind::Text, FILENAME_DOC),
        Opt::new("config_only", Kind::Bool, "Another word for `metadata_only`."),
        Opt::new("hf_token", Kind::Any, "Token for the Hub.")
            .ignored("the token comes from the Hub's login or `HF_TOKEN`"),
        Opt::new("hf_remote", Kind::Bool, "Trust code of models.").quiet(),
        Opt::new("exclude_embeds", Kind::Bool, EMBEDS_DOC),
        Opt::new("exclude_lm_head", Kind::Bool, HEAD_DOC),
        Opt::new("include_hidden_states", Kind::Bool, HIDDEN_DOC),
        Opt::new("prune_lm_head", Kind::Bool, PRUNE_DOC),
        Opt::new("shared_embeddings", Kind::Bool, SHARED_DOC),
        Opt::new("enable_cuda_graph", Kind::Bool, GRAPH_DOC),
        Opt::new("enable_dml_graph", Kind::Bool, "Capture graphs.")
            .ignored_unless("false", "set it in genai_config.json"),
        Opt::new("enable_webgpu_graph", Kind::Bool, "Capture graphs.")
            .ignored_unless("false", "set it in genai_config.json"),
        Opt::new("use_webgpu_fp32", Kind::Bool, WEBGPU_DOC),
        Opt::new("use_cuda_bf16", Kind::Bool, BF16_DOC),
        Opt::new("use_qdq", Kind::Bool, QDQ_DOC),
        Opt::new("use_8bits_moe", Kind::Bool, "For mixtures of experts.").ignored_unless("false", EXPERTS),
        Opt::new("qmoe_block_size", Kind::Any, "For mixtures of experts.").ignored(EXPERTS),
        Opt::new("qmoe_weights_prepacked", Kind::Any, "For mixtures of experts.").ignored(EXPERTS),
        Opt::new("moe_quant_type", Kind::Any, "For mixtures of experts.").ignored(EXPERTS),
        Opt::new("fuse_qkv", Kind::Bool, FUSE_DOC),
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
        Opt::new("kv_cache_scale_file", Kind::Any, "Quantised cache.").ignored("the cache is not quantised"),
        Opt::new("kv_cache_rotation", Kind::Any, "Quantised cache.").ignored("the cache is not quantised"),
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
    ]],
    open: None,
};
