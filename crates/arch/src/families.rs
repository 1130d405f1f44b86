//! The only place that knows model families: `config.json` to [`Spec`].

use super::{
    Activation, ArchError, Attention, Layer, Mlp, NormLayout, QkNorm, Rope, RopeScaling, RopeUse, Spec,
};
use serde_json::Value;

/// Architectures that [`Spec::from_config`] understands.
pub const SUPPORTED: &[&str] = &[
    "LlamaForCausalLM",
    "MistralForCausalLM",
    "MinistralForCausalLM",
    "Phi3ForCausalLM",
    "Qwen2ForCausalLM",
    "Qwen3ForCausalLM",
    "GemmaForCausalLM",
    "Gemma2ForCausalLM",
    "Gemma3ForCausalLM",
    "GlmForCausalLM",
    "Glm4ForCausalLM",
    "GraniteForCausalLM",
    "SmolLM3ForCausalLM",
    "Olmo2ForCausalLM",
    "Olmo3ForCausalLM",
    "Ernie4_5ForCausalLM",
    "Exaone4ForCausalLM",
    "HeliumForCausalLM",
    "SeedOssForCausalLM",
];

impl Spec {
    /// Reads a Hugging Face `config.json`, of transformers 4 (`rope_theta`, `rope_scaling`) or 5
    /// (`rope_parameters`).
    ///
    /// # Errors
    /// An architecture or rope type that is not supported, a missing or ill-typed key.
    pub fn from_config(config: &Value) -> Result<Spec, ArchError> {
        let architecture = config["architectures"][0].as_str().unwrap_or_default();
        if !SUPPORTED.contains(&architecture) {
            return Err(ArchError::Unsupported {
                found: if architecture.is_empty() { "none".into() } else { architecture.into() },
                supported: SUPPORTED,
            });
        }
        let reader = Reader { config, architecture };
        let mut spec = reader.standard()?;
        let a = &mut spec.attention;
        match spec.architecture.as_str() {
            "Phi3ForCausalLM" => {
                a.packed_qkv = true;
                spec.mlp.packed_gate_up = true;
            }
            "Qwen2ForCausalLM" => a.qkv_bias = true,
            "Qwen3ForCausalLM" => a.qk_norm = Some(QkNorm::PerHead),
            "GemmaForCausalLM" => reader.gemma(&mut spec),
            "Gemma2ForCausalLM" => reader.gemma2(&mut spec)?,
            "Gemma3ForCausalLM" => {
                reader.gemma2(&mut spec)?;
                spec.attention.qk_norm = Some(QkNorm::PerHead);
                let theta = reader.optional_number("rope_local_base_freq").unwrap_or(10_000.0);
                let scaling = RopeScaling::Default;
                let unnested =
                    Rope { theta, scaling, rotary_dim: spec.attention.head_dim, interleaved: false };
                reader.local_rope(&mut spec, unnested)?;
            }
            "GlmForCausalLM" | "Glm4ForCausalLM" => {
                a.qkv_bias = config["attention_bias"].as_bool().unwrap_or(true);
                a.o_bias = false;
                spec.mlp.packed_gate_up = true;
                spec.rope.interleaved = true;
                if spec.architecture == "Glm4ForCausalLM" {
                    spec.norm_layout = NormLayout::PreAndPostGlm;
                }
            }
            "GraniteForCausalLM" => {
                a.scale = reader.number("attention_multiplier")?;
                spec.embedding_multiplier = Some(reader.number("embedding_multiplier")?);
                spec.residual_multiplier = Some(reader.number("residual_multiplier")?);
                spec.logit_multiplier = Some(1.0 / reader.number("logits_scaling")?);
            }
            "SmolLM3ForCausalLM" => reader.no_rope_layers(&mut spec.layers),
            "Olmo2ForCausalLM" => {
                a.qk_norm = Some(QkNorm::Full);
                spec.norm_layout = NormLayout::Post;
            }
            "Olmo3ForCausalLM" => {
                a.qk_norm = Some(QkNorm::Full);
                spec.norm_layout = NormLayout::Post;
                // transformers 4 scales the rotation of the full layers only.
                let unnested = Rope { scaling: RopeScaling::Default, ..spec.rope.clone() };
                reader.local_rope(&mut spec, unnested)?;
            }
            "Ernie4_5ForCausalLM" => {
                let bias = reader.flag("use_bias");
                (a.qkv_bias, a.o_bias, spec.mlp.bias) = (bias, bias, bias);
                spec.rope.interleaved = true;
            }
            "Exaone4ForCausalLM" => {
                a.qk_norm = Some(QkNorm::PerHead);
                spec.norm_layout = NormLayout::Post;
                // In a model with windows, the layers without one do not rotate.
                if reader.optional_size("sliding_window").is_some() {
                    for layer in spec.layers.iter_mut().filter(|layer| layer.window.is_none()) {
                        layer.rope = RopeUse::None;
                    }
                }
            }
            "HeliumForCausalLM" => {
                a.o_bias = false;
                spec.rope.interleaved = true;
            }
            "SeedOssForCausalLM" => {
                a.qkv_bias = config["attention_bias"].as_bool().unwrap_or(true);
                a.o_bias = reader.flag("attention_out_bias");
            }
            _ => {}
        }
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

struct Reader<'a> {
    config: &'a Value,
    architecture: &'a str,
}

impl Reader<'_> {
    /// What Llama has, with the keys that many families share.
    fn standard(&self) -> Result<Spec, ArchError> {
        let hidden_size = self.size("hidden_size")?;
        let heads = self.size("num_attention_heads")?;
        let head_dim = self.optional_size("head_dim").unwrap_or(hidden_size / heads);
        let num_layers = self.size("num_hidden_layers")?;
        Ok(Spec {
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
            rope: self.rope(self.rope_object(), head_dim)?,
            rope_local: None,
            embedding_multiplier: None,
            residual_multiplier: None,
            logit_multiplier: None,
            final_softcap: None,
            tied: self.config["tie_word_embeddings"].as_bool().unwrap_or_else(|| {
                self.architecture.starts_with("Gemma") || self.architecture == "Ernie4_5ForCausalLM"
            }),
            norm_in_f32: false,
            architecture: self.architecture.to_owned(),
        })
    }

