//! A Llama of two layers with weights made on the spot, and adapters for it.

use half::bf16;
use olive_model::adapter::LoraPair;
use olive_model::adapter_config::TargetModules;
use olive_model::safetensors_file::{Entry, Writer};
use olive_model::{Adapter, AdapterConfig};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

pub(crate) const HIDDEN: usize = 64;
pub(crate) const INNER: usize = 176;
pub(crate) const VOCAB: usize = 96;
pub(crate) const LAYERS: usize = 2;
/// Two key-value heads of 16.
pub(crate) const KV: usize = 32;

pub(crate) fn config() -> Value {
    json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu",
        "hidden_size": HIDDEN, "intermediate_size": INNER, "vocab_size": VOCAB,
        "num_hidden_layers": LAYERS, "num_attention_heads": 4, "num_key_value_heads": 2,
        "max_position_embeddings": 128, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
        "tie_word_embeddings": false, "bos_token_id": 1, "eos_token_id": 2,
    })
}

/// Smooth but irregular numbers that depend on the tensor's name.
fn values(name: &str, count: usize) -> Vec<f32> {
    let seed: u32 = name.bytes().fold(7, |seed, b| seed.wrapping_mul(31).wrapping_add(u32::from(b)));
    (0..count).map(|i| ((seed % 997) as f32 + i as f32 * 0.37).sin() * 0.3).collect()
}

/// Writes a model folder with bf16 weights.
pub(crate) fn write(dir: &Path, config: &Value) {
    let mut shapes: Vec<(String, Vec<usize>)> = vec![
        ("model.embed_tokens.weight".into(), vec![VOCAB, HIDDEN]),
        ("model.norm.weight".into(), vec![HIDDEN]),
    ];
    if config["tie_word_embeddings"] == false {
        shapes.push(("lm_head.weight".into(), vec![VOCAB, HIDDEN]));
    }
    for layer in 0..LAYERS {
        for (name, shape) in [
            ("input_layernorm", vec![HIDDEN]),
            ("post_attention_layernorm", vec![HIDDEN]),
            ("self_attn.q_proj", vec![HIDDEN, HIDDEN]),
            ("self_attn.k_proj", vec![KV, HIDDEN]),
            ("self_attn.v_proj", vec![KV, HIDDEN]),
            ("self_attn.o_proj", vec![HIDDEN, HIDDEN]),
            ("mlp.gate_proj", vec![INNER, HIDDEN]),
            ("mlp.up_proj", vec![INNER, HIDDEN]),
            ("mlp.down_proj", vec![HIDDEN, INNER]),
        ] {
            shapes.push((format!("model.layers.{layer}.{name}.weight"), shape));
        }
    }
    let entries: Vec<Entry> = shapes
        .iter()
        .map(|(name, shape)| Entry {
            name: name.clone(),
            dtype: "BF16",
            shape: shape.clone(),
            bytes: 2 * shape.iter().product::<usize>(),
        })
        .collect();
    let mut writer = Writer::create(&dir.join("model.safetensors"), &entries).unwrap();
    for (name, shape) in &shapes {
        for value in values(name, shape.iter().product()) {
            writer.write(&bf16::from_f32(value).to_le_bytes()).unwrap();
        }
    }
    writer.finish().unwrap();
    std::fs::write(dir.join("config.json"), config.to_string()).unwrap();
    std::fs::write(dir.join("tokenizer.json"), r#"{"added_tokens":[{"id":3,"content":"<|im_end|>"}]}"#)
        .unwrap();
    let tokenizer = r#"{"eos_token": {"content": "<|im_end|>"}, "model_max_length": 1e30, "x": 1}"#;
    std::fs::write(dir.join("tokenizer_config.json"), tokenizer).unwrap();
    std::fs::write(dir.join("chat_template.jinja"), "{{ messages }}").unwrap();
}

/// An adapter of rank 3 on these modules: name, out features, in features.
pub(crate) fn adapter(modules: &[(&str, usize, usize)]) -> Adapter {
    const RANK: usize = 3;
    let pairs = modules.iter().map(|(module, out, inp)| {
        let pair = LoraPair {
            magnitude: None,
            a: values(&format!("{module}.a"), RANK * inp),
            b: values(&format!("{module}.b"), out * RANK),
            rank: RANK,
            in_features: *inp,
            out_features: *out,
            scale: 2.0,
        };
        ((*module).to_owned(), pair)
    });
    Adapter {
        config: AdapterConfig {
            base_model_name_or_path: None,
            bias: "none".into(),
            fan_in_fan_out: false,
            inference_mode: true,
            lora_alpha: 6.0,
            lora_dropout: 0.0,
            modules_to_save: None,
            peft_type: "LORA".into(),
            r: RANK,
            revision: None,
            rank_pattern: BTreeMap::new(),
            alpha_pattern: Vec::new(),
            target_modules: TargetModules::Names(vec!["q_proj".into()]),
            task_type: Some("CAUSAL_LM".into()),
            use_dora: false,
            use_rslora: false,
        },
        whole: BTreeMap::new(),
        modules: pairs.collect(),
    }
}
