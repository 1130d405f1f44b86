//! Metadata of a GGUF file as a Hugging Face `config.json`.

use super::file::Gguf;
use super::{Found, rope};
use serde_json::{Map, Value, json};

/// The families that can be read: `general.architecture`, the Hugging Face architecture and `model_type`.
const FAMILIES: &[(&str, &str, &str)] = &[
    ("llama", "LlamaForCausalLM", "llama"),
    ("phi3", "Phi3ForCausalLM", "phi3"),
    ("qwen2", "Qwen2ForCausalLM", "qwen2"),
    ("qwen3", "Qwen3ForCausalLM", "qwen3"),
    ("gemma2", "Gemma2ForCausalLM", "gemma2"),
    ("gemma3", "Gemma3ForCausalLM", "gemma3_text"),
    ("granite", "GraniteForCausalLM", "granite"),
    ("smollm3", "SmolLM3ForCausalLM", "smollm3"),
    ("olmo2", "Olmo2ForCausalLM", "olmo2"),
];

/// Turns of a chat end with one of these, which files do not always name as an end.
const TURN_ENDS: [&str; 6] =
    ["<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<|end|>", "<end_of_turn>", "<|end_of_role|>"];

/// The family's name in GGUF.
pub(super) fn architecture(gguf: &Gguf) -> Found<&'static str> {
    let found = gguf.text("general.architecture").ok_or("it does not name its architecture")?;
    let known = FAMILIES.iter().map(|(name, ..)| *name);
    known.clone().find(|name| *name == found).ok_or_else(|| {
        format!(
            "its architecture `{found}` is not supported; supported are {}",
            known.collect::<Vec<_>>().join(", ")
        )
    })
}

/// `config.json`. `dtype` is the storage type of the converted weights, as transformers names it.
pub(super) fn config(gguf: &Gguf, arch: &str, dtype: &str) -> Found<Value> {
    let reader = Reader { gguf, arch };
    let &(_, mut class, mut model_type) =
        FAMILIES.iter().find(|(name, ..)| *name == arch).ok_or("an unknown architecture")?;
    let window = reader.size("attention.sliding_window").filter(|window| *window > 0);
    if arch == "llama" && window.is_some() {
        (class, model_type) = ("MistralForCausalLM", "mistral");
    }
    if reader.size("expert_count").is_some_and(|experts| experts > 0) {
        return Err("it is a mixture of experts, which is not supported".into());
    }
    let hidden = reader.need("embedding_length")?;
    let heads = reader.need("attention.head_count")?;
    if heads == 0 {
        return Err("it has no attention heads".into());
    }
    let head_dim = reader.size("attention.key_length").unwrap_or(hidden / heads);
    let context = reader.need("context_length")?;
    let vocab = match gguf.tensor("token_embd.weight") {
        Some((&[vocab, _], _)) => vocab,
        _ => return Err("it has no embedding matrix `token_embd.weight`".into()),
    };
    let layers = reader.need("block_count")?;
    let theta = reader.number("rope.freq_base").unwrap_or(10_000.0);
    let rotary_dim = reader.size("rope.dimension_count").unwrap_or(head_dim);
    let mut config = json!({
        "architectures": [class],
        "model_type": model_type,
        "dtype": dtype,
        "torch_dtype": dtype,
        "vocab_size": vocab,
        "hidden_size": hidden,
        "intermediate_size": reader.need("feed_forward_length")?,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": reader.size("attention.head_count_kv").unwrap_or(heads),
        "head_dim": head_dim,
        "hidden_act": "silu",
        "max_position_embeddings": context,
        "rms_norm_eps": reader.needed_number("attention.layer_norm_rms_epsilon")?,
        "rope_theta": theta,
        "rope_scaling": rope::scaling(gguf, arch, rotary_dim, theta, context)?,
        "attention_bias": arch != "qwen2" && gguf.tensor("blk.0.attn_q.bias").is_some(),
        "mlp_bias": gguf.tensor("blk.0.ffn_up.bias").is_some(),
        "tie_word_embeddings": gguf.tensor("output.weight").is_none(),
        "use_cache": true,
    });
    let object = config.as_object_mut().ok_or("no object")?;
    if rotary_dim != head_dim {
        object.insert("partial_rotary_factor".into(), json!(rotary_dim as f64 / head_dim as f64));
    }
    if let Some(window) = window {
        object.insert("sliding_window".into(), json!(window));
    }
    if let Some(original) = reader.size("rope.scaling.original_context_length") {
        object.insert("original_max_position_embeddings".into(), json!(original));
    }
    for (ours, theirs) in [("bos_token_id", "bos"), ("eos_token_id", "eos"), ("pad_token_id", "padding")] {
        if let Some(id) = gguf.size(&format!("tokenizer.ggml.{theirs}_token_id")) {
            object.insert(ours.into(), json!(id));
        }
    }
    reader.family(object, heads, hidden, head_dim, layers)?;
    Ok(config)
}