    fn gemma(&self, spec: &mut Spec) {
        spec.norm_plus_one = true;
        spec.embedding_multiplier = Some((spec.hidden_size as f64).sqrt());
        // The first releases say `gelu` and mean this.
        if spec.mlp.activation == Activation::Gelu {
            spec.mlp.activation = Activation::GeluTanh;
        }
    }

    fn gemma2(&self, spec: &mut Spec) -> Result<(), ArchError> {
        self.gemma(spec);
        spec.norm_in_f32 = true;
        spec.norm_layout = NormLayout::PreAndPost;
        spec.attention.scale = 1.0 / self.number("query_pre_attn_scalar")?.sqrt();
        spec.attention.softcap = self.optional_number("attn_logit_softcapping");
        spec.final_softcap = self.optional_number("final_logit_softcapping");
        Ok(())
    }

    /// `layer_types` if present; else the rule of the family.
    fn layers(&self, count: usize) -> Vec<Layer> {
        let is_qwen = self.architecture.starts_with("Qwen");
        let window = self
            .optional_size("sliding_window")
            .filter(|_| self.config["use_sliding_window"].as_bool().unwrap_or(!is_qwen));
        let types = self.config["layer_types"].as_array();
        let pattern = |default| self.optional_size("sliding_window_pattern").unwrap_or(default).max(1);
        (0..count)
            .map(|i| {
                let local = match types.and_then(|t| t.get(i)).and_then(Value::as_str) {
                    Some(kind) => kind == "sliding_attention",
                    // transformers 4 wrote no `layer_types`.
                    None => match self.architecture {
                        "MistralForCausalLM" | "MinistralForCausalLM" | "Phi3ForCausalLM" => true,
                        "Qwen2ForCausalLM" | "Qwen3ForCausalLM" => {
                            i >= self.optional_size("max_window_layers").unwrap_or(0)
                        }
                        "Gemma2ForCausalLM" => i % 2 == 0,
                        "Gemma3ForCausalLM" => !(i + 1).is_multiple_of(pattern(6)),
                        "Olmo3ForCausalLM" | "Exaone4ForCausalLM" => !(i + 1).is_multiple_of(pattern(4)),
                        _ => false,
                    },
                };
                Layer { window: window.filter(|_| local), rope: RopeUse::Global }
            })
            .collect()
    }

