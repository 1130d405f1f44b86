//! `adapter_config.json`: what the matrices of a LoRA adapter mean.

use super::ModelError;
use super::stored_file::read_json;
use olive_core::Result;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::Path;

/// The file that describes an adapter.
pub const CONFIG: &str = "adapter_config.json";

/// The keys of `adapter_config.json` that this program writes and honours.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AdapterConfig {
    pub base_model_name_or_path: Option<String>,
    pub bias: String,
    pub fan_in_fan_out: bool,
    pub inference_mode: bool,
    pub lora_alpha: f64,
    pub lora_dropout: f64,
    pub modules_to_save: Option<Vec<String>>,
    pub peft_type: String,
    pub r: usize,
    /// Branch, tag or commit of a base that is named by its hub id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    pub rank_pattern: BTreeMap<String, usize>,
    /// In the order of the file: the first pattern that fits counts.
    #[serde(serialize_with = "as_object")]
    pub alpha_pattern: Vec<(String, f64)>,
    pub target_modules: TargetModules,
    pub task_type: Option<String>,
    pub use_dora: bool,
    pub use_rslora: bool,
}

/// A list of module names, or one regular expression over whole module paths.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum TargetModules {
    /// None in a file that leaves them to PEFT's table of architectures: the tensors tell.
    Names(Vec<String>),
    Pattern(String),
}

/// Keys that are read here, and those that say how an adapter was trained, or which modules have one, which its tensors
/// tell as well.
const KNOWN: &[&str] = &[
    "alpha_pattern",
    "auto_mapping",
    "base_model_name_or_path",
    "bias",
    "corda_config",
    "ensure_weight_tying",
    "eva_config",
    "exclude_modules",
    "fan_in_fan_out",
    "inference_mode",
    "init_lora_weights",
    "layers_pattern",
    "layers_to_transform",
    "loftq_config",
    "lora_alpha",
    "lora_dropout",
    "lora_ga_config",
    "megatron_core",
    "modules_to_save",
    "peft_type",
    "peft_version",
    "qalora_group_size",
    "r",
    "rank_pattern",
    "revision",
    "runtime_config",
    "target_modules",
    "task_type",
    "use_dora",
    "use_rslora",
    "velora_config",
];

/// Values of `init_lora_weights` that leave the base as it is.
const PLAIN_STARTS: &[&str] = &["gaussian", "orthogonal", "eva", "loftq", "mica"];

impl AdapterConfig {
    /// Reads the file of an adapter's folder. What it does not say is as in PEFT; `null` says nothing.
    ///
    /// # Errors
    /// No such file, a value of the wrong type, a key that makes the adapter something other than `scale · B · A` on the
    /// stored base.
    pub fn open(dir: &Path) -> Result<AdapterConfig> {
        let path = dir.join(CONFIG);
        let json = read_json(&path)?.ok_or_else(|| ModelError::Adapter {
            path: dir.to_owned(),
            reason: format!("{CONFIG} is missing"),
        })?;
        let Value::Object(json) = json else {
            return Err(ModelError::Damaged { path, reason: "it is not an object".into() }.into());
        };
        let config = AdapterConfig::read(&json)
            .map_err(|KeyFault { key, reason, hint }| ModelError::AdapterKey { path, key, reason, hint })?;
        Ok(config)
    }

    fn read(json: &Map<String, Value>) -> Result<AdapterConfig, KeyFault> {
        let keys = Keys(json);
        keys.check_kind()?;
        keys.check_start()?;
        keys.check_unknown()?;
        let flag = |key| Ok(keys.get(key, "true or false")?.unwrap_or(false));
        let text = |key| keys.get::<String>(key, "a text");
        // Linear layers store `[out, in]`: PEFT corrects the key and goes on.
        flag("fan_in_fan_out")?;
        let alpha_pattern = keys.get::<Map<String, Value>>("alpha_pattern", PATTERNS)?.unwrap_or_default();
        let alpha_pattern = alpha_pattern.into_iter().map(|(pattern, alpha)| {
            let alpha = alpha.as_f64().ok_or_else(|| keys.ill_typed("alpha_pattern", PATTERNS))?;
            Ok((pattern, alpha))
        });
        Ok(AdapterConfig {
            base_model_name_or_path: text("base_model_name_or_path")?,
            bias: text("bias")?.unwrap_or_else(|| "none".into()),
            fan_in_fan_out: false,
            inference_mode: flag("inference_mode")?,
            lora_alpha: keys.get("lora_alpha", "a number")?.unwrap_or(8.0),
            lora_dropout: keys.get("lora_dropout", "a number")?.unwrap_or(0.0),
            modules_to_save: keys.get("modules_to_save", "a list of names")?,
            peft_type: "LORA".into(),
            r: keys.get("r", "a whole number")?.unwrap_or(8),
            revision: text("revision")?,
            rank_pattern: keys.get("rank_pattern", PATTERNS)?.unwrap_or_default(),
            alpha_pattern: alpha_pattern.collect::<Result<_, KeyFault>>()?,
            target_modules: keys
                .get("target_modules", "a list of names, or one pattern")?
                .unwrap_or_else(|| TargetModules::Names(Vec::new())),
            task_type: text("task_type")?,
            use_dora: flag("use_dora")?,
            use_rslora: flag("use_rslora")?,
        })
    }

