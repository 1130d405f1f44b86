//! `quantization_config` of `config.json`.

use crate::ModelError;
use olive_arch::Spec;
use olive_kernels::quant::{FloatType, Scheme};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// Bits, group and kind of zero points of a weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModuleSettings {
    /// 2, 4 or 8.
    pub bits: u8,
    pub symmetric: bool,
    /// Neighbours in a row with one scale; `None`, −1 in the file: the whole row.
    pub group: Option<usize>,
}

/// What `config.json` says about the weights that are quantised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuantisationSettings {
    pub default: ModuleSettings,
    /// By module.
    pub overrides: BTreeMap<String, ModuleSettings>,
    /// The head is quantised.
    pub lm_head: bool,
    /// The embedding is.
    pub embeds: bool,
    /// Head and embedding are one quantised matrix.
    pub tied: bool,
}

impl ModuleSettings {
    /// # Errors
    /// Why there is no such quantisation.
    pub fn check(&self) -> Result<(), String> {
        if ![2, 4, 8].contains(&self.bits) {
            return Err(format!("`bits` is {}, which is none of 2, 4 and 8", self.bits));
        }
        match self.group {
            Some(group) if group < 16 || !group.is_power_of_two() => {
                Err(format!("`group_size` is {group}, which is neither -1 nor a power of two from 16 on"))
            }
            _ => Ok(()),
        }
    }

    pub fn scheme(self, float: FloatType) -> Scheme {
        Scheme { bits: self.bits, group: self.group, symmetric: self.symmetric, float }
    }

    fn group_number(self) -> Value {
        self.group.map_or(json!(-1), |group| json!(group))
    }

    /// What of it is not as in `default`.
    fn differing(self, default: ModuleSettings) -> Map<String, Value> {
        let mut keys = Map::new();
        if self.bits != default.bits {
            keys.insert("bits".into(), self.bits.into());
        }
        if self.group != default.group {
            keys.insert("group_size".into(), self.group_number());
        }
        if self.symmetric != default.symmetric {
            keys.insert("symmetric".into(), self.symmetric.into());
        }
        keys
    }

    fn read(object: &Value, default: Option<ModuleSettings>) -> Result<ModuleSettings, String> {
        let bits = match (&object["bits"], default) {
            (Value::Null, Some(default)) => default.bits,
            (value, _) => {
                value.as_u64().and_then(|bits| u8::try_from(bits).ok()).ok_or("`bits` is no number")?
            }
        };
        let symmetric = match (&object["symmetric"], default) {
            (Value::Null, Some(default)) => default.symmetric,
            (value, _) => value.as_bool().ok_or("`symmetric` is neither true nor false")?,
        };
        let group = match (&object["group_size"], default) {
            (Value::Null, Some(default)) => default.group,
            (value, _) => match value.as_i64() {
                Some(-1) => None,
                Some(group) if group > 0 => Some(usize::try_from(group).map_err(|e| e.to_string())?),
                _ => return Err("`group_size` is no number".into()),
            },
        };
        let settings = ModuleSettings { bits, symmetric, group };
        settings.check()?;
        Ok(settings)
    }
}

impl QuantisationSettings {
    pub const KEY: &'static str = "quantization_config";
    pub const METHOD: &'static str = "olive";

    /// What the `config.json` of the folder `dir` says, if its weights are quantised in this format.
    ///
    /// # Errors
    /// A statement that cannot be.
    pub fn of(dir: &Path, config: &Value) -> Result<Option<QuantisationSettings>, ModelError> {
        let object = &config[Self::KEY];
        if object["quant_method"].as_str() != Some(Self::METHOD) {
            return Ok(None);
        }
        let refuse = |reason: String| ModelError::Quantisation { path: dir.join("config.json"), reason };
        let default = ModuleSettings::read(object, None).map_err(refuse)?;
        let mut overrides = BTreeMap::new();
        for (module, object) in object["overrides"].as_object().into_iter().flatten() {
            let settings = ModuleSettings::read(object, Some(default))
                .map_err(|reason| refuse(format!("`overrides.{module}`: {reason}")))?;
            overrides.insert(module.clone(), settings);
        }
        let flag = |key: &str| object[key].as_bool().unwrap_or(false);
        let (lm_head, embeds, tied) = (flag("lm_head"), flag("embeds"), flag("tie_word_embeddings"));
        Ok(Some(QuantisationSettings { default, overrides, lm_head, embeds, tied }))
    }

    /// What says that modules are quantised so; `None` if there are none.
    pub fn of_modules(
        modules: impl Iterator<Item = (String, ModuleSettings)>,
    ) -> Option<QuantisationSettings> {
        let modules: BTreeMap<_, _> = modules.collect();
        let default = *modules.values().next()?;
        let (lm_head, embeds) =
            (modules.contains_key(Spec::HEAD_MODULE), modules.contains_key("model.embed_tokens"));
        let overrides = modules.into_iter().filter(|(_, settings)| *settings != default).collect();
        Some(QuantisationSettings { default, overrides, lm_head, embeds, tied: false })
    }

    pub fn of_module(&self, module: &str) -> ModuleSettings {
        self.overrides.get(module).copied().unwrap_or(self.default)
    }

    /// The object for `config.json`, keys in order, modules in the order in which people count.
    pub fn to_json(&self) -> Value {
        let mut modules: Vec<_> = self.overrides.iter().collect();
        modules.sort_by_cached_key(|(module, _)| counted(module));
        let overrides: Map<String, Value> = modules
            .into_iter()
            .map(|(module, settings)| (module.clone(), settings.differing(self.default)))
            .filter(|(_, keys)| !keys.is_empty())
            .map(|(module, keys)| (module, Value::Object(keys)))
            .collect();
        json!({
            "bits": self.default.bits,
            "embeds": self.embeds,
            "group_size": self.default.group_number(),
            "lm_head": self.lm_head,
            "modules_to_not_convert": null,
            "overrides": if overrides.is_empty() { Value::Null } else { Value::Object(overrides) },
            "quant_method": Self::METHOD,
            "symmetric": self.default.symmetric,
            "tie_word_embeddings": self.tied,
        })
    }
}

/// A name whose numbers are compared as numbers.
fn counted(name: &str) -> Vec<(u64, String)> {
    name.split('.')
        .map(|part| part.parse().map_or((0, part.to_owned()), |number| (number, String::new())))
        .collect()
}
