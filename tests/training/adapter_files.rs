//! Adapters as PEFT and other tools write them: what is left out, what is stored beside the matrices, what is refused.

use crate::support::binary::{generated, greedy, run_configuration, text};
use crate::support::quickstart::base_model;
use crate::support::tiny_model::{self, HIDDEN, VOCAB};
use olive_model::{Checkpoint, ModelFolder, safetensors_file};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const RANK: usize = 2;
/// `alpha / r`.
const SCALE: f32 = 4.0;

/// Name after `base_model.model.`, shape, seed of the values.
type Part<'a> = (&'a str, [usize; 2], f32);

fn values([rows, cols]: [usize; 2], seed: f32) -> Vec<f32> {
    (0..rows * cols).map(|i| (seed + i as f32 * 0.71).sin() * 0.1).collect()
}

/// Writes an adapter whose configuration is `config` and `"peft_type": "LORA"`.
fn write(dir: &Path, config: Value, parts: &[Part]) {
    let mut config = config;
    config["peft_type"] = json!("LORA");
    std::fs::create_dir_all(dir).unwrap();
    std::fs::write(dir.join("adapter_config.json"), config.to_string()).unwrap();
    let values: Vec<Vec<f32>> = parts.iter().map(|(_, shape, seed)| values(*shape, *seed)).collect();
    let tensors: Vec<_> = parts
        .iter()
        .zip(&values)
        .map(|((name, shape, _), values)| {
            (format!("base_model.model.{name}"), shape.to_vec(), values.as_slice())
        })
        .collect();
    safetensors_file::write_f32(&dir.join("adapter_model.safetensors"), &tensors).unwrap();
}

/// A base and adapters for it.
struct Folders {
    dir: TempDir,
    base: PathBuf,
}

impl Folders {
    fn new(base: Option<PathBuf>) -> Folders {
        let dir = tempfile::tempdir().unwrap();
        let base = base.unwrap_or_else(|| {
            let base = dir.path().join("base");
            std::fs::create_dir(&base).unwrap();
            tiny_model::write(&base, &tiny_model::config());
            base
        });
        Folders { dir, base }
    }

    fn adapter(&self, config: Value, parts: &[Part]) -> PathBuf {
        let dir = self.dir.path().join("adapter");
        let mut config = config;
        config["base_model_name_or_path"] = json!(self.base);
        write(&dir, config, parts);
        dir
    }

    fn run_merge(&self, adapter: &Path) -> std::process::Output {
        let config = json!({
            "input_model": {"type": "HfModel", "model_path": self.base, "adapter_path": adapter},
            "passes": {"merge": {"type": "MergeAdapterWeights"}},
            "cache_dir": self.dir.path().join("cache"), "output_dir": self.out(),
        });
        run_configuration(self.dir.path(), &config)
    }

    fn out(&self) -> PathBuf {
        self.dir.path().join("out")
    }

    /// Merges and gives the result's folder.
    fn merged(&self, adapter: &Path) -> PathBuf {
        let output = self.run_merge(adapter);
        assert!(output.status.success(), "{}", text(&output.stderr));
        self.out().join("model")
    }
}

const Q0: [Part; 2] = [
    ("model.layers.0.self_attn.q_proj.lora_A.weight", [RANK, HIDDEN], 1.0),
    ("model.layers.0.self_attn.q_proj.lora_B.weight", [HIDDEN, RANK], 2.0),
];

#[test]
fn keys_with_a_default_may_be_missing_or_null() {
    let folders = Folders::new(None);
    let full = json!({
        "r": RANK, "lora_alpha": 8, "inference_mode": true, "fan_in_fan_out": false, "target_modules": ["q_proj"],
        "rank_pattern": {}, "alpha_pattern": {}, "bias": "none", "init_lora_weights": true, "use_rslora": false,
        "task_type": "CAUSAL_LM", "use_qalora": false, "qalora_group_size": 16, "megatron_core": "megatron.core",
    });
    let merge = |config: Value| {
        let model = folders.merged(&folders.adapter(config, &Q0));
        std::fs::read(model.join("model.safetensors")).unwrap()
    };
    let expected = merge(full.clone());
    assert_ne!(expected, std::fs::read(folders.base.join("model.safetensors")).unwrap());
    assert_eq!(merge(json!({})), expected);
    for key in full.as_object().unwrap().keys() {
        let mut config = full.clone();
        config[key] = Value::Null;
        assert_eq!(merge(config), expected, "{key}");
    }
    // Of linear layers, PEFT takes it for false.
    assert_eq!(merge(json!({"fan_in_fan_out": true})), expected);
    assert_ne!(merge(json!({"lora_alpha": 9})), expected);
}