    /// Factor on `B·A`: `alpha / r`, or `alpha / √r` with rsLoRA.
    pub fn scale(&self) -> f64 {
        self.scale_of(self.lora_alpha, self.r)
    }

    /// The same for a module with an alpha and a rank of its own.
    pub(super) fn scale_of(&self, alpha: f64, rank: usize) -> f64 {
        let rank = rank as f64;
        alpha / if self.use_rslora { rank.sqrt() } else { rank }
    }

    /// `lora_alpha`, or what `alpha_pattern` says: its keys are regular expressions for the end of a module's path, from
    /// a dot on, as in PEFT's `get_pattern_key`.
    pub(super) fn alpha_of(&self, module: &str) -> Result<f64, String> {
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

const PATTERNS: &str = "an object of patterns and numbers";

fn as_object<S: Serializer>(pairs: &[(String, f64)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(pairs.iter().map(|(key, value)| (key, value)))
}

/// What is wrong with one key.
struct KeyFault {
    key: String,
    reason: String,
    hint: Option<&'static str>,
}

/// The file's keys.
struct Keys<'a>(&'a Map<String, Value>);

impl Keys<'_> {
    /// `None` where the key is missing or null.
    fn get<T: DeserializeOwned>(&self, key: &str, wanted: &'static str) -> Result<Option<T>, KeyFault> {
        let Some(value) = self.0.get(key).filter(|value| !value.is_null()) else { return Ok(None) };
        serde_json::from_value(value.clone()).map(Some).map_err(|_| self.ill_typed(key, wanted))
    }

    fn ill_typed(&self, key: &str, wanted: &'static str) -> KeyFault {
        self.refuse(key, &format!("where {wanted} is needed"), None)
    }

    fn refuse(&self, key: &str, why: &str, hint: Option<&'static str>) -> KeyFault {
        let reason = match self.0.get(key) {
            None => format!("is missing, {why}"),
            Some(value) => format!("is {value}, {why}"),
        };
        KeyFault { key: key.to_owned(), reason, hint }
    }

    /// LoRA matrices alone.
    fn check_kind(&self) -> Result<(), KeyFault> {
        let is = |key: &str, word: &str| {
            self.0.get(key).and_then(Value::as_str).is_some_and(|text| text.eq_ignore_ascii_case(word))
        };
        if !is("peft_type", "LORA") {
            let hint = Some("adapters of PEFT's LoRA can be used, with or without rsLoRA and DoRA");
            return Err(self.refuse("peft_type", "where \"LORA\" is needed", hint));
        }
        if !self.0.get("bias").is_none_or(|bias| bias.is_null() || is("bias", "none")) {
            return Err(self.refuse("bias", "and trained biases cannot be used", MERGE_WITH_PEFT));
        }
        Ok(())
    }

    /// A base that the initialisation of the adapter did not change.
    fn check_start(&self) -> Result<(), KeyFault> {
        let key = "init_lora_weights";
        let plain = match self.0.get(key) {
            None | Some(Value::Null | Value::Bool(_)) => true,
            Some(Value::String(word)) => PLAIN_STARTS.contains(&word.to_lowercase().as_str()),
            Some(_) => false,
        };
        if plain {
            return Ok(());
        }
        let why = "so the adapter may belong to weights that this initialisation took from the base, not to the stored ones";
        let hint = "let PEFT convert it to a plain LoRA (`save_pretrained` with `path_initial_model_for_weight_conversion`) \
                    or merge it (`merge_and_unload`)";
        Err(self.refuse(key, why, Some(hint)))
    }

    /// No other key says anything.
    fn check_unknown(&self) -> Result<(), KeyFault> {
        let says_something = |value: &Value| match value {
            Value::Null | Value::Bool(false) => false,
            Value::Array(list) => !list.is_empty(),
            Value::Object(object) => !object.is_empty(),
            Value::Bool(true) | Value::Number(_) | Value::String(_) => true,
        };
        let unknown =
            self.0.iter().find(|(key, value)| !KNOWN.contains(&key.as_str()) && says_something(value));
        match unknown {
            None => Ok(()),
            Some((key, _)) => {
                Err(self.refuse(key, "which may change what the weights mean", MERGE_WITH_PEFT))
            }
        }
    }
}

const MERGE_WITH_PEFT: Option<&str> = Some(
    "let PEFT merge it (`merge_and_unload`) and give the merged model; a key that changes no weights can be taken out",
);

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(json: Value) -> Result<AdapterConfig, String> {
        let read = AdapterConfig::read(json.as_object().expect("an object"));
        read.map_err(|fault| format!("`{}` {}", fault.key, fault.reason))
    }

