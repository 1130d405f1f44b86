//! Files of a model that are not what their names say, or not there.

use crate::support::binary::{olive, text};
use crate::support::models::in_double_precision;
use crate::support::quickstart::base_model;
use serde_json::{Value, json};
use std::path::Path;
use tempfile::TempDir;

const POINTER: &str = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 1000\n";

/// A copy of a small model.
fn model() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(base_model()).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), dir.path().join(entry.file_name())).unwrap();
    }
    dir
}

/// What the program says when it cannot generate with a model.
fn refusal(model: &Path) -> String {
    let output = olive()
        .args(["generate", "--prompt", "x", "--raw"])
        .arg(model)
        .env("RUST_BACKTRACE", "1")
        .output()
        .unwrap();
    assert!(!output.status.success() && output.stdout.is_empty());
    text(&output.stderr)
}

/// Somebody who starts reading a pipe waits for a writer that never comes, and a device never ends.
#[test]
fn pipes_and_devices_are_refused_at_once() {
    let files = [
        "config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "model.safetensors",
        "chat_template.jinja",
    ];
    for file in files.into_iter().chain(["generation_config.json"]) {
        let model = model();
        let path = model.path().join(file);
        let pipe = || assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        let device = || std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
        for put in [&pipe as &dyn Fn(), &device] {
            let _ = std::fs::remove_file(&path);
            put();
            let said = refusal(model.path());
            assert!(said.contains("error: ") && said.contains(file), "{file}: {said}");
        }
    }
}

#[test]
fn names_in_a_model_lead_nowhere_else() {
    let outside = model();
    let model = model();
    let weights = model.path().join("model.safetensors");
    let theirs = outside.path().join("model.safetensors");
    let index = model.path().join("model.safetensors.index.json");
    std::fs::remove_file(&weights).unwrap();
    let relative = format!("../{}/model.safetensors", outside.path().file_name().unwrap().display());
    let others = ["a/../../x", "a/b.safetensors", "", ".", "..", "a\nb"].map(Value::from);
    for name in others.into_iter().chain([json!(theirs), json!(relative), json!(7), json!(null)]) {
        let map = json!({"weight_map": {"model.norm.weight": name}});
        std::fs::write(&index, map.to_string()).unwrap();
        let said = refusal(model.path());
        assert!(said.contains("index.json` is damaged: `weight_map.model.norm.weight` is"), "{name}: {said}");
    }
    let genai = |name: &str| {
        serde_json::json!({"model": {
            "type": "llama", "context_length": 8, "vocab_size": 9, "eos_token_id": 2,
            "decoder": {
                "filename": name, "head_size": 1, "num_hidden_layers": 1, "num_key_value_heads": 1,
                "inputs": {
                    "input_ids": "i", "past_key_names": "p.%d.key", "past_value_names": "p.%d.value",
                },
                "outputs": {"logits": "l", "present_key_names": "k.%d", "present_value_names": "v.%d"},
            },
        }})
    };
    for name in ["../model.onnx", "/etc/passwd", ""] {
        std::fs::write(model.path().join("genai_config.json"), genai(name).to_string()).unwrap();
        let said = refusal(model.path());
        assert!(said.contains("`model.decoder.filename`"), "{name}: {said}");
    }
}

#[test]
fn a_git_lfs_pointer_is_told_from_a_damaged_file() {
    for file in ["model.safetensors", "config.json", "tokenizer_config.json"] {
        let model = model();
        std::fs::write(model.path().join(file), POINTER).unwrap();
        let said = refusal(model.path());
        assert!(said.contains(&format!("{file}` is a Git LFS pointer")), "{file}: {said}");
        assert!(said.contains("git lfs pull"), "{said}");
    }
    let dir = tempfile::tempdir().unwrap();
    let gguf = dir.path().join("model.gguf");
    std::fs::write(&gguf, POINTER).unwrap();
    let said = refusal(&gguf);
    assert!(said.contains("model.gguf` is a Git LFS pointer") && said.contains("git lfs pull"), "{said}");
}

