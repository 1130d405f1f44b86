//! LoRA adapters in PEFT's layout: `adapter_config.json` and `adapter_model.safetensors`.

use super::stored_file::{self, read_json};
use super::{Checkpoint, ModelError, safetensors_file};
use olive_core::{Result, error::IoContext};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// The keys of `adapter_config.json` that this program writes and honours. Others are ignored, as PEFT's readers
/// do; those that would change the result are refused by [`Adapter::open`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AdapterConfig {
    pub base_model_name_or_path: Option<String>,
    #[serde(default = "none")]
    pub bias: String,
    #[serde(default)]
    pub fan_in_fan_out: bool,
    pub inference_mode: bool,
    pub lora_alpha: f64,
    #[serde(default)]
    pub lora_dropout: f64,
    #[serde(default)]
    pub modules_to_save: Option<Vec<String>>,
    pub peft_type: String,
    pub r: usize,
    /// Branch, tag or commit of a base that is named by its hub id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    #[serde(default)]
    pub rank_pattern: BTreeMap<String, usize>,
    #[serde(default)]
    pub alpha_pattern: BTreeMap<String, f64>,
    pub target_modules: TargetModules,
    pub task_type: Option<String>,
    #[serde(default)]
    pub use_dora: bool,
    #[serde(default)]
    pub use_rslora: bool,
}

/// A list of module names, or one regular expression over whole module paths.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum TargetModules {
    Names(Vec<String>),
    Pattern(String),
}

impl AdapterConfig {
    /// Factor on `B·A`: `alpha / r`, or `alpha / √r` with rsLoRA.
    pub fn scale(&self) -> f64 {
        let rank = self.r as f64;
        self.lora_alpha / if self.use_rslora { rank.sqrt() } else { rank }
    }

    /// `lora_alpha`, or what `alpha_pattern` says: its keys are regular expressions for the end of a module's path, from
    /// a dot on, as in PEFT's `get_pattern_key`.
    fn alpha_of(&self, module: &str) -> std::result::Result<f64, String> {
        for (pattern, alpha) in &self.alpha_pattern {
            let expression = regex::Regex::new(&format!(r"^(?:.*\.)?(?:{pattern})$"))
                .map_err(|e| format!("`alpha_pattern` holds `{pattern}`, which is not a pattern: {e}"))?;
            if expression.is_match(module) {
                return Ok(*alpha);
            }
        }
        Ok(self.lora_alpha)
    }
}

fn none() -> String {
    "none".into()
}

/// The low-rank pair of one module.
#[derive(Debug, Clone)]
pub struct LoraPair {
    /// `[r, in]`, row-major.
    pub a: Vec<f32>,
    /// `[out, r]`, row-major.
    pub b: Vec<f32>,
    pub rank: usize,
    pub in_features: usize,
    pub out_features: usize,
    /// Factor on `B·A`.
    pub scale: f64,
    /// DoRA: what the rows of the merged weight are scaled to, `[out]`. `None` in a new adapter: the lengths they have.
    pub magnitude: Option<Vec<f32>>,
}

/// An adapter in memory, by module path (`model.layers.0.self_attn.q_proj`).
#[derive(Debug, Clone)]
pub struct Adapter {
    pub config: AdapterConfig,
    pub modules: BTreeMap<String, LoraPair>,
    /// Weights that take the place of the base's (`modules_to_save`), by module path.
    pub whole: BTreeMap<String, WholeTensor>,
}

/// A weight in memory.
#[derive(Debug, Clone, PartialEq)]
pub struct WholeTensor {
    pub shape: Vec<usize>,
    /// Row-major.
    pub values: Vec<f32>,
}

/// The file that describes an adapter.
pub const CONFIG: &str = "adapter_config.json";

const PREFIX: &str = "base_model.model.";

