//! Graphs for TensorRT for RTX: operators that it has, and its own session options.

use crate::support::binary::{generated, run_configuration, text};
use crate::support::models::read_json;
use crate::support::onnx;
use crate::support::quickstart::base_model;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Output;

fn run(dir: &Path, provider: &str, options: Value, output: &str) -> Output {
    let mut builder = json!({"type": "ModelBuilder"});
    builder.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
    let accelerator = json!({"device": "gpu", "execution_providers": [provider]});
    let config = json!({
        "input_model": {"type": "HfModel", "model_path": base_model()},
        "systems": {"target": {"type": "LocalSystem", "accelerators": [accelerator]}},
        "target": "target",
        "passes": {"builder": builder},
        "output_dir": dir.join(output), "cache_dir": dir.join("cache"),
    });
    run_configuration(dir, &config)
}

fn build(dir: &Path, provider: &str, options: Value, output: &str) -> PathBuf {
    let made = run(dir, provider, options, output);
    assert!(made.status.success(), "{}", text(&made.stderr));
    dir.join(output)
}

const TRT: &str = "NvTensorRTRTXExecutionProvider";

fn operators(dir: &Path) -> Vec<String> {
    onnx::graph(dir).node.into_iter().map(|node| node.op_type).collect()
}

#[test]
fn norms_are_made_of_parts_and_say_the_same() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let own = build(dir.path(), TRT, json!({"precision": "fp16"}), "trt");
    let session = &read_json(&own.join("genai_config.json"))["model"]["decoder"]["session_options"];
    assert_eq!(session["provider_options"], json!([{"NvTensorRtRtx": {"enable_cuda_graph": "1"}}]));
    let own_operators = operators(&own);
    assert!(!own_operators.iter().any(|op| op.ends_with("LayerNormalization") || op == "If"));
    assert!(own_operators.iter().any(|op| op == "ReduceMean"));
    let cuda = build(dir.path(), "CUDAExecutionProvider", json!({"precision": "fp16"}), "cuda");
    assert!(operators(&cuda).iter().any(|op| op == "SkipSimplifiedLayerNormalization"));
    assert_eq!(generated(&own, &[]), generated(&cuda, &[]));
}

#[test]
fn codes_are_written_for_products_that_it_has() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let codes = build(dir.path(), TRT, json!({"precision": "int4"}), "int4");
    let found = operators(&codes);
    assert!(found.iter().any(|op| op == "DequantizeLinear") && !found.iter().any(|op| op == "MatMulNBits"));
    // There is no such form of these; MatMulNBitsToQDQ makes one.
    let rtn = build(dir.path(), TRT, json!({"precision": "int4", "int4_algo_config": "rtn"}), "rtn");
    assert!(operators(&rtn).iter().any(|op| op == "MatMulNBits"));
    let refused = run(dir.path(), TRT, json!({"precision": "int8"}), "int8");
    assert!(!refused.status.success() && text(&refused.stderr).contains("NvTensorRtRtx"));
}
