//! How rows become token blocks.

use super::chat::{ChatOptions, ChatSource};
use crate::option::DefaultValue::{Json, Null, Required};
use crate::option::{Kind, Opt, Special, TEXT, TEXTS, at_least};
use crate::origin::Era;
use crate::values::Setting;
use crate::{choice, options};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::json;

options! {
    /// Olive's text-generation pre-processing.
    #[derive(Debug, Clone, PartialEq, Serialize)]
    pub struct TextGeneration {
        SOURCE {
            /// The grammar, on which some details of the strategies depend.
            derived era: Era;
            /// Python format string with the columns as arguments: `{Question}`.
            pub source as "text_template": TextSource = TEXT => Setting::object;
            /// Columns whose values are joined with one space.
            - "text_cols" = TEXTS, defaults(Null, Json("[\"text\"]"));
            /// true for the tokenizer's own chat template, or a Jinja template.
            - "chat_template" = Kind::Special(&CHAT_TEMPLATE), only(Era::New);
            /// Column of the messages for the chat template.
            - "message_col" = TEXT, default("\"messages\""), only(Era::New);
        }
        STRATEGY {
            /// How texts become blocks: one per row, cut from the joined texts, or whole rows side by side that do not see one
            /// another (`pack`).
            pub strategy: Strategy, was(&["corpus_strategy"]),
                defaults(Json("\"line-by-line\""), Json("\"join\""));
        }
        LENGTH {
            /// Length of a block in tokens.
            pub max_seq_len: usize = at_least(1), was(&["source_max_len"]), defaults(Required, Json("1024"));
        }
        BLOCKS {
            /// Text between joined rows.
            pub joiner: Option<String>, defaults(Null, Json("\"\\n\\n\"")) => some_text;
            /// Step of the sliding window in tokens.
            pub stride: Option<usize> = at_least(1);
            /// Pad short rows to the block length (line-by-line).
            pub pad_to_max_len: bool, default("true");
            /// Where padding goes; null is the tokenizer's side.
            pub padding_side: Option<PaddingSide>, only(Era::New), defaults(Null, Json("\"right\""));
            /// Drop rows shorter than a block (line-by-line).
            pub drop_short_sequences: bool, default("false");
            /// Put the begin and end tokens around every text.
            pub add_special_tokens: bool, default("true");
            /// Give the model an attention mask.
            pub use_attention_mask: bool, default("true");
            /// At most this many blocks.
            pub max_samples: Option<usize> = at_least(1);
            /// Rows that are tokenised together.
            pub processing_batch_size: usize = at_least(1), default("1024");
            /// Seed of the random strategies.
            pub random_seed: Option<u64> = at_least(0);
            /// How often a random draw is repeated.
            pub random_retries: usize = at_least(0), default("10");
            /// Which tokens count in the loss: all; the completion, which begins after `response_template` or is a column; in
            /// conversations all answers of the assistant, or the last one. Null is the completion of such a column, all
            /// answers of other conversations, and all of any other text.
            #[serde(serialize_with = "or_all")]
            pub loss_on: Option<LossOn>;
            /// Text after whose last occurrence the completion begins.
            pub response_template: Option<String> => some_text;
            /// Rows that are conversations.
            #[serde(flatten)]
            nested chat: ChatOptions;
        }
    }
}

/// Nothing said is, as far as the options tell, all.
fn or_all<S: Serializer>(loss_on: &Option<LossOn>, serializer: S) -> Result<S::Ok, S::Error> {
    loss_on.unwrap_or(LossOn::All).serialize(serializer)
}

/// An empty text is none.
fn some_text(setting: &Setting) -> Option<Option<String>> {
    Some(setting.json.as_str().filter(|text| !text.is_empty()).map(str::to_owned))
}

const PYTHON: &str = "no Python is run";
const PAIRS: &str = "the dataset type is corpus";

