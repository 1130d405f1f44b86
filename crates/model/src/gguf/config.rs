//! Metadata of a GGUF file as a Hugging Face `config.json`.

use super::file::Gguf;
use super::{Found, rope};
use serde_json::{Map, Value, json};

/// The families that can be read: `general.architecture`, the Hugging Face architecture and `model_type`. Windows
/// make a Mistral of `llama`, an OLMo-3 of `olmo2`.
const FAMILIES: &[(&str, &str, &str)] = &[
    ("llama", "LlamaForCausalLM", "llama"),
    ("mistral3", "MistralForCausalLM", "mistral"),
    ("phi3", "Phi3ForCausalLM", "phi3"),
    ("qwen2", "Qwen2ForCausalLM", "qwen2"),
    ("qwen3", "Qwen3ForCausalLM", "qwen3"),
    ("gemma", "GemmaForCausalLM", "gemma"),
    ("gemma2", "Gemma2ForCausalLM", "gemma2"),
    ("gemma3", "Gemma3ForCausalLM", "gemma3_text"),
    ("granite", "GraniteForCausalLM", "granite"),
    ("smollm3", "SmolLM3ForCausalLM", "smollm3"),
    ("olmo2", "Olmo2ForCausalLM", "olmo2"),
    ("chatglm", "GlmForCausalLM", "glm"),
    ("glm4", "Glm4ForCausalLM", "glm4"),
    ("ernie4_5", "Ernie4_5ForCausalLM", "ernie4_5"),
    ("exaone4", "Exaone4ForCausalLM", "exaone4"),
    ("seed_oss", "SeedOssForCausalLM", "seed_oss"),
];

/// Every so many-th layer attends to everything, if the file does not tell.
const PERIOD: usize = 4;

/// The layers that have a window, or every how many-th has none.
const WINDOWS: &str = "attention.sliding_window_pattern";

/// Turns of a chat end with one of these, which files do not always name as an end.
const TURN_ENDS: [&str; 8] = [
    "<|im_end|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|end|>",
    "<end_of_turn>",
    "<|end_of_role|>",
    "<|observation|>",
    "[|endofturn|]",
];

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
    reader.refuse_other_kinds()?;
    let layers = reader.need("block_count")?;
    let mut window = reader.size("attention.sliding_window").filter(|window| *window > 0);
    if (arch, layers, window) == ("exaone4", 64, None) {
        // The first files of the 32B model leave it to the reader.
        window = Some(4096);
    }
    match (arch, window) {
        ("llama", Some(_)) => (class, model_type) = ("MistralForCausalLM", "mistral"),
        ("olmo2", Some(_)) => (class, model_type) = ("Olmo3ForCausalLM", "olmo3"),
        _ => {}
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
        "attention_bias": arch != "qwen2" && reader.qkv_bias(),
        "mlp_bias": gguf.tensor("blk.0.ffn_up.bias").is_some(),
        "tie_word_embeddings": gguf.tensor("output.weight").is_none(),
        "use_cache": true,
    });
    let object = config.as_object_mut().ok_or("no object")?;
    // Without this key, transformers rotates half of a GLM's head.
    if rotary_dim != head_dim || model_type.starts_with("glm") {
        object.insert("partial_rotary_factor".into(), json!(rotary_dim as f64 / head_dim as f64));
    }
    // Transformers takes a window where an EXAONE says nothing.
    if window.is_some() || arch == "exaone4" {
        object.insert("sliding_window".into(), json!(window));
    }
    if arch == "exaone4" || model_type == "olmo3" {
        object.insert("layer_types".into(), reader.layer_types(layers, window.is_some())?);
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
    /// Models that only share a family's name with those that can be read.
    fn refuse_other_kinds(&self) -> Found<()> {
        let some = |key: &str| self.number(key).is_some_and(|number| number > 0.0);
        if some("expert_count") {
            return Err("it is a mixture of experts, which is not supported".into());
        }
        if some("nextn_predict_layers") {
            return Err("it has layers that predict further tokens, which is not supported".into());
        }
        if some("attention.temperature_scale") {
            return Err(
                "it scales its attention by the position (Ministral 3), which is not supported".into()
            );
        }
        let sections = self.gguf.sizes(&format!("{}.rope.dimension_sections", self.arch));
        if sections.is_some_and(|sections| sections.iter().any(|size| *size > 0)) {
            return Err("it rotates by positions in images too (M-RoPE), which is not supported".into());
        }
        Ok(())
    }

    /// `layer_types`: which layers have a window in a model that has windows; listed, or all but every n-th.
    fn layer_types(&self, layers: usize, windows: bool) -> Found<Value> {
        let local = match self.listed_windows() {
            Some(listed) if listed.len() == layers => listed,
            Some(listed) => {
                return Err(format!(
                    "`{}.{WINDOWS}` has {} entries for {layers} layers",
                    self.arch,
                    listed.len()
                ));
            }
            None => {
                let period = self.size(WINDOWS).unwrap_or(PERIOD);
                (1..=layers).map(|layer| !layer.is_multiple_of(period)).collect()
            }
        };
        let name = |local: bool| if local && windows { "sliding_attention" } else { "full_attention" };
        Ok(local.into_iter().map(name).collect())
    }

    fn listed_windows(&self) -> Option<Vec<bool>> {
        self.gguf.flags(&format!("{}.{WINDOWS}", self.arch))
    }

    fn qkv_bias(&self) -> bool {
        ["attn_q", "attn_qkv"].iter().any(|part| self.gguf.tensor(&format!("blk.0.{part}.bias")).is_some())
    }

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
            "gemma" => {
                set("hidden_act", json!("gelu_pytorch_tanh"));
                set("hidden_activation", json!("gelu_pytorch_tanh"));
            }
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
                    if self.listed_windows().is_some() {
                        set("layer_types", self.layer_types(layers, true)?);
                    } else {
                        set("sliding_window_pattern", json!(self.size(WINDOWS).unwrap_or(6)));
                    }
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
            "ernie4_5" => set("use_bias", json!(self.qkv_bias())),
            "seed_oss" => {
                set("attention_out_bias", json!(self.gguf.tensor("blk.0.attn_output.bias").is_some()));
            }
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
