//! Values of a model's JSON files that are not what their keys take: each is refused by name, none is passed over.

use crate::support::binary::{greedy, olive, text};
use crate::support::models::{family, fixture};
use crate::support::quickstart::base_model;
use olive_arch::Spec;
use serde_json::{Value, json};
use std::path::Path;

/// A model folder with the fixture's weights and this configuration.
fn write(dir: &Path, name: &str, config: &Value) {
    std::fs::write(dir.join("config.json"), config.to_string()).unwrap();
    let weights = fixture("models").join(name).join("model.safetensors");
    std::fs::copy(weights, dir.join("model.safetensors")).unwrap();
}

/// What the program says about a model that it cannot use; it must say so by itself.
fn refusal(model: &Path) -> String {
    let output = greedy(model, "x", 1).output().unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    said
}

#[test]
fn a_value_that_its_key_does_not_take_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let huge = json!(1u64 << 40);
    for (name, key, value) in [
        ("llama31", "num_attention_heads", json!(0)),
        ("llama31", "num_key_value_heads", json!(0)),
        ("llama31", "num_key_value_heads", json!("2")),
        ("llama31", "head_dim", json!(-1)),
        ("llama31", "head_dim", json!(16.5)),
        ("llama31", "hidden_size", huge.clone()),
        ("llama31", "intermediate_size", json!(0)),
        ("llama31", "vocab_size", json!([128])),
        ("llama31", "num_hidden_layers", json!(i32::MAX)),
        ("llama31", "max_position_embeddings", huge),
        ("llama31", "rms_norm_eps", json!("0.5")),
        ("llama31", "rope_theta", json!("1000000")),
        ("llama31", "rope_theta", json!(0)),
        ("llama31", "rope_parameters", json!(5)),
        ("llama31", "original_max_position_embeddings", json!("32")),
        ("llama31", "partial_rotary_factor", json!(true)),
        ("llama31", "hidden_act", json!(7)),
        ("llama31", "attention_bias", json!("false")),
        ("llama31", "tie_word_embeddings", json!(0)),
        ("llama31", "model_type", json!(1)),
        ("llama31", "architectures", json!("LlamaForCausalLM")),
        ("llama31", "eos_token_id", json!("2")),
        ("llama31", "eos_token_id", json!([2, "3"])),
        ("llama31", "pad_token_id", json!(0.5)),
        ("mistral", "sliding_window", json!(0)),
        ("mistral", "sliding_window", json!("64")),
        ("gemma3", "layer_types", json!(["sliding_attention", 1, 1, 1, 1, 1, 1, 1])),
        ("gemma3", "query_pre_attn_scalar", json!(0)),
        ("gemma3", "rope_parameters", json!({"full_attention": {"rope_theta": {}}})),
        ("granite", "logits_scaling", json!("8")),
        ("smollm3", "no_rope_layers", json!([1, 1, 1, null])),
        ("glm", "partial_rotary_factor", json!(null)),
    ] {
        let mut config = family(name).config;
        config[key] = value.clone();
        write(dir.path(), name, &config);
        if value.is_null() {
            Spec::from_config(&config).unwrap();
            continue;
        }
        let said = refusal(dir.path());
        let shown = if key == "rope_parameters" && value.is_object() { json!({}) } else { value };
        assert!(said.contains(key) && said.contains(&shown.to_string()), "{name}: {key}: {said}");
    }
}

#[test]
fn lists_are_as_long_as_the_model() {
    let dir = tempfile::tempdir().unwrap();
    for (name, key, value) in
        [("gemma3", "layer_types", json!(["full_attention"])), ("smollm3", "no_rope_layers", json!([1]))]
    {
        let mut config = family(name).config;
        config[key] = value;
        write(dir.path(), name, &config);
        let said = refusal(dir.path());
        assert!(said.contains(&format!("`{key}` has 1 entries for")), "{said}");
    }
}

#[test]
fn null_is_as_good_as_left_out() {
    for folder in crate::support::models::families() {
        let config = family(&crate::support::models::name(&folder)).config;
        for key in config.as_object().unwrap().keys() {
            let (mut null, mut without) = (config.clone(), config.clone());
            null[key] = Value::Null;
            without.as_object_mut().unwrap().remove(key);
            let read = |config: &Value| Spec::from_config(config).map_err(|error| error.to_string());
            assert_eq!(read(&null), read(&without), "{folder:?}: {key}");
        }
    }
}

#[test]
fn sizes_are_those_of_the_weights() {
    let dir = tempfile::tempdir().unwrap();
    for (key, value, found) in [
        ("num_hidden_layers", 3, "the weights end with layer 1"),
        ("vocab_size", 129, "the weights have a vocabulary of 128"),
        ("hidden_size", 128, "the weights are of size 64"),
        ("num_attention_heads", 8, "q_proj.weight` has the shape [64, 64] where [128, 64] is needed"),
        ("intermediate_size", 1 << 30, "gate_proj.weight` has the shape [96, 64]"),
    ] {
        let mut config = family("llama31").config;
        config[key] = value.into();
        write(dir.path(), "llama31", &config);
        let said = refusal(dir.path());
        assert!(said.contains(found), "{key}: {said}");
    }
}

#[test]
fn the_settings_of_generation_are_of_their_types() {
    let dir = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(base_model()).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), dir.path().join(entry.file_name())).unwrap();
    }
    let generate = |settings: &Value| {
        std::fs::write(dir.path().join("generation_config.json"), settings.to_string()).unwrap();
        let arguments = ["generate", "--raw", "--prompt", "x", "--max-new-tokens", "1"];
        olive().args(arguments).arg(dir.path()).output().unwrap()
    };
    for (key, value) in [
        ("temperature", json!("0.7")),
        ("do_sample", json!("yes")),
        ("top_k", json!(-1)),
        ("repetition_penalty", json!([1.1])),
        ("eos_token_id", json!("2")),
        ("eos_token_id", json!([2, 0.5])),
    ] {
        let output = generate(&json!({ key: value }));
        let said = text(&output.stderr);
        let named = said.contains(&format!("generation_config.json: `{key}` is {value}"));
        assert!(output.status.code() == Some(1) && named, "{said}");
    }
    let none = json!({"temperature": null, "do_sample": null, "top_k": null, "eos_token_id": -1});
    assert!(generate(&none).status.success());
}
