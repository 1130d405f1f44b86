//! `genai_config.json`: what an ONNX folder says about its model.

use super::RuntimeError;
use olive_arch::families;
use olive_core::{InnerPath, file};
use olive_model::ModelFolder;
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// The parts of the file that running a decoder needs.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct GenaiConfig {
    pub model: ModelSection,
    #[serde(default)]
    pub search: SearchDefaults,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct ModelSection {
    pub r#type: String,
    pub context_length: usize,
    pub vocab_size: usize,
    #[serde(default)]
    pub bos_token_id: Option<i64>,
    #[serde(default, deserialize_with = "one_or_many")]
    pub eos_token_id: Vec<u32>,
    pub decoder: DecoderSection,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct DecoderSection {
    pub filename: String,
    pub head_size: usize,
    pub num_hidden_layers: usize,
    pub num_key_value_heads: usize,
    pub inputs: InputNames,
    pub outputs: OutputNames,
    #[serde(default)]
    pub sliding_window: Option<SlidingWindow>,
}

/// Names of graph inputs; `%d` stands for the layer.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct InputNames {
    pub input_ids: String,
    #[serde(default)]
    pub attention_mask: Option<String>,
    #[serde(default)]
    pub position_ids: Option<String>,
    pub past_key_names: String,
    pub past_value_names: String,
}

/// Names of graph outputs; `%d` stands for the layer.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct OutputNames {
    pub logits: String,
    pub present_key_names: String,
    pub present_value_names: String,
}

/// Layers whose cache holds only the last positions.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct SlidingWindow {
    pub window_size: usize,
    #[serde(default)]
    pub layers: Vec<usize>,
    #[serde(default)]
    pub cache_slack: usize,
}

/// Defaults of the search.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
pub struct SearchDefaults {
    #[serde(default)]
    pub do_sample: bool,
    #[serde(default)]
    pub temperature: Option<f64>,
    #[serde(default)]
    pub top_k: Option<usize>,
    #[serde(default)]
    pub top_p: Option<f64>,
    #[serde(default)]
    pub repetition_penalty: Option<f64>,
    #[serde(default)]
    pub past_present_share_buffer: bool,
    /// What else is there.
    #[serde(flatten)]
    pub others: serde_json::Map<String, serde_json::Value>,
}

/// Whether sequences from some length on are rotated with other factors (LongRoPE).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RopeSwitch {
    Never,
    /// Sequences longer than this.
    At(usize),
    /// Only the graph knows.
    Unknown,
}

impl RopeSwitch {
    /// The length, where there is one that is known.
    pub fn length(self) -> Option<usize> {
        match self {
            RopeSwitch::At(length) => Some(length),
            RopeSwitch::Never | RopeSwitch::Unknown => None,
        }
    }
}

impl GenaiConfig {
    pub const FILE: &'static str = "genai_config.json";

    /// # Errors
    /// The file is missing, not JSON, or not that of a single decoder.
    pub fn load(dir: &Path) -> Result<GenaiConfig, RuntimeError> {
        let unusable = |reason: String| RuntimeError::GenaiConfig { path: dir.to_owned(), reason };
        let text = match file::read_to_string(&dir.join(Self::FILE)) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                return Err(RuntimeError::NotAModel { path: dir.to_owned(), missing: Self::FILE.into() });
            }
            other => other.map_err(|e| unusable(e.to_string()))?,
        };
        let config: GenaiConfig = serde_json::from_str(&text).map_err(|e| unusable(e.to_string()))?;
        if let Err(refusal) = InnerPath::parse(&config.model.decoder.filename) {
            return Err(unusable(format!("`model.decoder.filename`: {refusal}")));
        }
        Ok(config)
    }

    /// Where rotations change: what the model's own configuration says, or what onnxruntime-genai takes for granted where
    /// that was not copied along.
    pub fn rope_switch(&self, dir: &Path) -> RopeSwitch {
        let spec = ModelFolder::open(dir).and_then(|folder| folder.spec());
        let (switch, otherwise) = match spec {
            Ok(spec) => (spec.rope.scaling.switch_length(), RopeSwitch::Never),
            Err(_) => (families::genai_rope_switch(&self.model.r#type), RopeSwitch::Unknown),
        };
        match switch {
            Some(length) if length < self.model.context_length => RopeSwitch::At(length),
            _ => otherwise,
        }
    }

    /// The graph's file.
    pub fn onnx_file(&self, dir: &Path) -> PathBuf {
        dir.join(&self.model.decoder.filename)
    }
}

/// `past_key_values.%d.key` of a layer.
pub(crate) fn layer_name(pattern: &str, layer: usize) -> String {
    pattern.replace("%d", &layer.to_string())
}

fn one_or_many<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<u32>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Ids {
        One(u32),
        Many(Vec<u32>),
    }
    Ok(match Option::<Ids>::deserialize(deserializer)? {
        None => Vec::new(),
        Some(Ids::One(id)) => vec![id],
        Some(Ids::Many(ids)) => ids,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stop_ids_are_one_or_a_list() {
        let config = |eos: &str| {
            let text = format!(
                r#"{{"model": {{"type": "llama", "context_length": 8, "vocab_size": 9, "eos_token_id": {eos},
                "decoder": {{"filename": "model.onnx", "head_size": 1, "num_hidden_layers": 1,
                "num_key_value_heads": 1, "inputs": {{"input_ids": "i", "past_key_names": "p.%d.key",
                "past_value_names": "p.%d.value"}}, "outputs": {{"logits": "l", "present_key_names": "k.%d",
                "present_value_names": "v.%d"}}}}}}}}"#
            );
            serde_json::from_str::<GenaiConfig>(&text).unwrap()
        };
        assert_eq!(config("2").model.eos_token_id, [2]);
        assert_eq!(config("[7, 2]").model.eos_token_id, [7, 2]);
        assert!(config("null").model.eos_token_id.is_empty());
        assert_eq!(layer_name(&config("2").model.decoder.inputs.past_key_names, 11), "p.11.key");
    }
}
