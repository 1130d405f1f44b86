//! What a file says of the model, but for its tokenizer.

use super::Request;
use super::file::File;
use super::query::query_factor;
use super::rope;
use crate::error::ExportError;
use olive_arch::{Layer, QueryScale, ReadWindows, RopeScaling, RopeUse, Spec, WINDOW_PATTERN};
use olive_core::Result;
use olive_core::event::{Event, EventSink};
use olive_model::ModelFolder;
use serde_json::Value;

/// The version of the formats of blocks.
const QUANTISATION: u32 = 2;

/// A model that is described.
pub(super) struct Described<'a> {
    pub folder: &'a ModelFolder,
    pub spec: &'a Spec,
    /// `general.architecture`.
    pub architecture: &'static str,
}

impl Described<'_> {
    /// # Errors
    /// What the model does and no file can say.
    pub fn add(&self, request: &Request<'_>, file: &mut File, events: &dyn EventSink) -> Result<()> {
        self.check()?;
        file.text("general.architecture", self.architecture);
        file.text("general.type", "model");
        self.add_sampling(file)?;
        file.text("general.name", request.name);
        file.number("general.file_type", request.precision.file_type());
        file.number("general.quantization_version", QUANTISATION);
        self.add_sizes(file);
        self.add_attention(file, events);
        self.add_rope(file);
        if let RopeScaling::LongRope { original_context, .. } = self.spec.rope.scaling {
            let message = format!(
                "llama.cpp takes the factors for long texts as soon as its context is larger than {original_context}, whatever the \
                 length of the text"
            );
            events.emit(Event::Warning { message });
        }
        self.add_factors(file);
        Ok(())
    }

    fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.architecture)
    }

    /// How answers are drawn, where the model's own settings say that they are.
    fn add_sampling(&self, file: &mut File) -> Result<()> {
        let Some(settings) = self.folder.generation_config()? else { return Ok(()) };
        if settings["do_sample"] != Value::Bool(true) {
            return Ok(());
        }
        if let Some(top_k) = settings["top_k"].as_i64().and_then(|top_k| i32::try_from(top_k).ok()) {
            file.signed("general.sampling.top_k", top_k);
        }
        for (key, name) in
            [("top_p", "top_p"), ("temperature", "temp"), ("repetition_penalty", "penalty_repeat")]
        {
            if let Some(number) = settings[key].as_f64() {
                file.float(&format!("general.sampling.{name}"), number);
            }
        }
        Ok(())
    }

    fn add_sizes(&self, file: &mut File) {
        let spec = self.spec;
        let attention = &spec.attention;
        file.size(&self.key("block_count"), spec.num_layers());
        file.size(&self.key("context_length"), spec.context_length);
        file.size(&self.key("embedding_length"), spec.hidden_size);
        file.size(&self.key("feed_forward_length"), spec.intermediate_size);
        file.size(&self.key("attention.head_count"), attention.heads);
        file.size(&self.key("attention.head_count_kv"), attention.kv_heads);
        file.float(&self.key("attention.layer_norm_rms_epsilon"), spec.norm_eps);
        // A reader divides the hidden size by the heads where nothing is said.
        let is_said = self.folder.config["head_dim"].is_number();
        if is_said || attention.heads * attention.head_dim != spec.hidden_size {
            file.size(&self.key("attention.key_length"), attention.head_dim);
            file.size(&self.key("attention.value_length"), attention.head_dim);
        }
        if spec.family.gguf.reorders_qk {
            file.size(&self.key("vocab_size"), spec.vocab_size);
        }
    }

    fn add_attention(&self, file: &mut File, events: &dyn EventSink) {
        let spec = self.spec;
        let window = spec.layers.iter().find_map(|layer| layer.window);
        let key = self.key("attention.sliding_window");
        match (spec.family.gguf.windows, window) {
            (ReadWindows::Stated, window) => file.size(&key, window.unwrap_or(0)),
            (_, Some(window)) => file.size(&key, window),
            (_, None) => {}
        }
        match (spec.family.gguf.windows, window) {
            (ReadWindows::Named, Some(_)) => self.add_named_windows(file),
            (ReadWindows::AllButEveryFourth { .. }, Some(_)) => self.add_windows(file),
            (ReadWindows::Unknown | ReadWindows::Stated, Some(window)) if window < spec.context_length => {
                let message = format!(
                    "llama.cpp knows no windows in `{}` models: texts longer than {window} tokens differ",
                    self.architecture
                );
                events.emit(Event::Warning { message });
            }
            _ => {}
        }
        if let Some(cap) = spec.attention.softcap {
            file.float(&self.key("attn_logit_softcapping"), cap);
        }
        if let Some(cap) = spec.final_softcap {
            file.float(&self.key("final_logit_softcapping"), cap);
        }
    }

    /// Which layers have a window: all but every so many-th, or a list.
    fn add_named_windows(&self, file: &mut File) {
        let layers = &self.spec.layers;
        let first = layers.iter().position(|layer| layer.window.is_none()).map(|layer| layer + 1);
        let period = first.filter(|period| have_windows_but_every(*period, layers));
        match period {
            Some(period) => file.size(&self.key(WINDOW_PATTERN), period),
            None => self.add_windows(file),
        }
    }

    fn add_windows(&self, file: &mut File) {
        let has_window = self.spec.layers.iter().map(|layer| layer.window.is_some());
        file.flags(&self.key(WINDOW_PATTERN), has_window);
    }

    fn add_rope(&self, file: &mut File) {
        let spec = self.spec;
        file.float(&self.key("rope.freq_base"), spec.rope.theta);
        if let Some(local) = &spec.rope_local {
            file.float(&self.key("rope.freq_base_swa"), local.theta);
        }
        let is_partial = spec.rope.rotary_dim != spec.attention.head_dim;
        if spec.family.gguf.reorders_qk || spec.attention.packed_qkv || is_partial {
            file.size(&self.key("rope.dimension_count"), spec.rope.rotary_dim);
        }
        let states_attention_factor = spec.family.gguf.states_attention_factor;
        rope::add_scaling(&spec.rope, self.architecture, spec.context_length, states_attention_factor, file);
        let has_own_length = matches!(spec.rope.scaling, RopeScaling::LongRope { .. });
        if spec.family.gguf.states_original_context && !has_own_length {
            let original = self.folder.config["original_max_position_embeddings"].as_u64();
            let original = original.and_then(|length| usize::try_from(length).ok());
            let original = original.unwrap_or(spec.context_length);
            file.size(&self.key("rope.scaling.original_context_length"), original);
        }
    }

    /// Factors that families have which state how queries are scaled.
    fn add_factors(&self, file: &mut File) {
        let spec = self.spec;
        if spec.family.gguf.query_scale != QueryScale::Stated {
            return;
        }
        file.float(&self.key("attention.scale"), spec.attention.scale);
        let factors = [
            ("embedding_scale", spec.embedding_multiplier),
            ("residual_scale", spec.residual_multiplier),
            ("logit_scale", spec.logit_multiplier.map(|factor| 1.0 / factor)),
        ];
        for (name, factor) in factors {
            factor.into_iter().for_each(|factor| file.float(&self.key(name), factor));
        }
    }

    /// Whether a reader can do as the model does.
    fn check(&self) -> Result<(), ExportError> {
        const HINT: &str = "a reader would compute otherwise; export ONNX with the pass ModelBuilder";
        let spec = self.spec;
        let unsaid = |what: String| Err(ExportError::Unsaid { what, hint: HINT });
        let facts = &spec.family.gguf;
        if let Some(period) = facts.unrotated_period {
            let usual =
                |(i, layer): (usize, &Layer)| (layer.rope == RopeUse::None) == (i + 1).is_multiple_of(period);
            if !spec.layers.iter().enumerate().all(usual) {
                return unsaid("these layers do not rotate".into());
            }
        }
        let has_windows = spec.layers.iter().any(|layer| layer.window.is_some());
        if let (ReadWindows::AllButEveryFourth { layers }, true) = (facts.windows, has_windows) {
            // Readers do not look at what the file says of the layers.
            let is_known = layers.is_none_or(|layers| layers == spec.num_layers());
            if !is_known || !have_windows_but_every(4, &spec.layers) {
                return unsaid("these layers have a window".into());
            }
        }
        if (spec.mlp.bias || spec.attention.o_bias) && !facts.has_biases {
            return unsaid("the MLP or the output of attention has biases".into());
        }
        if let QueryScale::OfHead { .. } = facts.query_scale
            && (query_factor(spec) - 1.0).abs() > 1e-6
        {
            return unsaid(format!("queries are scaled by {}", spec.attention.scale));
        }
        Ok(())
    }
}

fn have_windows_but_every(period: usize, layers: &[Layer]) -> bool {
    let fits = |(i, layer): (usize, &Layer)| layer.window.is_none() == (i + 1).is_multiple_of(period);
    layers.iter().enumerate().all(fits)
}
