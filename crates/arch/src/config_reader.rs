//! Keys of a `config.json` that many families share.

use super::family::{Family, Windows};
use super::keys::Keys;
use super::rope::Rope;
use super::rope_reader::RopeObject;
use super::spec::{Attention, Layer, Mlp, NormLayout, RopeUse, Spec};
use super::{Activation, ArchError};
use serde_json::Value;

/// More layers than any model has. How many there are, the weights say; this keeps a damaged number from being believed.
const MOST_LAYERS: usize = 1 << 16;

/// Positions are computed in f32, which counts no further.
pub const MOST_POSITIONS: usize = 1 << f32::MANTISSA_DIGITS;

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
        let head_dim = self.optional_size("head_dim")?.unwrap_or(hidden_size / heads);
        let num_layers = self.at_most("num_hidden_layers", MOST_LAYERS)?;
        self.check_tokens()?;
        Ok(Spec {
            family: self.family,
            model_type: self.keys().text("model_type")?.unwrap_or_default().to_owned(),
            vocab_size: self.size("vocab_size")?,
            hidden_size,
            intermediate_size: self.size("intermediate_size")?,
            context_length: self.at_most("max_position_embeddings", MOST_POSITIONS)?,
            norm_eps: self.optional_number("rms_norm_eps")?.unwrap_or(1e-6),
            norm_plus_one: false,
            norm_layout: NormLayout::Pre,
            attention: Attention {
                heads,
                kv_heads: self.optional_size("num_key_value_heads")?.unwrap_or(heads),
                head_dim,
                packed_qkv: false,
                qkv_bias: self.flag("attention_bias")?,
                o_bias: self.flag("attention_bias")?,
                qk_norm: None,
                scale: 1.0 / (head_dim as f64).sqrt(),
                softcap: None,
            },
            mlp: Mlp { packed_gate_up: false, activation: self.activation()?, bias: self.flag("mlp_bias")? },
            layers: self.layers(num_layers)?,
            rope: RopeObject::global(self.config)?.read(self.family, head_dim)?,
            rope_local: None,
            embedding_multiplier: None,
            residual_multiplier: None,
            logit_multiplier: None,
            final_softcap: None,
            tied: self.flag_or("tie_word_embeddings", self.family.tied)?,
            norm_in_f32: false,
        })
    }

    fn keys(&self) -> Keys<'_> {
        Keys { object: self.config.as_object(), place: "" }
    }

    /// Whoever writes or reads a text takes these from the file as it is.
    fn check_tokens(&self) -> Result<(), ArchError> {
        ["bos_token_id", "eos_token_id", "pad_token_id"].iter().try_for_each(|key| self.keys().check_ids(key))
    }

    /// `layer_types` if present; else the rule of the family.
    fn layers(&self, count: usize) -> Result<Vec<Layer>, ArchError> {
        let windows = self.family.windows;
        let used = self.flag_or("use_sliding_window", windows != Windows::OptIn)?;
        let window = self.keys().count("sliding_window")?.filter(|_| used);
        let listed =
            self.per_layer("layer_types", count, "\"full_attention\" or \"sliding_attention\"", |kind| {
                match kind.as_str()? {
                    "sliding_attention" => Some(true),
                    "full_attention" => Some(false),
                    _ => None,
                }
            })?;
        let local: Vec<bool> = match (listed, windows) {
            (Some(listed), _) => listed,
            // transformers 4 wrote no `layer_types`.
            (None, Windows::None) => vec![false; count],
            (None, Windows::All) => vec![true; count],
            (None, Windows::OptIn) => {
                let first = self.keys().count("max_window_layers")?.unwrap_or(0);
                (0..count).map(|layer| layer >= first).collect()
            }
            (None, Windows::EveryOther) => (0..count).map(|layer| layer % 2 == 0).collect(),
            (None, Windows::AllBut { every }) => {
                let every = self.optional_size("sliding_window_pattern")?.unwrap_or(every);
                (1..=count).map(|layer| !layer.is_multiple_of(every)).collect()
            }
        };
        if window == Some(0) && local.contains(&true) {
            return Err(self.keys().ill("a number above 0", "sliding_window"));
        }
        let layer = |local: bool| Layer { window: window.filter(|_| local), rope: RopeUse::Global };
        Ok(local.into_iter().map(layer).collect())
    }

    /// A list with an entry for each of the layers, as far as they are used.
    pub(crate) fn per_layer<T>(
        &self,
        key: &str,
        count: usize,
        wanted: &str,
        of: impl Fn(&Value) -> Option<T>,
    ) -> Result<Option<Vec<T>>, ArchError> {
        let Some(mut list) = self.keys().list(key, &format!("a list of {wanted}"), of)? else {
            return Ok(None);
        };
        if list.len() < count {
            let found = list.len();
            return Err(ArchError::Config(format!("`{key}` has {found} entries for {count} layers")));
        }
        list.truncate(count);
        Ok(Some(list))
    }

    fn activation(&self) -> Result<Activation, ArchError> {
        let of = |key| self.keys().text(key);
        let name = of("hidden_activation")?.or(of("hidden_act")?).unwrap_or("silu");
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

    pub(crate) fn size(&self, key: &str) -> Result<usize, ArchError> {
        self.keys().needed(key, self.optional_size(key)?)
    }

    fn at_most(&self, key: &str, most: usize) -> Result<usize, ArchError> {
        match self.size(key)? {
            size if size > most => Err(self.keys().ill(&format!("a number up to {most}"), key)),
            size => Ok(size),
        }
    }

    /// A number above 0.
    pub(crate) fn positive(&self, key: &str) -> Result<f64, ArchError> {
        self.keys().needed(key, self.keys().positive(key)?)
    }

    pub(crate) fn number(&self, key: &str) -> Result<f64, ArchError> {
        self.keys().needed(key, self.optional_number(key)?)
    }

    pub(crate) fn optional_size(&self, key: &str) -> Result<Option<usize>, ArchError> {
        self.keys().size(key)
    }

    pub(crate) fn optional_number(&self, key: &str) -> Result<Option<f64>, ArchError> {
        self.keys().number(key)
    }

    pub(crate) fn optional_positive(&self, key: &str) -> Result<Option<f64>, ArchError> {
        self.keys().positive(key)
    }

    /// A flag that is off if it is not there.
    pub(crate) fn flag(&self, key: &str) -> Result<bool, ArchError> {
        self.flag_or(key, false)
    }

    /// A flag with a default of its own.
    pub(crate) fn flag_or(&self, key: &str, default: bool) -> Result<bool, ArchError> {
        Ok(self.keys().flag(key)?.unwrap_or(default))
    }
}