    #[test]
    fn what_is_left_out_or_null_is_as_in_peft() {
        let least = read(json!({"peft_type": "LORA"})).unwrap();
        assert_eq!((least.r, least.lora_alpha, least.inference_mode), (8, 8.0, false));
        assert_eq!(least.target_modules, TargetModules::Names(Vec::new()));
        let null = read(json!({
            "peft_type": "LORA", "r": null, "lora_alpha": null, "inference_mode": null, "bias": null, "lora_dropout": null,
            "rank_pattern": null, "alpha_pattern": null, "target_modules": null, "use_dora": null, "use_rslora": null,
            "fan_in_fan_out": null, "init_lora_weights": null, "key_of_tomorrow": null,
        }));
        assert_eq!(null.unwrap(), least);
    }

    #[test]
    fn values_of_the_wrong_type_are_named() {
        for (key, value, expected) in [
            ("r", json!("8"), "`r` is \"8\", where a whole number is needed"),
            ("lora_alpha", json!([8]), "`lora_alpha` is [8], where a number is needed"),
            ("target_modules", json!(3), "`target_modules` is 3, where a list of names, or one pattern"),
            ("alpha_pattern", json!({"q_proj": "8"}), "`alpha_pattern` is {\"q_proj\":\"8\"}, where"),
            ("use_dora", json!("yes"), "`use_dora` is \"yes\", where true or false"),
        ] {
            let error = read(json!({"peft_type": "LORA", key: value})).unwrap_err();
            assert!(error.starts_with(expected), "{error}");
        }
        assert!(read(json!({})).unwrap_err().contains("`peft_type` is missing"));
    }

    #[test]
    fn what_makes_another_adapter_of_it_is_refused() {
        for (key, value) in [
            ("peft_type", json!("ADALORA")),
            ("bias", json!("lora_only")),
            ("init_lora_weights", json!("pissa")),
            ("init_lora_weights", json!("PISSA_niter_16")),
            ("init_lora_weights", json!("OLoRA")),
            ("init_lora_weights", json!("corda")),
            ("init_lora_weights", json!("lora_ga")),
            ("lora_bias", json!(true)),
            ("use_qalora", json!(true)),
            ("layer_replication", json!([[0, 4], [2, 5]])),
            ("alora_invocation_tokens", json!([1, 2])),
            ("trainable_token_indices", json!({"embed_tokens": [3]})),
            ("target_parameters", json!(["mlp.experts.down_proj"])),
            ("arrow_config", json!({"top_k": 3})),
            ("use_bdlora", json!({"nblocks": 2})),
            ("kasa_config", json!({"beta": 1e-4})),
            ("key_of_tomorrow", json!(1)),
        ] {
            let mut config = json!({"peft_type": "LORA"});
            config[key] = value;
            let error = read(config).unwrap_err();
            assert!(error.contains(&format!("`{key}`")), "{error}");
        }
        for start in
            [json!(true), json!(false), json!("gaussian"), json!("EVA"), json!("loftq"), json!("orthogonal")]
        {
            read(json!({"peft_type": "LORA", "init_lora_weights": start})).unwrap();
        }
    }

    #[test]
    fn the_first_pattern_of_alpha_that_fits_a_whole_name_counts() {
        let config = read(json!({
            "peft_type": "LORA", "lora_alpha": 8,
            "alpha_pattern": {"up_proj": 2, r"layers\.1\.self_attn\.[qk]_proj": 3, "k_proj": 4},
        }));
        let config = config.unwrap();
        for (module, alpha) in [
            ("model.layers.0.mlp.up_proj", 2.0),
            ("up_proj", 2.0),
            ("model.layers.0.mlp.gate_up_proj", 8.0),
            ("model.layers.1.self_attn.k_proj", 3.0),
            ("model.layers.11.self_attn.k_proj", 4.0),
        ] {
            assert_eq!(config.alpha_of(module).unwrap(), alpha, "{module}");
        }
        let wrong = AdapterConfig { alpha_pattern: vec![("(".to_owned(), 1.0)], ..config };
        assert!(wrong.alpha_of("up_proj").unwrap_err().contains("`(`"));
    }
}
