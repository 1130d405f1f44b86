//! Models whose configuration ties head and embedding, and whose weights have a head of their own.

use crate::support::binary::{generated, run_configuration, text};
use crate::support::models::read_json;
use crate::support::quickstart::base_model;
use olive_model::safetensors_file::write_f32;
use olive_model::{Checkpoint, ModelFolder};
use serde_json::json;
use std::path::{Path, PathBuf};

/// The quickstart's model, which has a head of its own, with a configuration that denies it.
fn tied(dir: &Path) -> PathBuf {
    let model = dir.join("tied");
    std::fs::create_dir(&model).unwrap();
    for entry in std::fs::read_dir(base_model()).unwrap() {
        let from = entry.unwrap().path();
        if from.is_file() {
            std::fs::copy(&from, model.join(from.file_name().unwrap())).unwrap();
        }
    }
    let config = std::fs::read_to_string(base_model().join("config.json")).unwrap();
    let denied = config.replace("\"tie_word_embeddings\": false", "\"tie_word_embeddings\": true");
    assert_ne!(config, denied);
    std::fs::remove_file(model.join("config.json")).unwrap();
    std::fs::write(model.join("config.json"), denied).unwrap();
    model
}

#[test]
fn a_head_of_its_own_is_used_and_exported() {
    let temp = tempfile::tempdir().unwrap();
    let model = tied(temp.path());
    let own = generated(&base_model(), &[]);
    assert_eq!(generated(&model, &[]), own);

    crate::support::runtime::library();
    let out = temp.path().join("onnx");
    let config = json!({
        "input_model": {"type": "HfModel", "model_path": model},
        "passes": {"builder": {"type": "ModelBuilder", "precision": "fp32"}},
        "cache_dir": temp.path().join("cache"), "output_dir": out,
    });
    let run = run_configuration(temp.path(), &config);
    assert!(run.status.success(), "{}", text(&run.stderr));
    assert_eq!(generated(&out, &[]), own);
    // Whoever reads this configuration must not tie them either; all else in it is as it was.
    let written = |dir: &Path| std::fs::read_to_string(dir.join("config.json")).unwrap();
    assert_eq!(written(&out), written(&base_model()));
}

#[test]
fn a_head_that_equals_the_embedding_is_tied() {
    let temp = tempfile::tempdir().unwrap();
    let folder = |name: &str, head: &[f32]| {
        let dir = temp.path().join(name);
        std::fs::create_dir(&dir).unwrap();
        let mut config = read_json(&base_model().join("config.json"));
        config["tie_word_embeddings"] = json!(true);
        for (key, size) in
            [("vocab_size", 2), ("hidden_size", 2), ("num_attention_heads", 1), ("num_key_value_heads", 1)]
        {
            config[key] = size.into();
        }
        std::fs::write(dir.join("config.json"), config.to_string()).unwrap();
        let shape = vec![2, 2];
        let tensors = [
            ("lm_head.weight".to_owned(), shape.clone(), head),
            ("model.embed_tokens.weight".to_owned(), shape, &[1.0, 2.0, 3.0, 4.0][..]),
        ];
        write_f32(&dir.join("model.safetensors"), &tensors).unwrap();
        assert!(Checkpoint::open(&dir).is_ok());
        ModelFolder::open(&dir).unwrap().spec().unwrap().tied
    };
    assert!(folder("equal", &[1.0, 2.0, 3.0, 4.0]));
    assert!(!folder("other", &[1.0, 2.0, 3.0, 5.0]));
}
