//! Families in GGUF files: what a file leaves out or stores otherwise than a Hugging Face checkpoint.

use serde_json::{Map, Value};

/// Every so many-th layer attends to everything, if a file with windows does not tell.
const PERIOD: usize = 4;

/// The layers that have a window, or every how many-th has none.
pub const WINDOW_PATTERN: &str = "attention.sliding_window_pattern";

/// What files call the norms of a layer, in the order of [`NormLayout::names`](super::NormLayout::names).
pub const GGUF_NORMS: [&str; 4] = ["attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm"];

/// A family's files. Norms and packed matrices follow from the model's [`Spec`](super::Spec).
pub struct GgufFamily {
    /// Values of `general.architecture`; none if no such files can be read.
    pub names: &'static [GgufName],
    /// A window that files of one size leave to the reader.
    pub unstated_window: Option<UnstatedWindow>,
    /// Queries, keys and values always have biases, and no key of config.json says so.
    pub implied_qkv_bias: bool,
    /// config.json states `sliding_window` even if there is none: left out, it has a default.
    pub states_window: bool,
    /// config.json lists the `layer_types`.
    pub states_layer_types: bool,
    /// The converter reorders the rows of q and k: `[pair, half]` in every head, where Hugging Face has `[half, pair]`.
    pub reorders_qk: bool,
    /// `rope.scaling.attn_factor` is YaRN's attention factor; elsewhere it is a correction for the reader.
    pub states_attention_factor: bool,
    /// What readers of written files know of windows.
    pub windows: ReadWindows,
    /// How readers scale queries.
    pub query_scale: QueryScale,
    /// `rope.scaling.original_context_length` stands in every file.
    pub states_original_context: bool,
    /// Readers rotate all layers but every so many-th.
    pub unrotated_period: Option<usize>,
    /// Readers know biases of the MLP and on the output of attention.
    pub has_biases: bool,
    /// The norm before the MLP is called `post_attention_norm`, not `ffn_norm`.
    pub names_mlp_norm_by_attention: bool,
    /// `tokenizer_class` of a SentencePiece tokenizer.
    pub sentence_piece_class: &'static str,
    /// Whether a special token swallows the space after it.
    pub swallows_space: fn(&str) -> bool,
    pub config: AddToConfig,
}

impl GgufFamily {
    /// `general.architecture` of files that are written; `None`: there are none of the family.
    pub fn written_name(&self) -> Option<&'static str> {
        // Where files of several names are read, the last one is that of the plain model.
        Some(self.names.last()?.name)
    }
}

/// Adds to config.json what only one family has. `Err` says what is wrong with the file.
pub type AddToConfig = fn(&dyn GgufMetadata, &GgufShape, &mut Map<String, Value>) -> Result<(), String>;

/// A value of `general.architecture`, and which of the files with it belong to the family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GgufName {
    pub name: &'static str,
    pub files: GgufFiles,
}

/// What readers know of windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadWindows {
    /// Nothing.
    Unknown,
    /// Nothing, and every file states one; 0 is none.
    Stated,
    /// Which layers have one, without being told.
    Known,
    /// The layers that the file names.
    Named,
    /// All but every fourth have one; in models of so many layers only, if that is said.
    AllButEveryFourth { layers: Option<usize> },
}

/// How readers scale queries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueryScale {
    /// By the root of the size of a head; in models of so many layers, by that of hidden / heads.
    OfHead { but: Option<usize> },
    /// The same, and their norm can hold what differs.
    InNorm { but: Option<usize> },
    /// By what the file states, with the other factors of such models.
    Stated,
}

/// Files told apart by whether attention has a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GgufFiles {
    All,
    WithWindow,
    WithoutWindow,
}