    /// SmolLM3: a 0 in `no_rope_layers` switches the rotation off in that layer.
    fn no_rope_layers(&self, layers: &mut [Layer]) {
        let listed = self.config["no_rope_layers"].as_array();
        let interval = self.optional_size("no_rope_layer_interval").unwrap_or(4);
        for (i, layer) in layers.iter_mut().enumerate() {
            let rotates = match listed.and_then(|l| l.get(i)).and_then(Value::as_u64) {
                Some(flag) => flag != 0,
                None => !(i + 1).is_multiple_of(interval),
            };
            if !rotates {
                layer.rope = RopeUse::None;
            }
        }
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

    /// The object that carries the rope settings: transformers 5, nested per layer type, or transformers 4.
    fn rope_object(&self) -> &Value {
        let parameters = &self.config["rope_parameters"];
        if parameters["full_attention"].is_object() {
            &parameters["full_attention"]
        } else if parameters.is_object() {
            parameters
        } else {
            &self.config["rope_scaling"]
        }
    }

    /// Layers with a window rotate by parameters of their own; `unnested` are those of a configuration that has no
    /// object for them.
    fn local_rope(&self, spec: &mut Spec, unnested: Rope) -> Result<(), ArchError> {
        let nested = &self.config["rope_parameters"]["sliding_attention"];
        let local = if nested.is_object() { self.rope(nested, spec.attention.head_dim)? } else { unnested };
        if local != spec.rope {
            spec.rope_local = Some(local);
            for layer in spec.layers.iter_mut().filter(|layer| layer.window.is_some()) {
                layer.rope = RopeUse::Local;
            }
        }
        Ok(())
    }

    /// What a configuration without `rope_theta` means in transformers.
    fn default_theta(&self) -> f64 {
        match self.architecture {
            "Ernie4_5ForCausalLM" | "Olmo3ForCausalLM" => 500_000.0,
            "HeliumForCausalLM" => 100_000.0,
            "SmolLM3ForCausalLM" => 2_000_000.0,
            "Gemma3ForCausalLM" => 1_000_000.0,
            _ => 10_000.0,
        }
    }

    fn rope(&self, object: &Value, head_dim: usize) -> Result<Rope, ArchError> {
        let either = |key: &str| object[key].as_f64().or_else(|| self.optional_number(key));
        let need = |key: &str| {
            object[key]
                .as_f64()
                .ok_or_else(|| ArchError::Config(format!("rope parameter `{key}` is missing")))
        };
        let partial = either("partial_rotary_factor").unwrap_or(if self.architecture.starts_with("Glm") {
            0.5
        } else {
            1.0
        });
        let context = self.size("max_position_embeddings")?;
        let original = either("original_max_position_embeddings").map(|n| n as usize);
        let kind = object["rope_type"].as_str().or(object["type"].as_str()).unwrap_or("default");
        let scaling = match kind {
            "default" => RopeScaling::Default,
            "linear" => RopeScaling::Linear { factor: need("factor")? },
            "llama3" => RopeScaling::Llama3 {
                factor: need("factor")?,
                low_freq_factor: need("low_freq_factor")?,
                high_freq_factor: need("high_freq_factor")?,
                original_context: original.unwrap_or(context),
            },
            "yarn" => {
                let factor = need("factor")?;
                let mscale = |m: f64| if factor <= 1.0 { 1.0 } else { 0.1 * m * factor.ln() + 1.0 };
                let both = object["mscale"].as_f64().zip(object["mscale_all_dim"].as_f64());
                RopeScaling::Yarn {
                    factor,
                    beta_fast: object["beta_fast"].as_f64().unwrap_or(32.0),
                    beta_slow: object["beta_slow"].as_f64().unwrap_or(1.0),
                    original_context: original.unwrap_or(context),
                    attention_factor: object["attention_factor"].as_f64().unwrap_or_else(|| {
                        both.map_or_else(|| mscale(1.0), |(m, all)| mscale(m) / mscale(all))
                    }),
                }
            }
            "longrope" | "su" => {
                let original = original.unwrap_or(context);
                let ratio = context as f64 / original as f64;
                let default =
                    if ratio <= 1.0 { 1.0 } else { (1.0 + ratio.ln() / (original as f64).ln()).sqrt() };
                let mscale = |key: &str| object[key].as_f64().filter(|m| *m > 0.0).unwrap_or(default);
                RopeScaling::LongRope {
                    short_factor: factors(object, "short_factor")?,
                    long_factor: factors(object, "long_factor")?,
                    original_context: original,
                    short_mscale: mscale("short_mscale"),
                    long_mscale: mscale("long_mscale"),
                }
            }
            other => {
                return Err(ArchError::Config(format!("rope type `{other}` is not supported")));
            }
        };
        Ok(Rope {
            theta: either("rope_theta").unwrap_or_else(|| self.default_theta()),
            rotary_dim: (partial * head_dim as f64) as usize,
            interleaved: false,
            scaling,
        })
    }

    fn size(&self, key: &'static str) -> Result<usize, ArchError> {
        self.optional_size(key)
            .ok_or_else(|| ArchError::Config(format!("`{key}` is missing or not a whole number")))
    }

    fn number(&self, key: &'static str) -> Result<f64, ArchError> {
        self.optional_number(key)
            .ok_or_else(|| ArchError::Config(format!("`{key}` is missing or not a number")))
    }

    fn optional_size(&self, key: &str) -> Option<usize> {
        self.config[key].as_u64().map(|n| n as usize)
    }

    fn optional_number(&self, key: &str) -> Option<f64> {
        self.config[key].as_f64()
    }

    fn flag(&self, key: &str) -> bool {
        self.config[key].as_bool().unwrap_or(false)
    }
}

fn factors(object: &Value, key: &str) -> Result<Vec<f64>, ArchError> {
    object[key]
        .as_array()
        .and_then(|list| list.iter().map(Value::as_f64).collect())
        .ok_or_else(|| ArchError::Config(format!("rope parameter `{key}` is not a list of numbers")))
}
