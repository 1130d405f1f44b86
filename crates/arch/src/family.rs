//! What a model family is beside the [`Spec`](super::Spec) of its models: defaults that configurations leave out, and the
//! family in the formats of others. The families themselves are in `families`.

use super::gguf_family::GgufFamily;

/// A family of models, as one class of transformers implements it.
pub struct Family {
    /// The class: first entry of `architectures` in config.json.
    pub architecture: &'static str,
    /// `model_type` in config.json.
    pub model_type: &'static str,
    /// Base of the rotation in a configuration that states none.
    pub rope_theta: f64,
    /// Rotated share of a head in a configuration that states none.
    pub partial_rotary_factor: f64,
    /// Whether the head is the embedding matrix in a configuration that does not say.
    pub tied: bool,
    /// Which layers have the window, in a configuration without `layer_types`.
    pub windows: Windows,
    /// Special tokens of a configuration that states none.
    pub tokens: SpecialTokenIds,
    /// `model.type` in genai_config.json. `decoder`: onnxruntime-genai has no type for the family, and needs none.
    pub genai_type: &'static str,
    /// PEFT's `target_modules` for a configuration that states none.
    pub lora_targets: &'static [&'static str],
    pub gguf: GgufFamily,
}

impl std::fmt::Debug for Family {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.architecture)
    }
}

impl PartialEq for Family {
    fn eq(&self, other: &Family) -> bool {
        self.architecture == other.architecture
    }
}

/// Ids of the tokens that begin, end and fill up texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpecialTokenIds {
    pub bos: Option<u32>,
    pub eos: Option<u32>,
    pub pad: Option<u32>,
}

/// Which layers have the window that a configuration states, if it does not list them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Windows {
    None,
    All,
    /// The layers from `max_window_layers` on, and only if `use_sliding_window` says so.
    OptIn,
    /// Layers 0, 2, 4, …
    EveryOther,
    /// All but every n-th; `sliding_window_pattern` may state another n.
    AllBut {
        every: usize,
    },
}
