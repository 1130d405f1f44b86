//! Options of passes that Olive has and this program has not, as far as somebody asks for them here: a misspelled one is
//! an error before the pass is there. Names of Olive 0.13.

use olive_engine::REGISTRY;

const QUANTISER: [&str; 5] = ["bits", "group_size", "lm_head", "overrides", "sym"];
/// Of every pass that writes an ONNX model.
const ONNX: [&str; 5] = [
    "all_tensors_to_one_file",
    "convert_attribute",
    "external_data_name",
    "save_as_external_data",
    "size_threshold",
];

/// By pass: the options that it shares with others, and its own.
const KNOWN: &[(&str, &[&str], &[&str])] = &[
    ("AutoClip", &QUANTISER, &["data_config", "max_shrink", "n_grid", "n_sample_token"]),
    (
        "ExtractAdapters",
        &ONNX,
        &["adapter_type", "dynamic_lora_r", "make_inputs", "optional_inputs", "save_format"],
    ),
    ("Gptq", &QUANTISER, &["damp_percent", "data_config", "desc_act"]),
    ("GraphSurgeries", &ONNX, &["remove_duplicate_initializers", "surgeries"]),
    ("KQuant", &QUANTISER, &["embeds"]),
    (
        "MatMulNBitsToQDQ",
        &ONNX,
        &["add_zero_point", "nodes_to_exclude", "use_int4", "use_signed_int", "use_transpose_op"],
    ),
    (
        "OnnxBlockWiseRtnQuantization",
        &ONNX,
        &[
            "accuracy_level",
            "axis",
            "bits",
            "block_size",
            "is_symmetric",
            "nodes_to_exclude",
            "nodes_to_include",
        ],
    ),
    (
        "OnnxDiscrepancyCheck",
        &[],
        &[
            "genai_model_path",
            "generate_max_new_tokens",
            "generate_prompt",
            "max_elements_above_0_01",
            "max_elements_above_0_1",
            "max_mae",
            "min_longest_common_tokens",
            "reference_model_path",
        ],
    ),
    (
        "OnnxFloatToFloat16",
        &ONNX,
        &[
            "keep_io_types",
            "max_finite_val",
            "min_positive_val",
            "node_block_list",
            "node_include_list",
            "op_block_list",
            "op_include_list",
            "use_symbolic_shape_infer",
        ],
    ),
    ("OnnxIODataTypeConverter", &ONNX, &["name_pattern", "source_dtype", "target_dtype"]),
    (
        "OnnxKQuantQuantization",
        &ONNX,
        &["accuracy_level", "bits", "block_size", "customized_weight_config", "nodes_to_exclude"],
    ),
    (
        "OnnxPeepholeOptimizer",
        &ONNX,
        &[
            "cast_chain_elimination",
            "fix_com_microsoft_opset",
            "fuse_reshape_operations",
            "onnxoptimizer_optimize",
            "onnxscript_optimize",
        ],
    ),
    ("QuaRot", &[], &["rotate_mode", "seed"]),
    ("Rtn", &QUANTISER, &["embeds"]),
    (
        "SelectiveMixedPrecision",
        &[],
        &[
            "algorithm",
            "bits",
            "group_size",
            "high_bits",
            "high_group_size",
            "high_sym",
            "kld_memory_mode",
            "ratio",
            "sym",
        ],
    ),
    ("SpinQuant", &[], &["a_bits", "a_per_token", "a_symmetric", "rotate_mode", "seed", "training_args"]),
];

/// What stands beside the options in an entry of `passes`.
const BESIDE: [&str; 6] = ["clean_run_cache", "config", "disable_search", "evaluator", "host", "output_name"];

/// The options of this pass; `None` where they are not known here, or where the pass checks them itself.
pub fn of(name: &str) -> Option<Vec<&'static str>> {
    if REGISTRY.find(name).is_some() {
        return None;
    }
    let (_, shared, own) = KNOWN.iter().find(|(known, ..)| known.eq_ignore_ascii_case(name))?;
    Some([shared, *own, &BESIDE[..]].concat())
}
