//! The passes MergeAdapterWeights and ModelBuilder.

use super::super::Era;
use super::super::option::{Block, Kind, Opt};

pub(crate) static MERGE: Block = Block {
    name: "MergeAdapterWeights",
    doc: "Adds an adapter to the weights of its base model.",
    wrapper: Some("config"),
    outer: super::PASS,
    parts: &[&[Opt::new(
        "base_weights",
        Kind::Choice(&["float", "quantised|quantized"]),
        "What an adapter of QLoRA is added to: the base model as it is, or the 4-bit weights that it was trained on.",
    )
    .default("\"float\"")]],
    open: None,
};

pub(crate) static MODEL_BUILDER: Block = Block {
    name: "ModelBuilder",
    doc: "Writes an ONNX model for onnxruntime-genai. Bit widths and blocks are those of the `MatMulNBits` operator.",
    wrapper: Some("config"),
    outer: super::PASS,
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
        Opt::new("int4_algo_config", ALGORITHMS, "How weights are rounded.")
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
        Opt::new("metadata_only", Kind::Bool, "Only genai_config.json and the tokenizer.")
            .refused_unless("false", "the whole model is always written"),
        Opt::new("int4_op_types_to_quantize", Kind::Texts, "Operators that are quantised.")
            .only(Era::New)
            .also(&["op_types_to_quantize"])
            .refused_unless("[\"MatMul\"]", MATMUL),
        Opt::new("exclude_embeds", Kind::Bool, "Take embeddings as input.").refused_unless("false", WHOLE),
        Opt::new("exclude_lm_head", Kind::Bool, "Give hidden states instead of logits.")
            .refused_unless("false", WHOLE),
        Opt::new("include_hidden_states", Kind::Bool, "Give hidden states too.")
            .only(Era::New)
            .refused_unless("false", WHOLE),
        Opt::new("enable_cuda_graph", Kind::Bool, "Let the session capture CUDA graphs.")
            .ignored_unless("false", "set it in genai_config.json"),
        Opt::new("use_qdq", Kind::Bool, "Write DequantizeLinear nodes.")
            .only(Era::New)
            .refused_unless("false", "weights are written as MatMulNBits"),
        Opt::new("use_8bits_moe", Kind::Bool, "For mixtures of experts.")
            .only(Era::New)
            .ignored_unless("false", EXPERTS),
        Opt::new("use_webgpu_fp32", Kind::Bool, "Inputs and outputs in float32.")
            .only(Era::New)
            .refused_unless("false", IO_TYPE),
        Opt::new("use_cuda_bf16", Kind::Bool, "Inputs and outputs in bfloat16.")
            .only(Era::New)
            .refused_unless("false", IO_TYPE),
    ]],
    open: None,
};

const BLOCK_SIZES: Kind = Kind::IntChoice(&[16, 32, 64, 128, 256]);
const ACCURACY: Kind = Kind::Int { min: 0, max: 4 };
const ACCURACY_DOC: &str = "Type of activations in the kernel: 1 float32, 2 float16, 3 bfloat16, 4 int8; null is 4 on the CPU, else the \
     kernel's own.";
const ALGORITHMS: Kind = Kind::Choice(&["default", "rtn", "k_quant"]);
const MATMUL: &str = "only MatMul nodes are quantised";
const WHOLE: &str = "the model is written from token ids to logits";
const EXPERTS: &str = "mixtures of experts are not supported";
const IO_TYPE: &str = "the type of inputs and outputs follows from precision and target";
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
        Opt::new("int4_algo_config", ALGORITHMS, "How weights are rounded.").also(&["algo_config"]),
        Opt::new("int4_nodes_to_exclude", Kind::Texts, "Nodes that stay float.").also(&["nodes_to_exclude"]),
        Opt::new("int4_op_types_to_quantize", Kind::Texts, "Operators that are quantised.")
            .also(&["op_types_to_quantize"])
            .refused_unless("[\"MatMul\"]", MATMUL),
        Opt::new("matmul_mixed_precision", Kind::Any, "Other widths for some nodes.")
            .refused_unless("null", "all nodes have the same width"),
        Opt::new("num_hidden_layers", Kind::Any, "Build the first layers only.")
            .refused_unless("null", WHOLE),
        Opt::new("filename", Kind::Text, "Name of the ONNX file.")
            .refused_unless("\"model.onnx\"", "it is model.onnx"),
        Opt::new("config_only", Kind::Bool, "Only genai_config.json.").refused_unless("false", WHOLE),
        Opt::new("hf_token", Kind::Any, "Token for the Hub.")
            .ignored("the token comes from the Hub's login or `HF_TOKEN`"),
        Opt::new("hf_remote", Kind::Bool, "Trust code of models.").quiet(),
        Opt::new("exclude_embeds", Kind::Bool, "Take embeddings as input.").refused_unless("false", WHOLE),
        Opt::new("exclude_lm_head", Kind::Bool, "Give hidden states.").refused_unless("false", WHOLE),
        Opt::new("include_hidden_states", Kind::Bool, "Give hidden states too.")
            .refused_unless("false", WHOLE),
        Opt::new("prune_lm_head", Kind::Bool, "Logits of the last token only.")
            .refused_unless("false", WHOLE),
        Opt::new("shared_embeddings", Kind::Bool, "Share embeddings with the head.")
            .refused_unless("false", "it follows from the model"),
        Opt::new("enable_cuda_graph", Kind::Bool, "Capture CUDA graphs.")
            .ignored_unless("false", "set it in genai_config.json"),
        Opt::new("enable_dml_graph", Kind::Bool, "Capture graphs.")
            .ignored_unless("false", "set it in genai_config.json"),
        Opt::new("enable_webgpu_graph", Kind::Bool, "Capture graphs.")
            .ignored_unless("false", "set it in genai_config.json"),
        Opt::new("use_webgpu_fp32", Kind::Bool, "Inputs and outputs in float32.")
            .refused_unless("false", IO_TYPE),
        Opt::new("use_cuda_bf16", Kind::Bool, "Inputs and outputs in bfloat16.")
            .refused_unless("false", IO_TYPE),
        Opt::new("use_qdq", Kind::Bool, "Write DequantizeLinear nodes.")
            .refused_unless("false", "weights are written as MatMulNBits"),
        Opt::new("use_8bits_moe", Kind::Bool, "For mixtures of experts.").ignored_unless("false", EXPERTS),
        Opt::new("qmoe_block_size", Kind::Any, "For mixtures of experts.").ignored(EXPERTS),
        Opt::new("qmoe_weights_prepacked", Kind::Any, "For mixtures of experts.").ignored(EXPERTS),
        Opt::new("moe_quant_type", Kind::Any, "For mixtures of experts.").ignored(EXPERTS),
        Opt::new("fuse_qkv", Kind::Bool, "One MatMul for q, k and v.")
            .ignored_unless("true", "it follows from the target"),
        Opt::new("disable_qkv_fusion", Kind::Bool, "Separate MatMuls.")
            .ignored_unless("false", "it follows from the target"),
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
