//! `gguf/<model>.json`: our GGUF files against those of llama.cpp's converters and quantiser.

use crate::support::binary::{greedy, olive, succeed};
use crate::support::gguf::File;
use crate::support::models::read_json;
use crate::support::shared::{say, shared};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Models whose families are here, beside the goldens of their training, and one that is there for its blocks of 256 values.
fn model(goldens: &Path, name: &str) -> PathBuf {
    match name {
        "llama256" => goldens.join("gguf/llama256/hf"),
        name => goldens.join("models").join(name).join("hf"),
    }
}

/// Where a file differs from a golden.
fn differences(file: &File, golden: &Value, kind: &str) -> Vec<String> {
    let of_kind = &golden["types"][kind];
    let listed = |name: &str, key: &str| golden[name].as_array().unwrap().iter().any(|known| known == key);
    let keys = golden["keys"].as_object().unwrap().iter();
    let keys = keys.chain(of_kind["keys"].as_object().into_iter().flatten());
    let mut found = Vec::new();
    for (key, wanted) in keys {
        // Of lists the goldens show the first elements, too.
        let mut wanted = wanted.clone();
        if wanted[0] == "arr" {
            wanted[1].as_array_mut().unwrap().truncate(3);
        }
        match file.keys.get(key) {
            None if listed("optional", key) => {}
            Some(has) if listed("free", key) && has[0] == wanted[0] => {}
            Some(has) if *has == wanted => {}
            has => found.push(format!("{key}: {has:?} instead of {wanted}")),
        }
    }
    let tensors = of_kind["tensors"].as_object().unwrap();
    for (name, wanted) in tensors {
        let shape = &golden["shapes"][name];
        match file.tensors.get(name) {
            Some((label, own, hash))
                if wanted[0] == *label && wanted[1] == *hash && *shape == serde_json::json!(own) => {}
            has => found.push(format!("{name}: {has:?} instead of {wanted} {shape}")),
        }
    }
    found.extend(
        file.tensors
            .keys()
            .filter(|name| !tensors.contains_key(*name))
            .map(|name| format!("{name}: not there")),
    );
    found
}

#[test]
fn models() {
    let Some(goldens) = shared("goldens") else { return };
    let dir = tempfile::tempdir().unwrap();
    for name in ["llama", "llama256", "gemma2", "phi3", "phi3-longrope", "qwen2", "qwen3"] {
        let golden = read_json(&goldens.join(format!("gguf/{name}.json")));
        for kind in ["f32", "f16", "bf16", "q8_0", "q4_0"] {
            let path = dir.path().join(format!("{name}-{kind}.gguf"));
            let mut command = olive();
            command.args(["export", "--name", "Tiny", "--precision", kind, "--to"]).arg(&path);
            succeed(command.arg(model(&goldens, name)));
            let file = File::read(&path);
            let found = differences(&file, &golden, kind);
            assert!(found.is_empty(), "{name} {kind}:\n{}", found.join("\n"));
            same_answers(&path, name, &golden, kind);
            say(&format!(
                "gguf/{name} {kind}: {} tensors, {} keys, all equal",
                file.tensors.len(),
                file.keys.len()
            ));
        }
    }
}

/// Read again, the file gives the tokens of libllama on its weights as f32: those of the blocks, not rounded.
fn same_answers(file: &Path, name: &str, golden: &Value, kind: &str) {
    let of_kind = &golden["types"][kind];
    let answers = of_kind.get("greedy_dequantised").unwrap_or(&of_kind["greedy"]).as_array().unwrap();
    let prompts = golden["prompts"].as_array().unwrap();
    assert_eq!((answers.len(), prompts.len()), (2, 2));
    for (prompt, expected) in prompts.iter().zip(answers) {
        // libllama takes the long factors for short texts, too.
        if name == "phi3-longrope" && prompt["input_ids"].as_array().unwrap().len() < 32 {
            continue;
        }
        let mut command = greedy(file, prompt["text"].as_str().unwrap(), 16);
        let output = succeed(command.env("XDG_CACHE_HOME", file.parent().unwrap()));
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(answer["ids"], *expected, "{name} {kind}: {}", prompt["text"]);
    }
}

#[test]
fn adapters() {
    let Some(goldens) = shared("goldens") else { return };
    let dir = tempfile::tempdir().unwrap();
    for name in ["llama", "gemma2", "phi3", "phi3-all", "phi3-longrope", "qwen2", "qwen3"] {
        let golden = read_json(&goldens.join(format!("gguf/lora-{name}.json")));
        let path = dir.path().join(format!("{name}.gguf"));
        let mut command = olive();
        command.args(["export", "--adapter-only", "--name", "Adapter", "--to"]).arg(&path);
        command.arg("--base").arg(model(&goldens, name.trim_end_matches("-all")));
        succeed(command.arg(goldens.join("train").join(name).join("adapter_final")));
        let file = File::read(&path);
        let found = differences(&file, &golden, "lora-f32");
        assert!(found.is_empty(), "{name}:\n{}", found.join("\n"));
        say(&format!("gguf/lora-{name}: {} tensors, all equal", file.tensors.len()));
    }
}