#[test]
fn an_adapter_that_is_not_a_product_on_the_stored_base_is_refused_by_the_name_of_its_key() {
    let folders = Folders::new(None);
    for (key, value) in [
        ("init_lora_weights", json!("pissa")),
        ("init_lora_weights", json!("olora")),
        ("layer_replication", json!([[0, 2], [1, 2]])),
        ("lora_bias", json!(true)),
        ("bias", json!("all")),
        ("r", json!("two")),
    ] {
        let adapter = folders.adapter(json!({key: value}), &Q0);
        let merge = folders.run_merge(&adapter);
        let generate = greedy(&adapter, "x", 1).output().unwrap();
        for output in [merge, generate] {
            let said = text(&output.stderr);
            assert!(!output.status.success(), "{key}");
            assert!(said.contains(&format!("`{key}`")) && said.contains("adapter_config.json"), "{said}");
        }
    }
}

/// `base + scale · left · right`, row by row.
fn sum(base: &[f32], left: impl Fn(usize, usize) -> f32, right: impl Fn(usize, usize) -> f32) -> Vec<f32> {
    let delta = |row, col| (0..RANK).map(|r| left(row, r) * right(r, col)).sum::<f32>();
    base.iter().enumerate().map(|(i, w)| w + SCALE * delta(i / HIDDEN, i % HIDDEN)).collect()
}

fn assert_close(found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        // Both the base and the sum are rounded to bf16.
        assert!((found - expected).abs() <= 2e-3, "{found} and {expected}");
    }
}

#[test]
fn adapters_of_head_and_embedding_are_added_to_the_matrix_that_is_stored_with_them() {
    let folders = Folders::new(None);
    let table = [VOCAB, HIDDEN];
    let adapter = folders.adapter(
        json!({"lora_alpha": 8, "r": RANK, "target_modules": ["lm_head", "embed_tokens"]}),
        &[
            ("lm_head.base_layer.weight", table, 3.0),
            ("lm_head.lora_A.weight", [RANK, HIDDEN], 4.0),
            ("lm_head.lora_B.weight", [VOCAB, RANK], 5.0),
            ("model.embed_tokens.lora_embedding_A", [RANK, VOCAB], 6.0),
            ("model.embed_tokens.lora_embedding_B", [HIDDEN, RANK], 7.0),
        ],
    );
    let merged = Checkpoint::open(&folders.merged(&adapter)).unwrap();
    let read = |checkpoint: &Checkpoint, name| checkpoint.tensor(name).unwrap().to_f32().unwrap();

    let (a, b) = (values([RANK, HIDDEN], 4.0), values([VOCAB, RANK], 5.0));
    let head = sum(&values(table, 3.0), |row, r| b[row * RANK + r], |r, col| a[r * HIDDEN + col]);
    assert_close(&read(&merged, "lm_head.weight"), &head);

    let (a, b) = (values([RANK, VOCAB], 6.0), values([HIDDEN, RANK], 7.0));
    let name = "model.embed_tokens.weight";
    let base = read(&Checkpoint::open(&folders.base).unwrap(), name);
    let embedding = sum(&base, |row, r| a[r * VOCAB + row], |r, col| b[col * RANK + r]);
    assert_close(&read(&merged, name), &embedding);
}

#[test]
fn an_adapter_of_the_head_answers_as_its_merged_model_does() {
    let folders = Folders::new(Some(base_model()));
    let spec = ModelFolder::open(&folders.base).unwrap().spec().unwrap();
    let (hidden, vocab) = (spec.hidden_size, spec.vocab_size);
    let adapter = folders.adapter(
        json!({"lora_alpha": 40, "target_modules": ["lm_head", "embed_tokens"]}),
        &[
            ("lm_head.lora_A.weight", [RANK, hidden], 1.0),
            ("lm_head.lora_B.weight", [vocab, RANK], 2.0),
            ("model.embed_tokens.lora_embedding_A", [RANK, vocab], 3.0),
            ("model.embed_tokens.lora_embedding_B", [hidden, RANK], 4.0),
        ],
    );
    let apart = generated(&adapter, &[]);
    assert_eq!(apart, generated(&folders.merged(&adapter), &[]));
    assert_ne!(apart, generated(&folders.base, &[]));
}

#[test]
fn a_tied_head_has_no_adapter_of_its_own() {
    let mut folders = Folders::new(None);
    folders.base = folders.dir.path().join("tied");
    std::fs::create_dir(&folders.base).unwrap();
    let mut config = tiny_model::config();
    config["tie_word_embeddings"] = json!(true);
    tiny_model::write(&folders.base, &config);
    let head =
        [("lm_head.lora_A.weight", [RANK, HIDDEN], 1.0), ("lm_head.lora_B.weight", [VOCAB, RANK], 2.0)];
    let adapter = folders.adapter(json!({"target_modules": ["lm_head"]}), &head);
    for output in [folders.run_merge(&adapter), greedy(&adapter, "x", 1).output().unwrap()] {
        let said = text(&output.stderr);
        assert!(
            said.contains("changes `lm_head`, which this model uses both as embedding and as head"),
            "{said}"
        );
    }
}