/// `generation_config.json`: where answers end.
pub(super) fn generation_config(gguf: &Gguf) -> Value {
    let id = |name: &str| gguf.size(&format!("tokenizer.ggml.{name}_token_id"));
    let mut ends: Vec<usize> = ["eos", "eot", "eom"].iter().filter_map(|name| id(name)).collect();
    let template = gguf.text("tokenizer.chat_template").unwrap_or_default();
    let tokens = gguf.texts("tokenizer.ggml.tokens").unwrap_or_default();
    for end in TURN_ENDS.iter().filter(|end| template.contains(**end)) {
        ends.extend(tokens.iter().position(|token| token == end));
    }
    let mut unique: Vec<usize> = Vec::new();
    for end in ends {
        if !unique.contains(&end) {
            unique.push(end);
        }
    }
    let mut config = Map::new();
    for (ours, theirs) in [("bos_token_id", "bos"), ("pad_token_id", "padding")] {
        if let Some(id) = id(theirs) {
            config.insert(ours.into(), json!(id));
        }
    }
    match unique[..] {
        [] => {}
        [one] => drop(config.insert("eos_token_id".into(), json!(one))),
        _ => drop(config.insert("eos_token_id".into(), json!(unique))),
    }
    Value::Object(config)
}

struct Reader<'a> {
    gguf: &'a Gguf,
    arch: &'a str,
}

impl Reader<'_> {
    /// What only some families have.
    fn family(
        &self,
        config: &mut Map<String, Value>,
        heads: usize,
        hidden: usize,
        head_dim: usize,
        layers: usize,
    ) -> Found<()> {
        let mut set = |key: &str, value: Value| drop(config.insert(key.into(), value));
        match self.arch {
            "gemma2" | "gemma3" => {
                set("hidden_activation", json!("gelu_pytorch_tanh"));
                // The file does not tell: the largest models scale by hidden / heads, the others by the head's size.
                let largest = (self.arch, layers) == ("gemma2", 46) || (self.arch, layers) == ("gemma3", 62);
                set("query_pre_attn_scalar", json!(if largest { hidden / heads } else { head_dim }));
                for key in ["attn_logit_softcapping", "final_logit_softcapping"] {
                    if let Some(cap) = self.number(key).filter(|cap| *cap > 0.0) {
                        set(key, json!(cap));
                    }
                }
                if self.arch == "gemma3" {
                    set("rope_local_base_freq", json!(self.number("rope.freq_base_swa").unwrap_or(10_000.0)));
                    set(
                        "sliding_window_pattern",
                        json!(self.size("attention.sliding_window_pattern").unwrap_or(6)),
                    );
                }
            }
            "granite" => {
                set("attention_multiplier", json!(self.needed_number("attention.scale")?));
                set("embedding_multiplier", json!(self.needed_number("embedding_scale")?));
                set("residual_multiplier", json!(self.needed_number("residual_scale")?));
                set("logits_scaling", json!(self.needed_number("logit_scale")?));
            }
            // The file does not tell: every fourth layer does not rotate.
            "smollm3" => set("no_rope_layer_interval", json!(4)),
            _ => {}
        }
        Ok(())
    }

    fn size(&self, key: &str) -> Option<usize> {
        self.gguf.size(&format!("{}.{key}", self.arch))
    }

    fn number(&self, key: &str) -> Option<f64> {
        self.gguf.number(&format!("{}.{key}", self.arch))
    }

    fn need(&self, key: &str) -> Found<usize> {
        self.size(key)
            .ok_or_else(|| format!("`{}.{key}` is missing, or not the same in all layers", self.arch))
    }

    fn needed_number(&self, key: &str) -> Found<f64> {
        self.number(key).ok_or_else(|| format!("`{}.{key}` is missing", self.arch))
    }
}