impl Adapter {
    /// Reads an adapter folder.
    ///
    /// # Errors
    /// A missing file, a kind of adapter that is not LoRA, a module with only one half, ranks that do not fit.
    pub fn open(dir: &Path) -> Result<Adapter> {
        let refuse = |reason: String| ModelError::Adapter { path: dir.to_owned(), reason };
        let json =
            read_json(&dir.join(CONFIG))?.ok_or_else(|| refuse("adapter_config.json is missing".into()))?;
        let config: AdapterConfig =
            serde_json::from_value(json).map_err(|e| refuse(format!("adapter_config.json: {e}")))?;
        if config.peft_type != "LORA" {
            return Err(refuse(format!("its type is {}, not LORA", config.peft_type)).into());
        }
        if config.fan_in_fan_out {
            return Err(refuse("`fan_in_fan_out` is not supported".into()).into());
        }
        // PEFT takes every module whose path ends with one of the names.
        let saved = config.modules_to_save.as_deref().unwrap_or_default();
        let is_whole = |module: &str| saved.iter().any(|name| module.ends_with(name.as_str()));
        let mut whole = BTreeMap::new();
        let weights = dir.join("adapter_model.safetensors");
        if !weights.is_file() {
            if let Some(file) = stored_file::pickle(dir)? {
                return Err(ModelError::Pickled { path: dir.to_owned(), file }.into());
            }
            return Err(refuse("adapter_model.safetensors is missing".into()).into());
        }
        let weights = Checkpoint::open_file(&weights)?;
        let mut halves: BTreeMap<String, [Option<super::Tensor>; 3]> = BTreeMap::new();
        for tensor in weights.tensors() {
            let name = tensor.name.strip_prefix(PREFIX).unwrap_or(&tensor.name);
            let (module, half) = if let Some(module) = name.strip_suffix(".lora_A.weight") {
                (module, 0)
            } else if let Some(module) = name.strip_suffix(".lora_B.weight") {
                (module, 1)
            } else if let Some(module) = name.strip_suffix(".lora_magnitude_vector") {
                (module, 2)
            } else if let Some(module) = name.strip_suffix(".weight").filter(|module| is_whole(module)) {
                let tensor = WholeTensor { shape: tensor.shape.clone(), values: tensor.to_f32()? };
                whole.insert(module.to_owned(), tensor);
                continue;
            } else {
                return Err(refuse(format!("tensor `{}` is no part of a LoRA adapter", tensor.name)).into());
            };
            halves.entry(module.to_owned()).or_default()[half] = Some(tensor.clone());
        }
        if let Some(name) =
            saved.iter().find(|name| !whole.keys().any(|module| module.ends_with(name.as_str())))
        {
            let what = format!("`modules_to_save` names `{name}`, of which there is no weight");
            return Err(refuse(what).into());
        }
        if halves.is_empty() {
            return Err(refuse("adapter_model.safetensors holds no LoRA matrices".into()).into());
        }
        let mut modules = BTreeMap::new();
        for (module, pair) in halves {
            let [Some(a), Some(b), magnitude] = pair else {
                return Err(refuse(format!("`{module}` has only one of lora_A and lora_B")).into());
            };
            let (&[rank, in_features], &[out_features, rank_b]) = (a.shape.as_slice(), b.shape.as_slice())
            else {
                return Err(refuse(format!("`{module}` has matrices of other than two dimensions")).into());
            };
            if rank != rank_b {
                return Err(
                    refuse(format!("`{module}` has rank {rank} in lora_A and {rank_b} in lora_B")).into()
                );
            }
            let fits = magnitude.as_ref().is_none_or(|m| m.shape.iter().product::<usize>() == out_features);
            if magnitude.is_some() != config.use_dora || !fits {
                let what =
                    format!("`{module}` has no magnitude of {out_features} rows, or one without `use_dora`");
                return Err(refuse(what).into());
            }
            let alpha = config.alpha_of(&module).map_err(refuse)?;
            let divisor = if config.use_rslora { (rank as f64).sqrt() } else { rank as f64 };
            let pair = LoraPair {
                a: a.to_f32()?,
                b: b.to_f32()?,
                rank,
                in_features,
                out_features,
                scale: alpha / divisor,
                magnitude: magnitude.map(|m| m.to_f32()).transpose()?,
            };
            modules.insert(module, pair);
        }
        Ok(Adapter { config, modules, whole })
    }

    /// Writes both files, tensors as f32, in the order of their names.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn save(&self, dir: &Path) -> Result<()> {
        std::fs::create_dir_all(dir).at("create", dir)?;
        let path = dir.join(CONFIG);
        let text = serde_json::to_string_pretty(&self.config).expect("plain data");
        std::fs::write(&path, text + "\n").at("write", &path)?;
        let mut tensors = Vec::with_capacity(2 * self.modules.len());
        for (module, pair) in &self.modules {
            tensors.push((
                format!("{PREFIX}{module}.lora_A.weight"),
                vec![pair.rank, pair.in_features],
                pair.a.as_slice(),
            ));
            tensors.push((
                format!("{PREFIX}{module}.lora_B.weight"),
                vec![pair.out_features, pair.rank],
                pair.b.as_slice(),
            ));
            if let Some(magnitude) = &pair.magnitude {
                let name = format!("{PREFIX}{module}.lora_magnitude_vector");
                tensors.push((name, vec![pair.out_features], magnitude.as_slice()));
            }
        }
        for (module, WholeTensor { shape, values }) in &self.whole {
            tensors.push((format!("{PREFIX}{module}.weight"), shape.clone(), values.as_slice()));
        }
        tensors.sort_by(|a, b| a.0.cmp(&b.0));
        safetensors_file::write_f32(&dir.join("adapter_model.safetensors"), &tensors)
    }
}

/// Changes which base the adapter of an `adapter_config.json` belongs to, and nothing else. Gives the size of the file.
///
/// # Errors
/// The file cannot be read or written.
pub fn name_base(path: &Path, base: &str, revision: Option<&str>) -> Result<u64> {
    let mut config = read_json(path)?.unwrap_or_default();
    config["base_model_name_or_path"] = base.into();
    match (revision, config.as_object_mut()) {
        (Some(revision), _) => config["revision"] = revision.into(),
        (None, Some(config)) => drop(config.shift_remove("revision")),
        (None, None) => {}
    }
    let text = serde_json::to_string_pretty(&config).expect("plain data") + "\n";
    std::fs::write(path, &text).at("write", path)?;
    Ok(text.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_of_alpha_is_for_whole_names() {
        let config = serde_json::json!({
            "base_model_name_or_path": null, "inference_mode": true, "lora_alpha": 8, "peft_type": "LORA", "r": 4,
            "target_modules": ["up_proj", "gate_up_proj"], "task_type": null,
            "alpha_pattern": {"up_proj": 2, r"layers\.1\.self_attn\.[qk]_proj": 3},
        });
        let config: AdapterConfig = serde_json::from_value(config).unwrap();
        for (module, alpha) in [
            ("model.layers.0.mlp.up_proj", 2.0),
            ("up_proj", 2.0),
            ("model.layers.0.mlp.gate_up_proj", 8.0),
            ("model.layers.1.self_attn.q_proj", 3.0),
            ("model.layers.11.self_attn.q_proj", 8.0),
        ] {
            assert_eq!(config.alpha_of(module).unwrap(), alpha, "{module}");
        }
        let wrong = AdapterConfig { alpha_pattern: [("(".to_owned(), 1.0)].into(), ..config };
        assert!(wrong.alpha_of("up_proj").unwrap_err().contains("`(`"));
    }
}