#[test]
fn a_file_that_holds_no_object_is_named() {
    for file in ["config.json", "generation_config.json", "tokenizer_config.json"] {
        for content in ["false", "7", "[]", "\"x\""] {
            let model = model();
            std::fs::write(model.path().join(file), content).unwrap();
            let said = refusal(model.path());
            assert!(said.contains(&format!("{file}` is damaged: it does not hold")), "{file}: {said}");
        }
    }
}

#[test]
fn pickled_weights_are_named() {
    for file in ["pytorch_model.bin", "pytorch_model-00001-of-00002.bin", "consolidated.00.pth"] {
        let model = model();
        std::fs::rename(model.path().join("model.safetensors"), model.path().join(file)).unwrap();
        let said = refusal(model.path());
        assert!(said.contains(file) && said.contains("save_pretrained"), "{said}");
    }
}

#[test]
fn a_download_that_is_not_complete_is_named() {
    let model = model();
    let whole = model.path().join("model.safetensors");
    std::fs::rename(&whole, model.path().join("model-00001-of-00003.safetensors")).unwrap();
    let index = r#"{"weight_map": {"a": "model-00001-of-00003.safetensors",
        "b": "model-00002-of-00003.safetensors", "c": "model-00003-of-00003.safetensors"}}"#;
    std::fs::write(model.path().join("model.safetensors.index.json"), index).unwrap();
    let said = refusal(model.path());
    assert!(said.contains("names 3 files of weights, of which 2 are not there"), "{said}");
    assert!(
        said.contains("`model-00002-of-00003.safetensors`, …") && said.contains("download the rest"),
        "{said}"
    );
}

/// The library panics there.
#[test]
fn a_tokenizer_that_ends_in_its_decoder_is_named() {
    let model = model();
    let path = model.path().join("tokenizer.json");
    let text = std::fs::read_to_string(&path).unwrap();
    let decoder = text.find("\"decoder\"").unwrap();
    std::fs::write(&path, &text[..decoder + "\"decoder\": {\"ty".len()]).unwrap();
    let said = refusal(model.path());
    assert!(said.starts_with("error: the tokenizer") && !said.contains("panicked"), "{said}");
}

#[test]
fn messages_hold_no_backtrace() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.gguf");
    // The header of a file with one tensor of a type that is not read.
    let mut bytes = b"GGUF".to_vec();
    bytes.extend(3u32.to_le_bytes());
    bytes.extend(1u64.to_le_bytes());
    bytes.extend(0u64.to_le_bytes());
    bytes.extend(1u64.to_le_bytes());
    bytes.extend(b"t");
    bytes.extend(1u32.to_le_bytes());
    bytes.extend(32u64.to_le_bytes());
    for (number, name) in [(39u32, "MXFP4"), (99, "the type 99")] {
        let mut bytes = bytes.clone();
        bytes.extend(number.to_le_bytes());
        bytes.extend(0u64.to_le_bytes());
        std::fs::write(&path, &bytes).unwrap();
        let said = refusal(&path);
        assert!(said.contains(name) && said.lines().count() <= 4, "{said}");
    }
    std::fs::write(&path, "something else altogether").unwrap();
    let said = refusal(&path);
    assert!(said.contains("does not begin as a GGUF file") && said.lines().count() <= 4, "{said}");
}

#[test]
fn weights_in_double_precision_are_read() {
    let model = model();
    let path = model.path().join("model.safetensors");
    let answer = |model: &Path| {
        let output = olive()
            .args([
                "generate",
                "--prompt",
                "x",
                "--raw",
                "--temperature",
                "0",
                "--max-new-tokens",
                "8",
                "--json",
            ])
            .arg(model)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()["ids"].clone()
    };
    let want = answer(model.path());
    in_double_precision(&path);
    assert_eq!(answer(model.path()), want);
}
