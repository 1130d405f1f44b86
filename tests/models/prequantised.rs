//! Checkpoints that somebody has quantised already are refused by what they say of themselves, whatever is to be done.

use crate::support::binary::{generated, greedy, olive, run_configuration, text};
use crate::support::quickstart::base_model;
use crate::support::tiny_model::{self, HIDDEN};
use olive_model::ModelFolder;
use olive_model::safetensors_file::{Entry, Writer};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

const Q0: &str = "model.layers.0.self_attn.q_proj";

/// A model with this object in its configuration and one tensor more.
fn model(dir: &Path, key: &str, object: &Value, tensor: &str, dtype: &'static str) -> PathBuf {
    let model = dir.join("model");
    std::fs::create_dir_all(&model).unwrap();
    let mut config = tiny_model::config();
    config[key] = object.clone();
    tiny_model::write(&model, &config);
    let entry = |name: String, dtype, bytes| Entry { name, dtype, shape: vec![4], bytes };
    let size = if dtype == "I32" { 4 } else { 1 };
    let entries =
        [entry(format!("{Q0}.{tensor}"), dtype, 4 * size), entry("model.norm.weight".into(), "F32", 16)];
    let mut writer = Writer::create(&model.join("model.safetensors"), &entries).unwrap();
    entries.iter().for_each(|entry| writer.write(&vec![0; entry.bytes]).unwrap());
    writer.finish().unwrap();
    model
}

fn adapter(dir: &Path, base: &Path) -> PathBuf {
    let folder = dir.join("adapter");
    let mut adapter = tiny_model::adapter(&[(Q0, HIDDEN, HIDDEN)]);
    adapter.config.base_model_name_or_path = Some(base.display().to_string());
    adapter.save(&folder).unwrap();
    folder
}

#[test]
fn every_method_is_named() {
    let temp = tempfile::tempdir().unwrap();
    for (key, object, tensor, dtype, named) in [
        ("quantization_config", json!({"quant_method": "hqq"}), "W_q", "U8", "`hqq`"),
        (
            "quantization_config",
            json!({"quant_method": "gptq-of-today"}),
            "qweight",
            "I32",
            "`gptq-of-today`",
        ),
        ("quantization_config", json!({"quant_method": "mxfp4"}), "weight", "F8_E4M3", "`mxfp4`"),
        ("quantization_config", json!({"quant_method": "bitsandbytes"}), "weight", "I8", "`bitsandbytes`"),
        ("quantization_config", json!({"load_in_4bit": true}), "weight", "U8", "without `quant_method`"),
        (
            "compression_config",
            json!({"quant_method": "compressed-tensors"}),
            "weight_packed",
            "I32",
            "tensors`",
        ),
    ] {
        let model = model(temp.path(), key, &object, tensor, dtype);
        let run = greedy(&model, "x", 1).output().unwrap();
        let told = text(&run.stderr);
        assert!(!run.status.success() && told.contains("quantised already"), "{told}");
        assert!(told.contains(&format!("`{key}")) && told.contains(named) && told.contains(dtype), "{told}");
        assert!(told.contains("`input_model.model_path`"), "{told}");
    }
    // The first tools wrote a file of its own.
    let model = model(temp.path(), "x", &json!(null), "qweight", "I32");
    std::fs::write(model.join("quantize_config.json"), r#"{"bits": 4, "quant_method": "old"}"#).unwrap();
    let told = text(&greedy(&model, "x", 1).output().unwrap().stderr);
    assert!(told.contains("`quant_method` in quantize_config.json is `old`"), "{told}");
}

#[test]
fn whatever_is_to_be_done_with_it() {
    let temp = tempfile::tempdir().unwrap();
    let object = json!({"quant_method": "hqq"});
    let model = model(temp.path(), "quantization_config", &object, "qweight", "I32");
    let adapter = adapter(temp.path(), &model);
    let data = temp.path().join("rows.jsonl");
    std::fs::write(&data, "{\"text\": \"a b c\"}\n").unwrap();
    let lora = json!({"type": "LoRA", "train_data_config": "rows", "training_args": {"max_steps": 1}});
    let build = json!({"type": "ModelBuilder", "precision": "int4"});
    let refused = |output: std::process::Output| {
        let told = text(&output.stderr);
        let named = told.contains("`quantization_config.quant_method` in config.json is `hqq`");
        assert!(!output.status.success() && named, "{told}");
    };
    for (pass, adapter) in [
        (lora, None),
        (build.clone(), None),
        (build, Some(&adapter)),
        (json!({"type": "MergeAdapterWeights"}), Some(&adapter)),
    ] {
        let config = json!({
            "input_model": {"type": "HfModel", "model_path": model, "adapter_path": adapter},
            "data_configs": [{
                "name": "rows", "type": "HuggingfaceContainer",
                "load_dataset_config": {"params": {"data_name": "json", "data_files": data, "split": "train"}},
                "pre_process_data_config": {"params": {"dataset_type": "corpus", "text_cols": ["text"], "source_max_len": 8}},
            }],
            "passes": {"pass": pass}, "cache_dir": temp.path().join("cache"), "output_dir": temp.path().join("out"),
        });
        refused(run_configuration(temp.path(), &config));
        refused(olive().arg("validate").arg(temp.path().join("config.json")).output().unwrap());
    }
    refused(greedy(&adapter, "x", 1).output().unwrap());
}

#[test]
fn a_statement_left_over_beside_float_weights_is_passed_over() {
    let temp = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(base_model()).unwrap() {
        let from = entry.unwrap().path();
        if from.is_file() && !from.ends_with("config.json") {
            std::fs::copy(&from, temp.path().join(from.file_name().unwrap())).unwrap();
        }
    }
    let mut config = ModelFolder::open(&base_model()).unwrap().config;
    config["quantization_config"] = json!({"quant_method": "bitsandbytes", "load_in_4bit": true});
    std::fs::write(temp.path().join("config.json"), config.to_string()).unwrap();
    assert_eq!(generated(temp.path(), &[]), generated(&base_model(), &[]));
}
