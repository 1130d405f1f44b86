//! The rotation that a `config.json` describes: `rope_parameters` of transformers 5, or `rope_scaling` and the keys beside
//! it of transformers 4. A key that is not understood is an error: passed over, it would change the model.

use super::ArchError;
use super::family::Family;
use super::keys::Keys;
use super::rope::{Rope, RopeScaling};
use serde_json::Value;

/// An object of rope settings, and the configuration that says what it leaves out.
pub(crate) struct RopeObject<'a> {
    /// Without an object, all is said beside it.
    keys: Keys<'a>,
    beside: Keys<'a>,
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
        match (parameters.keys.object, scaling.keys.object) {
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
        Ok(local.keys.object.is_some().then_some(local))
    }

    fn at(config: &'a Value, name: &'static str, value: &'a Value) -> Result<RopeObject<'a>, ArchError> {
        let object = match value {
            Value::Null => None,
            Value::Object(object) => Some(object),
            other => {
                let (key, value) = (name.to_owned(), other.to_string());
                return Err(ArchError::Value { key, value, wanted: "an object".into() });
            }
        };
        let beside = Keys { object: config.as_object(), place: "" };
        Ok(RopeObject { keys: Keys { object, place: name }, beside })
    }

    /// # Errors
    /// A rope type that is not supported, a key that is missing, ill-typed or not understood.
    pub(crate) fn read(&self, family: &Family, head_dim: usize) -> Result<Rope, ArchError> {
        let share = "partial_rotary_factor";
        let part = |keys: &Keys<'_>| match keys.number(share)? {
            Some(part) if !(0.0..=1.0).contains(&part) => {
                Err(keys.ill("a share of a head, from 0 to 1,", share))
            }
            part => Ok(part),
        };
        let base = |keys: &Keys<'_>| keys.positive("rope_theta");
        let (own_part, part) = (part(&self.keys)?, part(&self.beside)?);
        let (own_base, base) = (base(&self.keys)?, base(&self.beside)?);
        let partial = own_part.or(part).unwrap_or(family.partial_rotary_factor);
        Ok(Rope {
            theta: own_base.or(base).unwrap_or(family.rope_theta),
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
        if let Some(value) = self.keys.value("truncate").filter(|value| **value != true) {
            return Err(self.not_understood("truncate", value));
        }
        let factor = self.needed("factor")?;
        let mscale = |m: f64| if factor <= 1.0 { 1.0 } else { 0.1 * m * factor.ln() + 1.0 };
        let given = |key| Ok(self.keys.number(key)?.filter(|m| *m != 0.0));
        let both = given("mscale")?.zip(given("mscale_all_dim")?);
        let default = || both.map_or_else(|| mscale(1.0), |(m, all)| mscale(m) / mscale(all));
        Ok(RopeScaling::Yarn {
            factor,
            beta_fast: self.keys.positive("beta_fast")?.unwrap_or(32.0),
            beta_slow: self.keys.positive("beta_slow")?.unwrap_or(1.0),
            original_context: self.original_context()?,
            attention_factor: self.keys.number("attention_factor")?.unwrap_or_else(default),
        })
    }

    fn long_rope(&self) -> Result<RopeScaling, ArchError> {
        const KEYS: &[&str] =
            &["short_factor", "long_factor", "short_mscale", "long_mscale", "attention_factor", "factor"];
        self.knows(KEYS)?;
        let original = self.original_context()?;
        let ratio = match self.keys.positive("factor")? {
            Some(factor) => factor,
            None => self.context()? as f64 / original as f64,
        };
        let default = if ratio <= 1.0 { 1.0 } else { (1.0 + ratio.ln() / (original as f64).ln()).sqrt() };
        let default = self.keys.number("attention_factor")?.unwrap_or(default);
        let mscale = |key| Ok(self.keys.number(key)?.filter(|m| *m > 0.0).unwrap_or(default));
        Ok(RopeScaling::LongRope {
            short_factor: self.list("short_factor")?,
            long_factor: self.list("long_factor")?,
            original_context: original,
            short_mscale: mscale("short_mscale")?,
            long_mscale: mscale("long_mscale")?,
        })
    }

    fn rope_type(&self) -> Result<&'a str, ArchError> {
        let name = self.keys.text("rope_type")?.or(self.keys.text("type")?);
        Ok(name.unwrap_or("default"))
    }

    fn needed(&self, key: &str) -> Result<f64, ArchError> {
        self.keys.needed(key, self.keys.positive(key)?)
    }

    fn list(&self, key: &str) -> Result<Vec<f64>, ArchError> {
        let positive = |value: &Value| value.as_f64().filter(|n| *n > 0.0);
        self.keys.needed(key, self.keys.list(key, "a list of numbers above 0", positive)?)
    }

    fn context(&self) -> Result<usize, ArchError> {
        let key = "max_position_embeddings";
        self.beside.needed(key, self.beside.size(key)?)
    }

    /// Some tools write it as a number with a fraction of zero.
    fn original_context(&self) -> Result<usize, ArchError> {
        const KEY: &str = "original_max_position_embeddings";
        let length = |keys: &Keys<'_>| match keys.number(KEY)? {
            Some(length) if (1.0..=f64::from(i32::MAX)).contains(&length) => Ok(Some(length as usize)),
            Some(_) => Err(keys.ill("a length", KEY)),
            None => Ok(None),
        };
        let (own, beside) = (length(&self.keys)?, length(&self.beside)?);
        own.or(beside).map_or_else(|| self.context(), Ok)
    }

    /// Checks that the object has no keys but these and those of all types.
    fn knows(&self, keys: &[&str]) -> Result<(), ArchError> {
        let known = |key: &str| OF_ALL.contains(&key) || keys.contains(&key);
        let mut said = self.keys.object.into_iter().flatten().filter(|(_, value)| !value.is_null());
        match said.find(|(key, _)| !known(key)) {
            None => Ok(()),
            Some((key, value)) => Err(self.not_understood(key, value)),
        }
    }

    fn not_understood(&self, key: &str, value: &Value) -> ArchError {
        ArchError::RopeKey {
            object: self.keys.place,
            key: key.to_owned(),
            value: value.to_string(),
            rope_type: self.rope_type().unwrap_or_default().to_owned(),
        }
    }
}