impl GgufFiles {
    pub(crate) fn include(self, windowed: bool) -> bool {
        match self {
            GgufFiles::All => true,
            GgufFiles::WithWindow => windowed,
            GgufFiles::WithoutWindow => !windowed,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnstatedWindow {
    /// Layers of the models that have it.
    pub layers: usize,
    pub window: usize,
}

/// The metadata of a file; keys are without the architecture in front of them.
pub trait GgufMetadata {
    /// `general.architecture`.
    fn architecture(&self) -> &str;

    /// A whole number, or a list of the same one.
    ///
    /// # Errors
    /// Any other value.
    fn size(&self, key: &str) -> Result<Option<usize>, String>;

    /// # Errors
    /// The value is no number.
    fn number(&self, key: &str) -> Result<Option<f64>, String>;

    /// A list of flags, or of numbers in place of them; a value that is no list does not count as one.
    ///
    /// # Errors
    /// A list of anything else.
    fn flags(&self, key: &str) -> Result<Option<Vec<bool>>, String>;

    fn has_tensor(&self, name: &str) -> bool;

    /// # Errors
    /// The file does not have it.
    fn needed_number(&self, key: &str) -> Result<f64, String> {
        self.number(key)?.ok_or_else(|| format!("`{}.{key}` is missing", self.architecture()))
    }

    /// Whether the first layer's queries have a bias.
    fn has_qkv_bias(&self) -> bool {
        ["attn_q", "attn_qkv"].iter().any(|part| self.has_tensor(&format!("blk.0.{part}.bias")))
    }

    /// `layer_types` of config.json: which layers have a window in a model that has `windows`; listed, or all but
    /// every n-th.
    ///
    /// # Errors
    /// The list is of another length.
    fn layer_types(&self, layers: usize, windows: bool) -> Result<Value, String> {
        let local = match self.flags(WINDOW_PATTERN)? {
            Some(listed) if listed.len() == layers => listed,
            Some(listed) => {
                let (arch, found) = (self.architecture(), listed.len());
                return Err(format!("`{arch}.{WINDOW_PATTERN}` has {found} entries for {layers} layers"));
            }
            None => {
                let period = self.size(WINDOW_PATTERN)?.unwrap_or(PERIOD);
                (1..=layers).map(|layer| !layer.is_multiple_of(period)).collect()
            }
        };
        let name = |local: bool| if local && windows { "sliding_attention" } else { "full_attention" };
        Ok(local.into_iter().map(name).collect())
    }
}

/// Sizes of a file's model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GgufShape {
    pub layers: usize,
    pub hidden: usize,
    pub heads: usize,
    pub head_dim: usize,
}

/// Names by which files call one way to cut texts into words before byte-pair merges (`tokenizer.ggml.pre`).
#[derive(Debug, Clone, Copy)]
pub struct PreTokenizerNames {
    /// The first is what files are written with.
    pub names: &'static [&'static str],
    pub cut: WordCut,
    /// A word that is a token of itself is not merged.
    pub ignore_merges: bool,
    /// Texts are brought to Unicode's composed form first.
    pub compose: bool,
    /// Whether texts begin with the begin-of-text token if the file does not say; `None` if they never do, whatever it
    /// says.
    pub add_bos: Option<bool>,
}

impl PreTokenizerNames {
    /// Cuts in one way, and does nothing else.
    pub(crate) const fn plain(names: &'static [&'static str], cut: WordCut) -> PreTokenizerNames {
        PreTokenizerNames { names, cut, ignore_merges: false, compose: false, add_bos: Some(false) }
    }
}

/// Where words end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WordCut {
    /// As GPT-2 cuts.
    Gpt2,
    /// Digits one by one, then as GPT-2.
    DigitsThenGpt2,
    /// Words of letters, numbers of so many digits (a quantifier of regular expressions), punctuation with the line ends
    /// after it.
    Letters { digits: &'static str },
    /// The same with digits one by one; line ends are never part of punctuation.
    LettersApartFromLineEnds,
    /// Words are cut where the case rises, too.
    Cased { contractions: bool, digits: &'static str },
}
