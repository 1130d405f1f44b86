//! The rotation that a `config.json` describes: `rope_parameters` of transformers 5, or `rope_scaling` and the keys beside
//! it of transformers 4. A key that is not understood is an error: passed over, it would change the model.

use super::ArchError;
use super::family::Family;
use super::rope::{Rope, RopeScaling};
use serde_json::{Map, Value};

/// An object of rope settings, and the configuration that says what it leaves out.
pub(crate) struct RopeObject<'a> {
    /// Its place in the configuration.
    name: &'static str,
    /// `None`: all is said beside it.
    object: Option<&'a Map<String, Value>>,
    config: &'a Value,
}

const PARAMETERS: &str = "rope_parameters";
const SCALING: &str = "rope_scaling";
/// Objects in [`PARAMETERS`], where they differ by the kind of layer.
const FULL: &str = "full_attention";
const SLIDING: &str = "sliding_attention";

/// Keys of every rope type: what is rotated, and by which base.
const OF_ALL: &[&str] =
    &["rope_type", "type", "rope_theta", "partial_rotary_factor", "original_max_position_embeddings"];

impl<'a> RopeObject<'a> {
    /// The settings of all layers that have none of their own.
    pub(crate) fn global(config: &'a Value) -> Result<RopeObject<'a>, ArchError> {
        let scaling = RopeObject::at(config, SCALING, &config[SCALING])?;
        let parameters = &config[PARAMETERS];
        let parameters = match parameters.as_object().filter(|object| object.contains_key(FULL)) {
            None => RopeObject::at(config, PARAMETERS, parameters)?,
            Some(nested) => {
                let mut said = nested.iter().filter(|(_, value)| !value.is_null());
                if let Some((key, value)) = said.find(|(key, _)| ![FULL, SLIDING].contains(&key.as_str())) {
                    let what =
                        format!("`{PARAMETERS}.{key}` is {value}, which is not understood beside `{FULL}`");
                    return Err(ArchError::Config(what));
                }
                RopeObject::at(config, "rope_parameters.full_attention", &nested[FULL])?
            }
        };
        match (parameters.object, scaling.object) {
            (None, _) => Ok(scaling),
            (Some(_), Some(_)) if parameters.scaling()? != scaling.scaling()? => {
                Err(ArchError::Config(format!(
                    "`{SCALING}` and `{PARAMETERS}` stretch the rotation in different ways; keep the one that is meant"
                )))
            }
            (Some(_), _) => Ok(parameters),
        }
    }

    /// The settings of layers with a window, if they have some of their own.
    pub(crate) fn local(config: &'a Value) -> Result<Option<RopeObject<'a>>, ArchError> {
        let nested = &config[PARAMETERS][SLIDING];
        let local = RopeObject::at(config, "rope_parameters.sliding_attention", nested)?;
        Ok(local.object.is_some().then_some(local))
    }

    fn at(config: &'a Value, name: &'static str, value: &'a Value) -> Result<RopeObject<'a>, ArchError> {
        let object = match value {
            Value::Null => None,
            Value::Object(object) => Some(object),
            other => {
                return Err(ArchError::Config(format!("`{name}` is {other}, where an object is needed")));
            }
        };
        Ok(RopeObject { name, object, config })
    }

    /// # Errors
    /// A rope type that is not supported, a key that is missing, ill-typed or not understood.
    pub(crate) fn read(&self, family: &Family, head_dim: usize) -> Result<Rope, ArchError> {
        let partial = self.either("partial_rotary_factor")?.unwrap_or(family.partial_rotary_factor);
        Ok(Rope {
            theta: self.either("rope_theta")?.unwrap_or(family.rope_theta),
            rotary_dim: (partial * head_dim as f64) as usize,
            interleaved: false,
            scaling: self.scaling()?,
        })
    }

    /// How a model of few positions was stretched to more.
    fn scaling(&self) -> Result<RopeScaling, ArchError> {
        match self.rope_type()? {
            "default" => {
                self.knows(&[])?;
                Ok(RopeScaling::Default)
            }
            "linear" => {
                self.knows(&["factor"])?;
                Ok(RopeScaling::Linear { factor: self.needed("factor")? })
            }
            "llama3" => {
                self.knows(&["factor", "low_freq_factor", "high_freq_factor"])?;
                Ok(RopeScaling::Llama3 {
                    factor: self.needed("factor")?,
                    low_freq_factor: self.needed("low_freq_factor")?,
                    high_freq_factor: self.needed("high_freq_factor")?,
                    original_context: self.original_context()?,
                })
            }
            "yarn" => self.yarn(),
            "longrope" | "su" => self.long_rope(),
            other => Err(ArchError::Config(format!("rope type `{other}` is not supported"))),
        }
    }

    fn yarn(&self) -> Result<RopeScaling, ArchError> {
        const KEYS: &[&str] = &[
            "factor",
            "beta_fast",
            "beta_slow",
            "mscale",
            "mscale_all_dim",
            "attention_factor",
            "truncate",
            // How the first models of YaRN came to be.
            "finetuned",
        ];
        self.knows(KEYS)?;
        if let Some(value) = self.value("truncate").filter(|value| **value != true) {
            return Err(self.not_understood("truncate", value));
        }
        let factor = self.needed("factor")?;
        let mscale = |m: f64| if factor <= 1.0 { 1.0 } else { 0.1 * m * factor.ln() + 1.0 };
        let given = |key| Ok(self.number(key)?.filter(|m| *m != 0.0));
        let both = given("mscale")?.zip(given("mscale_all_dim")?);
        let default = || both.map_or_else(|| mscale(1.0), |(m, all)| mscale(m) / mscale(all));
        Ok(RopeScaling::Yarn {
            factor,
            beta_fast: self.number("beta_fast")?.unwrap_or(32.0),
            beta_slow: self.number("beta_slow")?.unwrap_or(1.0),
            original_context: self.original_context()?,
            attention_factor: self.number("attention_factor")?.unwrap_or_else(default),
        })
    }

    fn long_rope(&self) -> Result<RopeScaling, ArchError> {
        const KEYS: &[&str] =
            &["short_factor", "long_factor", "short_mscale", "long_mscale", "attention_factor", "factor"];
        self.knows(KEYS)?;
        let original = self.original_context()?;
        let ratio = match self.number("factor")? {
            Some(factor) => factor,
            None => self.context()? as f64 / original as f64,
        };
        let default = if ratio <= 1.0 { 1.0 } else { (1.0 + ratio.ln() / (original as f64).ln()).sqrt() };
        let default = self.number("attention_factor")?.unwrap_or(default);
        let mscale = |key| Ok(self.number(key)?.filter(|m| *m > 0.0).unwrap_or(default));
        Ok(RopeScaling::LongRope {
            short_factor: self.list("short_factor")?,
            long_factor: self.list("long_factor")?,
            original_context: original,
            short_mscale: mscale("short_mscale")?,
            long_mscale: mscale("long_mscale")?,
        })
    }

    fn rope_type(&self) -> Result<&'a str, ArchError> {
        let Some(value) = self.value("rope_type").or_else(|| self.value("type")) else {
            return Ok("default");
        };
        value.as_str().ok_or_else(|| self.ill_typed("rope_type", value, "a name"))
    }

    /// The key's value, if it says something.
    fn value(&self, key: &str) -> Option<&'a Value> {
        self.object?.get(key).filter(|value| !value.is_null())
    }

    fn number(&self, key: &str) -> Result<Option<f64>, ArchError> {
        let Some(value) = self.value(key) else { return Ok(None) };
        value.as_f64().map(Some).ok_or_else(|| self.ill_typed(key, value, "a number"))
    }

    fn needed(&self, key: &str) -> Result<f64, ArchError> {
        self.number(key)?.ok_or_else(|| ArchError::Config(format!("rope parameter `{key}` is missing")))
    }

    fn list(&self, key: &str) -> Result<Vec<f64>, ArchError> {
        let list = self.value(key).and_then(Value::as_array);
        list.and_then(|list| list.iter().map(Value::as_f64).collect())
            .ok_or_else(|| ArchError::Config(format!("rope parameter `{key}` is not a list of numbers")))
    }

    /// From the object, or from beside it.
    fn either(&self, key: &str) -> Result<Option<f64>, ArchError> {
        Ok(self.number(key)?.or_else(|| self.config[key].as_f64()))
    }

    fn context(&self) -> Result<usize, ArchError> {
        let key = "max_position_embeddings";
        let missing = || ArchError::Config(format!("`{key}` is missing or not a whole number"));
        self.config[key].as_u64().map(|n| n as usize).ok_or_else(missing)
    }

    fn original_context(&self) -> Result<usize, ArchError> {
        match self.either("original_max_position_embeddings")? {
            Some(original) => Ok(original as usize),
            None => self.context(),
        }
    }

    /// Checks that the object has no keys but these and those of all types.
    fn knows(&self, keys: &[&str]) -> Result<(), ArchError> {
        let known = |key: &str| OF_ALL.contains(&key) || keys.contains(&key);
        let mut said = self.object.into_iter().flatten().filter(|(_, value)| !value.is_null());
        match said.find(|(key, _)| !known(key)) {
            None => Ok(()),
            Some((key, value)) => Err(self.not_understood(key, value)),
        }
    }

    fn not_understood(&self, key: &str, value: &Value) -> ArchError {
        ArchError::RopeKey {
            object: self.name,
            key: key.to_owned(),
            value: value.to_string(),
            rope_type: self.rope_type().unwrap_or_default().to_owned(),
        }
    }

    fn ill_typed(&self, key: &str, value: &Value, wanted: &str) -> ArchError {
        ArchError::Config(format!("`{}.{key}` is {value}, where {wanted} is needed", self.name))
    }
}
