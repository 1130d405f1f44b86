//! Configurations whose passes run on AzureML: what is read, planned and refused, all of it without a network.

mod plan;
mod resources;
mod system;

use crate::support::binary::{olive as program, text};
use olive_config::{AzureMlSystem, LoadOptions};
use olive_engine::{REGISTRY, RunConfig};
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;

/// All three passes on one compute, with data in its workspace.
pub const COMPLETE: &str = r#"{
  "azureml_client": {
    "subscription_id": "5e0a1c7e-0b1d-4c1e-9b57-3f5c9f2f7a10", "resource_group": "rg-ml",
    "workspace_name": "ml-west", "keyvault_name": "ml-vault"
  },
  "input_model": {"type": "HfModel", "model_path": "org/model"},
  "systems": {
    "aml": {"type": "AzureML", "config": {
      "accelerators": [{"device": "gpu", "execution_providers": ["CUDAExecutionProvider"]}],
      "aml_compute": "gpu-cluster",
      "aml_docker_config": {"base_image": "registry.example/cuda:12"},
      "binary": "olive-linux"
    }},
    "other": {"type": "AzureML", "config": {
      "aml_compute": "other-cluster", "aml_environment_config": {"name": "env", "label": "latest"}
    }}
  },
  "data_configs": [{
    "name": "rows", "type": "HuggingfaceContainer",
    "load_dataset_config": {"data_name": "json", "split": "train", "data_files": {
      "type": "azureml_datastore", "config": {"datastore_name": "store", "relative_path": "rows.jsonl"}
    }},
    "pre_process_data_config": {"text_template": "{q}"}
  }],
  "passes": {
    "lora": {"type": "LoRA", "train_data_config": "rows"},
    "merge": {"type": "MergeAdapterWeights"},
    "builder": {"type": "ModelBuilder", "precision": "int4"}
  },
  "host": "aml", "target": "aml", "output_dir": "out"
}"#;

const DATA: &str = r#"{
      "type": "azureml_datastore", "config": {"datastore_name": "store", "relative_path": "rows.jsonl"}
    }"#;

fn complete() -> Value {
    serde_json::from_str(COMPLETE).expect("JSON")
}

/// The complete file with `from` replaced, which must be in it.
fn edited(edits: &[(&str, &str)]) -> String {
    edits.iter().fold(COMPLETE.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from}");
        text.replacen(from, to, 1)
    })
}

struct Outcome {
    code: Option<i32>,
    out: String,
    err: String,
}

/// Runs the program on a configuration, in a folder that has what jobs are given.
fn run(arguments: &[&str], config: &str) -> Outcome {
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(folder.path().join("c.json"), config).expect("written");
    std::fs::write(folder.path().join("olive-linux"), "").expect("written");
    let outcome = run_in(folder.path(), arguments);
    let left: Vec<_> =
        std::fs::read_dir(folder.path()).expect("read").map(|e| e.expect("e").file_name()).collect();
    assert_eq!(left.len(), 2, "nothing is written: {left:?}");
    outcome
}

fn run_in(folder: &Path, arguments: &[&str]) -> Outcome {
    let mut program = program();
    let program = program.current_dir(folder).env("HF_HOME", folder.join("hub")).env("HF_HUB_OFFLINE", "1");
    let output = program.args(arguments).output().expect("the program runs");
    Outcome { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
}

fn load(config: &Value) -> RunConfig {
    let name = Path::new("c");
    RunConfig::from_value(config, name, &LoadOptions::default(), &REGISTRY).unwrap_or_else(|e| panic!("{e}"))
}

/// What is wrong with it, one line each, without hints.
fn errors(config: &str) -> Vec<String> {
    let config = serde_json::from_str(config).expect("JSON");
    let options = LoadOptions::default();
    let error = RunConfig::from_value(&config, Path::new("c"), &options, &REGISTRY).expect_err("mistakes");
    let text = error.to_string();
    let lines = text.lines().filter(|line| line.starts_with("c:"));
    lines.map(|line| line.splitn(4, ':').nth(3).unwrap_or_default().trim().to_owned()).collect()
}

fn system(config: &RunConfig, name: &str) -> Arc<AzureMlSystem> {
    config.systems[name].azure_ml.clone().unwrap_or_else(|| panic!("{name} runs passes"))
}
