//! Metadata of a GGUF file as a Hugging Face `config.json`.

use super::file::Gguf;
use super::{Found, rope};
use olive_arch::families::{self, TURN_ENDS};
use olive_arch::{Family, GgufMetadata, GgufShape};
use serde_json::{Map, Value, json};

/// The model that a file holds.
pub(super) struct Described {
    pub(super) family: &'static Family,
    /// `config.json`.
    pub(super) config: Value,
}

/// What the metadata says of the model. `dtype` is the storage type of the converted weights, as transformers names it.
pub(super) fn describe(gguf: &Gguf, dtype: &str) -> Found<Described> {
    let found = gguf.text("general.architecture")?.ok_or("it does not name its architecture")?;
    let known = families::gguf_names();
    let unsupported = || {
        let known = known.join(", ");
        format!("its architecture `{found}` is not supported; supported are {known}")
    };
    let arch = *known.iter().find(|name| **name == found).ok_or_else(unsupported)?;
    let reader = MetadataReader { gguf, arch };
    reader.refuse_other_kinds()?;
    let layers = reader.need("block_count")?;
    reader.check_layers(layers)?;
    let stated = reader.size("attention.sliding_window")?.filter(|window| *window > 0);
    let (family, window) = families::of_gguf(arch, layers, stated).ok_or_else(unsupported)?;
    let hidden = reader.need("embedding_length")?;
    let heads = reader.need("attention.head_count")?;
    if heads == 0 {
        return Err("it has no attention heads".into());
    }
    let head_dim = reader.size("attention.key_length")?.unwrap_or(hidden / heads);
    if head_dim == 0 {
        return Err(format!("its heads have no elements: {heads} of them share {hidden}"));
    }
    let shape = GgufShape { layers, hidden, heads, head_dim };
    let mut config = reader.common(family, &shape, dtype)?;
    let rotary_dim = reader.rotary_dim(&shape)?;
    // Without this key, transformers takes the family's own share.
    if rotary_dim != head_dim || family.partial_rotary_factor != 1.0 {
        config.insert("partial_rotary_factor".into(), json!(rotary_dim as f64 / head_dim as f64));
    }
    if window.is_some() || family.gguf.states_window {
        config.insert("sliding_window".into(), json!(window));
    }
    if family.gguf.states_layer_types {
        config.insert("layer_types".into(), reader.layer_types(layers, window.is_some())?);
    }
    if let Some(original) = reader.size("rope.scaling.original_context_length")? {
        config.insert("original_max_position_embeddings".into(), json!(original));
    }
    for (ours, theirs) in [("bos_token_id", "bos"), ("eos_token_id", "eos"), ("pad_token_id", "padding")] {
        if let Some(id) = gguf.id(&format!("tokenizer.ggml.{theirs}_token_id"))? {
            config.insert(ours.into(), json!(id));
        }
    }
    (family.gguf.config)(&reader, &shape, &mut config)?;
    Ok(Described { family, config: Value::Object(config) })
}

/// `generation_config.json`: where answers end.
pub(super) fn generation_config(gguf: &Gguf) -> Found<Value> {
    let id = |name: &str| gguf.id(&format!("tokenizer.ggml.{name}_token_id"));
    let mut ends = Vec::new();
    for name in ["eos", "eot", "eom"] {
        ends.extend(id(name)?);
    }
    let template = gguf.text("tokenizer.chat_template")?.unwrap_or_default();
    let tokens = gguf.texts("tokenizer.ggml.tokens")?.unwrap_or_default();
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
        if let Some(id) = id(theirs)? {
            config.insert(ours.into(), json!(id));
        }
    }
    match unique[..] {
        [] => {}
        [one] => drop(config.insert("eos_token_id".into(), json!(one))),
        _ => drop(config.insert("eos_token_id".into(), json!(unique))),
    }
    Ok(Value::Object(config))
}

struct MetadataReader<'a> {
    gguf: &'a Gguf,
    arch: &'static str,
}

