//! Datasets, and how their rows become token blocks.

use crate::option::Kind;
use crate::origin::Era;
use crate::statement::OptionValue;
use crate::tables::DATA_REFERENCE;
use crate::values::Setting;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// A dataset and how its rows become token blocks.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DataConfig {
    #[serde(skip)]
    pub name: String,
    pub load: LoadDataset,
    pub pre_process: TextGeneration,
}

// An option holds the name; the reader of the pass attaches the data config.
impl OptionValue for DataConfig {
    const KIND: Kind = Kind::Special(&DATA_REFERENCE);

    fn read(setting: &Setting) -> Option<DataConfig> {
        setting.object()
    }
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LoadDataset {
    /// `json`, `csv`, `parquet`, `text`, or a hub dataset id or local folder.
    pub data_name: String,
    pub subset: Option<String>,
    /// With slices: `train[:90%]`.
    pub split: String,
    #[serde(skip)]
    pub data_dir: Option<PathBuf>,
    #[serde(skip)]
    pub data_files: DataFiles,
    /// Rows are kept where these columns have these values.
    pub col_filters: BTreeMap<String, serde_json::Value>,
    /// `field` of the json loader: the key under which the rows lie.
    pub field: Option<String>,
}

/// Which files hold the rows. The content, not these paths, enters cache keys.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum DataFiles {
    /// None given: everything in `data_dir`.
    #[default]
    Unset,
    /// Paths or globs, all of split `train`.
    Local(Vec<String>),
    /// Paths or globs per split.
    PerSplit(BTreeMap<String, Vec<String>>),
    /// A place this program cannot reach yet, for example a datastore of AzureML.
    Remote { kind: String, description: String },
}

/// Olive's text-generation pre-processing.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TextGeneration {
    pub era: Era,
    pub source: TextSource,
    pub strategy: Strategy,
    /// Block length in tokens.
    pub max_seq_len: usize,
    pub joiner: Option<String>,
    pub stride: Option<usize>,
    pub pad_to_max_len: bool,
    /// `None`: the tokenizer's own.
    pub padding_side: Option<PaddingSide>,
    pub drop_short_sequences: bool,
    pub add_special_tokens: bool,
    pub use_attention_mask: bool,
    /// Counted in produced samples.
    pub max_samples: Option<usize>,
    /// Rows tokenised together; sliding windows do not span such batches.
    pub processing_batch_size: usize,
    /// Random strategies. `None`: seed 0, so that a configuration always gives the same blocks.
    pub random_seed: Option<u64>,
    pub random_retries: usize,
    pub loss_on: LossOn,
    /// Text after which the completion of a row begins.
    pub response_template: Option<String>,
}

/// Which tokens of a row count in the loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum LossOn {
    #[default]
    All,
    /// What follows the last `response_template`, or what the assistant says in a chat.
    Completion,
}

/// How the text of a row is made, in Olive's order of precedence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TextSource {
    /// `source` is a Jinja template; `None` is the tokenizer's own.
    ChatTemplate { source: Option<String>, message_col: String },
    /// A Python format string with the columns as arguments.
    Template(String),
    /// Values joined with one space.
    Columns(Vec<String>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    LineByLine,
    LineByLineRandom,
    Join,
    JoinRandom,
    JoinSlidingWindow,
    /// Whole rows side by side in blocks; they do not see one another.
    Pack,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PaddingSide {
    Left,
    Right,
}
