//! From a `config.json` to a [`Spec`].

use super::ArchError;
use super::config_reader::ConfigReader;
use super::families::{FAMILIES, SUPPORTED};
use super::rope::RopeScaling;
use super::spec::Spec;
use serde_json::Value;

impl Spec {
    /// Reads a Hugging Face `config.json`, of transformers 4 (`rope_theta`, `rope_scaling`) or 5
    /// (`rope_parameters`).
    ///
    /// # Errors
    /// An architecture or rope type that is not supported, a missing or ill-typed key.
    pub fn from_config(config: &Value) -> Result<Spec, ArchError> {
        let architecture = config["architectures"][0].as_str().unwrap_or_default();
        let Some(known) = FAMILIES.iter().find(|known| known.family.architecture == architecture) else {
            return Err(ArchError::Unsupported {
                found: if architecture.is_empty() { "none".into() } else { architecture.into() },
                supported: SUPPORTED,
            });
        };
        let reader = ConfigReader { config, family: &known.family };
        let mut spec = reader.standard()?;
        (known.differences)(&reader, &mut spec)?;
        reader.check_local_rope(&spec)?;
        spec.check()?;
        Ok(spec)
    }

    fn check(&self) -> Result<(), ArchError> {
        let a = &self.attention;
        if a.kv_heads == 0 || !a.heads.is_multiple_of(a.kv_heads) {
            return Err(ArchError::Config(format!(
                "num_attention_heads ({}) is not a multiple of num_key_value_heads ({})",
                a.heads, a.kv_heads
            )));
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