/// What Olive's pre-processing has, and this one does not need or refuses.
pub(crate) const UNUSED: &[Opt] = &[
    Opt::new("dataset_type", Kind::Choice(&["corpus", "pair"]), "Kind of dataset, up to Olive 0.6.")
        .only(Era::Old)
        .refused_unless("\"corpus\"", "write the pair as one text with `text_template`"),
    Opt::new("text_formatting_func", Kind::Any, "Python function that makes the text.")
        .refused_unless("null", "no Python is run; write the text with `text_template`"),
    Opt::new("model_name", Kind::Text, "Model whose tokenizer is used.").quiet(),
    Opt::new("task", Kind::Text, "Task of the model.").quiet(),
    Opt::new("trust_remote_code", Kind::Bool, "Accepted; no code is ever run.").quiet(),
    Opt::new("user_script", Kind::Text, "Python file.").ignored(PYTHON),
    Opt::new("script_dir", Kind::Text, "Folder of Python files.").ignored(PYTHON),
    Opt::new("target_max_len", Kind::Any, "For datasets of pairs.").ignored(PAIRS),
    Opt::new("pair_format", Kind::Any, "For datasets of pairs.").ignored(PAIRS),
    Opt::new("input_template", Kind::Any, "For datasets of pairs.").ignored(PAIRS),
    Opt::new("input_col", Kind::Any, "For datasets of pairs.").ignored(PAIRS),
    Opt::new("output_template", Kind::Any, "For datasets of pairs.").ignored(PAIRS),
    Opt::new("output_col", Kind::Any, "For datasets of pairs.").ignored(PAIRS),
    Opt::new("ignore_source_in_labels", Kind::Any, "For datasets of pairs.").ignored(PAIRS),
    Opt::new("batch_size", at_least(1), "For evaluation.").quiet(),
    Opt::new("tokenizer", Kind::Any, "Tokenizer of its own.").ignored("the model's tokenizer is used"),
    Opt::new("kv_cache", Kind::Any, "For evaluation.").quiet(),
    Opt::new("input_cols", Kind::Any, "Columns of other tasks.").ignored("text generation has `text_cols`"),
    Opt::new("label_cols", Kind::Any, "Labels of other tasks.")
        .ignored("text generation has no labels of its own"),
];

/// True for the tokenizer's own, or a template.
static CHAT_TEMPLATE: Special =
    Special::unchecked("true or a text", || json!({"type": ["boolean", "string", "null"]}));

/// Which tokens of a row count in the loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LossOn {
    All,
    /// What follows the last `response_template`, or the prompt of rows with a prompt and a completion.
    Completion,
    /// Every answer of the assistant.
    Assistant,
    /// The last message, which is the assistant's.
    Last,
}

choice!(LossOn: "all", "completion", "assistant", "last");

impl LossOn {
    /// As configurations have it.
    pub fn name(self) -> &'static str {
        match self {
            LossOn::All => "all",
            LossOn::Completion => "completion",
            LossOn::Assistant => "assistant",
            LossOn::Last => "last",
        }
    }
}

/// How the text of a row is made. The first three are Olive's, in its order of precedence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TextSource {
    /// `source` is a Jinja template; `None` is the tokenizer's own.
    ChatTemplate { source: Option<String>, message_col: String },
    /// A Python format string with the columns as arguments.
    Template(String),
    /// Values joined with one space.
    Columns(Vec<String>),
    /// Nothing is said: the column `text`, and of rows without it their conversations.
    #[serde(rename = "columns")]
    Undescribed(TextColumn),
    /// Conversations, checked and masked.
    Chat(ChatSource),
}

/// The column that Olive takes where nothing is said. In keys it is like the list of this one column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TextColumn;

impl TextColumn {
    pub const NAME: &str = "text";
}

impl Serialize for TextColumn {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        [TextColumn::NAME].serialize(serializer)
    }
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

choice!(
    Strategy: "line-by-line",
    "line-by-line-random",
    "join",
    "join-random",
    "join-sliding-window",
    "pack",
);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PaddingSide {
    Left,
    Right,
}

choice!(PaddingSide: "left", "right");
