//! Keys of a `config.json` that many families share.

use super::family::{Family, Windows};
use super::rope::Rope;
use super::rope_reader::RopeObject;
use super::spec::{Attention, Layer, Mlp, NormLayout, RopeUse, Spec};
use super::{Activation, ArchError};
use serde_json::Value;

/// Reads a configuration of transformers 4 (`rope_theta`, `rope_scaling`) or 5 (`rope_parameters`).
pub(crate) struct ConfigReader<'a> {
    pub(crate) config: &'a Value,
    pub(crate) family: &'static Family,
}

impl ConfigReader<'_> {
    /// What Llama has, with the keys that many families share and the defaults of this one.
    pub(crate) fn standard(&self) -> Result<Spec, ArchError> {
        let hidden_size = self.size("hidden_size")?;
        let heads = self.size("num_attention_heads")?;
        let head_dim = self.optional_size("head_dim").unwrap_or(hidden_size / heads);
        let num_layers = self.size("num_hidden_layers")?;
        Ok(Spec {
            family: self.family,
            model_type: self.config["model_type"].as_str().unwrap_or_default().to_owned(),
            vocab_size: self.size("vocab_size")?,
            hidden_size,
            intermediate_size: self.size("intermediate_size")?,
            context_length: self.size("max_position_embeddings")?,
            norm_eps: self.optional_number("rms_norm_eps").unwrap_or(1e-6),
            norm_plus_one: false,
            norm_layout: NormLayout::Pre,
            attention: Attention {
                heads,
                kv_heads: self.optional_size("num_key_value_heads").unwrap_or(heads),
                head_dim,
                packed_qkv: false,
                qkv_bias: self.flag("attention_bias"),
                o_bias: self.flag("attention_bias"),
                qk_norm: None,
                scale: 1.0 / (head_dim as f64).sqrt(),
                softcap: None,
            },
            mlp: Mlp { packed_gate_up: false, activation: self.activation()?, bias: self.flag("mlp_bias") },
            layers: self.layers(num_layers),
            rope: RopeObject::global(self.config)?.read(self.family, head_dim)?,
            rope_local: None,
            embedding_multiplier: None,
            residual_multiplier: None,
            logit_multiplier: None,
            final_softcap: None,
            tied: self.config["tie_word_embeddings"].as_bool().unwrap_or(self.family.tied),
            norm_in_f32: false,
        })
    }

    /// `layer_types` if present; else the rule of the family.
    fn layers(&self, count: usize) -> Vec<Layer> {
        let windows = self.family.windows;
        let window = self
            .optional_size("sliding_window")
            .filter(|_| self.config["use_sliding_window"].as_bool().unwrap_or(windows != Windows::OptIn));
        let types = self.config["layer_types"].as_array();
        (0..count)
            .map(|i| {
                let local = match types.and_then(|t| t.get(i)).and_then(Value::as_str) {
                    Some(kind) => kind == "sliding_attention",
                    // transformers 4 wrote no `layer_types`.
                    None => match windows {
                        Windows::None => false,
                        Windows::All => true,
                        Windows::OptIn => i >= self.optional_size("max_window_layers").unwrap_or(0),
                        Windows::EveryOther => i % 2 == 0,
                        Windows::AllBut { every } => {
                            let every = self.optional_size("sliding_window_pattern").unwrap_or(every).max(1);
                            !(i + 1).is_multiple_of(every)
                        }
                    },
                };
                Layer { window: window.filter(|_| local), rope: RopeUse::Global }
            })
            .collect()
    }

    fn activation(&self) -> Result<Activation, ArchError> {
        let name = ["hidden_activation", "hidden_act"]
            .iter()
            .find_map(|key| self.config[*key].as_str())
            .unwrap_or("silu");
        match name {
            "silu" | "swish" => Ok(Activation::Silu),
            "gelu" => Ok(Activation::Gelu),
            "gelu_pytorch_tanh" | "gelu_new" | "gelu_fast" => Ok(Activation::GeluTanh),
            other => Err(ArchError::Config(format!("activation `{other}` is not supported"))),
        }
    }

    /// Layers with a window rotate by parameters of their own; `unnested` are those of a configuration that has no
    /// object for them.
    pub(crate) fn local_rope(&self, spec: &mut Spec, unnested: Rope) -> Result<(), ArchError> {
        let local = match RopeObject::local(self.config)? {
            Some(object) => object.read(self.family, spec.attention.head_dim)?,
            None => unnested,
        };
        if local != spec.rope {
            spec.rope_local = Some(local);
            for layer in spec.layers.iter_mut().filter(|layer| layer.window.is_some()) {
                layer.rope = RopeUse::Local;
            }
        }
        Ok(())
    }

    /// Refuses settings for layers with a window that the family does not read and that differ from those of all layers.
    pub(crate) fn check_local_rope(&self, spec: &Spec) -> Result<(), ArchError> {
        let windowed = spec.layers.iter().any(|layer| layer.window.is_some());
        let Some(object) = RopeObject::local(self.config)?.filter(|_| windowed && spec.rope_local.is_none())
        else {
            return Ok(());
        };
        let local = object.read(self.family, spec.attention.head_dim)?;
        if (Rope { interleaved: spec.rope.interleaved, ..local }) == spec.rope {
            return Ok(());
        }
        let what =
            format!("`rope_parameters.sliding_attention` is not supported for {}", self.family.architecture);
        Err(ArchError::Config(what))
    }

    pub(crate) fn size(&self, key: &'static str) -> Result<usize, ArchError> {
        self.optional_size(key)
            .ok_or_else(|| ArchError::Config(format!("`{key}` is missing or not a whole number")))
    }

    pub(crate) fn number(&self, key: &'static str) -> Result<f64, ArchError> {
        self.optional_number(key)
            .ok_or_else(|| ArchError::Config(format!("`{key}` is missing or not a number")))
    }

    pub(crate) fn optional_size(&self, key: &str) -> Option<usize> {
        self.config[key].as_u64().map(|n| n as usize)
    }

    pub(crate) fn optional_number(&self, key: &str) -> Option<f64> {
        self.config[key].as_f64()
    }

    /// A flag that is off if it is not there.
    pub(crate) fn flag(&self, key: &str) -> bool {
        self.config[key].as_bool().unwrap_or(false)
    }

    /// A flag with a default of its own.
    pub(crate) fn flag_or(&self, key: &str, default: bool) -> bool {
        self.config[key].as_bool().unwrap_or(default)
    }
}