impl GgufMetadata for MetadataReader<'_> {
    fn architecture(&self) -> &str {
        self.arch
    }

    fn size(&self, key: &str) -> Found<Option<usize>> {
        self.gguf.size(&format!("{}.{key}", self.arch))
    }

    fn number(&self, key: &str) -> Found<Option<f64>> {
        self.gguf.number(&format!("{}.{key}", self.arch))
    }

    fn flags(&self, key: &str) -> Found<Option<Vec<bool>>> {
        self.gguf.flags(&format!("{}.{key}", self.arch))
    }

    fn has_tensor(&self, name: &str) -> bool {
        self.gguf.tensor(name).is_some()
    }
}

impl MetadataReader<'_> {
    /// The keys that all families have.
    fn common(&self, family: &Family, shape: &GgufShape, dtype: &str) -> Found<Map<String, Value>> {
        let context = self.need("context_length")?;
        let vocab = match self.gguf.tensor("token_embd.weight") {
            Some((&[vocab, _], _)) => vocab,
            _ => return Err("it has no embedding matrix `token_embd.weight`".into()),
        };
        let theta = self.number("rope.freq_base")?.unwrap_or(10_000.0);
        let stretched = rope::Stretched { theta, context, rotary_dim: self.rotary_dim(shape)? };
        let config = json!({
            "architectures": [family.architecture],
            "model_type": family.model_type,
            "dtype": dtype,
            "torch_dtype": dtype,
            "vocab_size": vocab,
            "hidden_size": shape.hidden,
            "intermediate_size": self.need("feed_forward_length")?,
            "num_hidden_layers": shape.layers,
            "num_attention_heads": shape.heads,
            "num_key_value_heads": self.size("attention.head_count_kv")?.unwrap_or(shape.heads),
            "head_dim": shape.head_dim,
            "hidden_act": "silu",
            "max_position_embeddings": context,
            "rms_norm_eps": self.needed_number("attention.layer_norm_rms_epsilon")?,
            "rope_theta": theta,
            "rope_scaling": rope::scaling(self.gguf, self.arch, family, &stretched)?,
            "attention_bias": !family.gguf.implied_qkv_bias && self.has_qkv_bias(),
            "mlp_bias": self.has_tensor("blk.0.ffn_up.bias"),
            "tie_word_embeddings": !self.has_tensor("output.weight"),
            "use_cache": true,
        });
        match config {
            Value::Object(config) => Ok(config),
            other => unreachable!("{other} was written as an object"),
        }
    }

    /// Rotated part of a head.
    fn rotary_dim(&self, shape: &GgufShape) -> Found<usize> {
        Ok(self.size("rope.dimension_count")?.unwrap_or(shape.head_dim))
    }

    /// Every layer has tensors, which tell how many there can be.
    fn check_layers(&self, layers: usize) -> Found<()> {
        let layer = |name: &str| name.strip_prefix("blk.")?.split_once('.')?.0.parse::<usize>().ok();
        // A header alone is refused for what it says.
        let last = self.gguf.tensor_names().into_iter().filter_map(layer).max();
        let last = last.unwrap_or(usize::from(u16::MAX));
        if layers.checked_sub(1) > Some(last) {
            let arch = self.arch;
            return Err(format!("`{arch}.block_count` is {layers}, and its tensors end with layer {last}"));
        }
        Ok(())
    }

    /// Models that only share a family's name with those that can be read.
    fn refuse_other_kinds(&self) -> Found<()> {
        let some = |key: &str| Ok::<_, String>(self.number(key)?.is_some_and(|number| number > 0.0));
        if some("expert_count")? {
            return Err("it is a mixture of experts, which is not supported".into());
        }
        if some("nextn_predict_layers")? {
            return Err("it has layers that predict further tokens, which is not supported".into());
        }
        if some("attention.temperature_scale")? {
            return Err(
                "it scales its attention by the position (Ministral 3), which is not supported".into()
            );
        }
        let sections = self.gguf.sizes(&format!("{}.rope.dimension_sections", self.arch))?;
        if sections.is_some_and(|sections| sections.iter().any(|size| *size > 0)) {
            return Err("it rotates by positions in images too (M-RoPE), which is not supported".into());
        }
        Ok(())
    }

    fn need(&self, key: &str) -> Found<usize> {
        self.size(key)?.ok_or_else(|| format!("`{}.{key}` is missing", self.arch))
    }
}
