//! From a `config.json` to a [`Spec`].

use super::ArchError;
use super::config_reader::ConfigReader;
use super::families::{FAMILIES, Known, SUPPORTED};
use super::family::Family;
use super::keys::Keys;
use super::rope::RopeScaling;
use super::spec::Spec;
use serde_json::Value;

/// The family by its class; where `architectures` names none that is known, but no other task either, by `model_type`, as
/// transformers finds it: configurations by themselves, and those of wrapped models, name no class of a family.
fn known(config: &Value) -> Result<&'static Known, ArchError> {
    let keys = Keys { object: config.as_object(), place: "" };
    let architectures = keys.list("architectures", "a list of names", class)?.unwrap_or_default();
    let architecture = architectures.first().copied().unwrap_or_default();
    let model_type = keys.text("model_type")?.unwrap_or_default();
    let of_class = FAMILIES.iter().find(|known| known.family.architecture == architecture);
    let of_type = || {
        let known = FAMILIES.iter().find(|known| known.family.model_type == model_type)?;
        (!is_of_another_task(architecture, &known.family)).then_some(known)
    };
    of_class.or_else(of_type).ok_or_else(|| ArchError::Unsupported {
        found: [architecture, model_type, "none"]
            .into_iter()
            .find(|name| !name.is_empty())
            .unwrap_or_default()
            .into(),
        supported: SUPPORTED,
    })
}

/// The name of a class; none is as good as one that is not known.
fn class(value: &Value) -> Option<&str> {
    if value.is_null() { Some("") } else { value.as_str() }
}

/// Whether a class is made for something other than the next token: classification, drafts, or the family's layers alone.
fn is_of_another_task(class: &str, family: &Family) -> bool {
    match class.rsplit_once("For") {
        Some((_, task)) => task != "CausalLM",
        None => class.strip_suffix("Model").is_some_and(|stem| family.architecture.starts_with(stem)),
    }
}

impl Spec {
    /// Reads a Hugging Face `config.json`, of transformers 4 (`rope_theta`, `rope_scaling`) or 5
    /// (`rope_parameters`).
    ///
    /// # Errors
    /// An architecture or rope type that is not supported, a missing or ill-typed key.
    pub fn from_config(config: &Value) -> Result<Spec, ArchError> {
        let known = known(config)?;
        let reader = ConfigReader { config, family: &known.family };
        let mut spec = reader.standard()?;
        (known.differences)(&reader, &mut spec)?;
        reader.check_local_rope(&spec)?;
        spec.check()?;
        Ok(spec)
    }

    fn check(&self) -> Result<(), ArchError> {
        let a = &self.attention;
        if !a.heads.is_multiple_of(a.kv_heads) {
            return Err(ArchError::Config(format!(
                "num_attention_heads ({}) is not a multiple of num_key_value_heads ({})",
                a.heads, a.kv_heads
            )));
        }
        for rope in std::iter::once(&self.rope).chain(&self.rope_local) {
            if rope.rotary_dim > a.head_dim || !rope.rotary_dim.is_multiple_of(2) {
                return Err(ArchError::Config(format!(
                    "{} of the {} elements of a head are rotated, where an even number of them is needed",
                    rope.rotary_dim, a.head_dim
                )));
            }
        }
        if let RopeScaling::LongRope { short_factor, long_factor, .. } = &self.rope.scaling {
            let half = self.rope.rotary_dim / 2;
            if short_factor.len() != half || long_factor.len() != half {
                return Err(ArchError::Config(format!(
                    "longrope needs {half} factors, found {} short and {} long",
                    short_factor.len(),
                    long_factor.len()
                )));
            }
        }
        Ok(())
    }
}
