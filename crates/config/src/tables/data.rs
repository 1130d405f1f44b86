//! `data_configs`: which rows, and how they become token blocks.

use crate::option::{Block, DefaultValue, Kind, Opt, Special, at_least, texts_schema};
use crate::origin::Era;
use serde_json::json;

const PYTHON: &str = "no Python is run";

pub(crate) static DATA_CONFIG: Block = Block {
    name: "the data config",
    doc: "A dataset and how its rows become token blocks.",
    wrapper: None,
    outer: &[],
    parts: &[&[
        Opt::new("name", Kind::Text, "Name under which passes refer to it."),
        Opt::new("type", Kind::Text, "Kind of container; `HuggingfaceContainer` is the one that reads data."),
        Opt::new("load_dataset_config", Kind::Block(&LOAD_DATASET), "Which rows."),
        Opt::new("pre_process_data_config", Kind::Block(&PRE_PROCESS), "How rows become token blocks."),
        Opt::new("post_process_data_config", Kind::Block(&POST_PROCESS), "For evaluation.").quiet(),
        Opt::new("dataloader_config", Kind::Block(&DATALOADER), "For evaluation.").quiet(),
        Opt::new(
            "params_config",
            Kind::Block(&LEGACY_PARAMS),
            "Options of all components, up to Olive 0.6.1.",
        )
        .only(Era::Old),
        Opt::new("components", Kind::Any, "Types and options of the components, up to Olive 0.6.1.")
            .only(Era::Old),
        Opt::new("default_components", Kind::Any, "Default components, up to Olive 0.6.1.").quiet(),
        Opt::new("default_components_type", Kind::Any, "Default components, up to Olive 0.6.1.").quiet(),
        Opt::new("user_script", Kind::Text, "Python file of the components.").quiet(),
        Opt::new("script_dir", Kind::Text, "Folder of Python files.").quiet(),
    ]],
    open: None,
};

/// What `params_config` has besides the options of `load_dataset_config`.
pub(crate) static LEGACY_PARAMS: Block = Block {
    name: "params_config",
    doc: "Up to Olive 0.6.1: the options of `load_dataset_config`, and the other components' in `component_kwargs`.",
    wrapper: None,
    outer: &[Opt::new(
        "component_kwargs",
        Kind::Any,
        "Options by component: `load_dataset`, `pre_process_data`, …",
    )],
    parts: &[LOAD],
    open: Some("it is an argument of a Python loader"),
};

const COMPONENT_TYPE: &[Opt] = &[
    Opt::new("type", Kind::Text, "Name of the component; null is Olive's own for the task."),
    Opt::new("name", Kind::Text, "Name of the component, up to Olive 0.6.1.").quiet(),
];

pub(crate) static LOAD_DATASET: Block = Block {
    name: "load_dataset_config",
    doc: "Which rows.",
    wrapper: Some("params"),
    outer: COMPONENT_TYPE,
    parts: &[LOAD],
    open: Some("it is an argument of a Python loader"),
};

const LOAD: &[Opt] = &[
    Opt::new(
        "data_name",
        Kind::Text,
        "`json` (also JSON lines), `csv`, `parquet` or `text`, else the id of a dataset on the Hub or a folder.",
    ),
    Opt::new("subset", Kind::Text, "Configuration of a dataset on the Hub."),
    Opt::new("split", Kind::Text, "Which rows, with slices: `train`, `train[:90%]`, `train[10:20]+test`.")
        .default("\"validation\""),
    Opt::new("data_dir", Kind::Text, "Folder of the files."),
    Opt::new(
        "data_files",
        Kind::Special(&DATA_FILES),
        "A file, a glob, a list of them, or an object of them by split.",
    ),
    Opt::new("col_filters", Kind::Any, "Keep the rows where these columns have these values.").only(Era::New),
    Opt::new("field", Kind::Text, "Key under which the rows lie in a JSON file."),
    Opt::new("trust_remote_code", Kind::Bool, "Accepted; no code of a dataset is ever run.").quiet(),
    Opt::new("token", Kind::Any, "Token for the Hub.")
        .ignored("the token comes from the Hub's login or `HF_TOKEN`"),
    Opt::new("streaming", Kind::Bool, "Read rows one by one.").quiet(),
    Opt::new("batch_size", at_least(1), "For evaluation.").quiet(),
    Opt::new("label_cols", Kind::Any, "For evaluation.").quiet(),
];

/// Olive's text-generation pre-processing.
pub(crate) static PRE_PROCESS: Block = Block {
    name: "pre_process_data_config",
    doc: "How the text of a row is made, and how texts become blocks of tokens. The text comes from `chat_template`, \
          else `text_template`, else `text_cols`.",
    wrapper: Some("params"),
    outer: COMPONENT_TYPE,
    parts: &[&[
        Opt::new(
            "text_template",
            Kind::Text,
            "Python format string with the columns as arguments: `{Question}`.",
        ),
        Opt::new("text_cols", Kind::Texts, "Columns whose values are joined with one space.")
            .defaults(DefaultValue::Null, DefaultValue::Json("[\"text\"]")),
        Opt::new(
            "chat_template",
            Kind::Special(&CHAT_TEMPLATE),
            "true for the tokenizer's own chat template, or a Jinja template.",
        )
        .only(Era::New),
        Opt::new("message_col", Kind::Text, "Column of the messages for the chat template.")
            .default("\"messages\"")
            .only(Era::New),
        Opt::new("max_seq_len", at_least(1), "Length of a block in tokens.")
            .was(&["source_max_len"])
            .defaults(DefaultValue::Required, DefaultValue::Json("1024")),
        Opt::new(
            "strategy",
            Kind::Choice(&[
                "line-by-line",
                "line-by-line-random",
                "join",
                "join-random",
                "join-sliding-window",
                "pack",
            ]),
            "How texts become blocks: one per row, cut from the joined texts, or whole rows side by side that do not \
             see one another (`pack`).",
        )
        .was(&["corpus_strategy"])
        .defaults(DefaultValue::Json("\"line-by-line\""), DefaultValue::Json("\"join\"")),
        Opt::new("joiner", Kind::Text, "Text between joined rows.")
            .defaults(DefaultValue::Null, DefaultValue::Json("\"\\n\\n\"")),
        Opt::new("stride", at_least(1), "Step of the sliding window in tokens."),
        Opt::new("pad_to_max_len", Kind::Bool, "Pad short rows to the block length (line-by-line).")
            .default("true"),
        Opt::new(
            "padding_side",
            Kind::Choice(&["left", "right"]),
            "Where padding goes; null is the tokenizer's side.",
        )
        .only(Era::New)
        .defaults(DefaultValue::Null, DefaultValue::Json("\"right\"")),
        Opt::new("drop_short_sequences", Kind::Bool, "Drop rows shorter than a block (line-by-line).")
            .default("false"),
        Opt::new("add_special_tokens", Kind::Bool, "Put the begin and end tokens around every text.")
            .default("true"),
        Opt::new("use_attention_mask", Kind::Bool, "Give the model an attention mask.").default("true"),
        Opt::new("max_samples", at_least(1), "At most this many blocks."),
        Opt::new("processing_batch_size", at_least(1), "Rows that are tokenised together.").default("1024"),
        Opt::new("random_seed", at_least(0), "Seed of the random strategies."),
        Opt::new("random_retries", at_least(0), "How often a random draw is repeated.").default("10"),
        Opt::new(
            "loss_on",
            Kind::Choice(&["all", "completion"]),
            "Which tokens count in the loss: all, or those after `response_template`, or in a chat the assistant's.",
        )
        .default("\"all\""),
        Opt::new("response_template", Kind::Text, "Text after whose last occurrence the completion begins."),
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
        Opt::new("target_max_len", Kind::Any, "For datasets of pairs.").ignored("the dataset type is corpus"),
        Opt::new("pair_format", Kind::Any, "For datasets of pairs.").ignored("the dataset type is corpus"),
        Opt::new("input_template", Kind::Any, "For datasets of pairs.").ignored("the dataset type is corpus"),
        Opt::new("input_col", Kind::Any, "For datasets of pairs.").ignored("the dataset type is corpus"),
        Opt::new("output_template", Kind::Any, "For datasets of pairs.")
            .ignored("the dataset type is corpus"),
        Opt::new("output_col", Kind::Any, "For datasets of pairs.").ignored("the dataset type is corpus"),
        Opt::new("ignore_source_in_labels", Kind::Any, "For datasets of pairs.")
            .ignored("the dataset type is corpus"),
        Opt::new("batch_size", at_least(1), "For evaluation.").quiet(),
        Opt::new("tokenizer", Kind::Any, "Tokenizer of its own.").ignored("the model's tokenizer is used"),
        Opt::new("kv_cache", Kind::Any, "For evaluation.").quiet(),
        Opt::new("input_cols", Kind::Any, "Columns of other tasks.")
            .ignored("text generation has `text_cols`"),
        Opt::new("label_cols", Kind::Any, "Labels of other tasks.")
            .ignored("text generation has no labels of its own"),
    ]],
    open: None,
};

pub(crate) static POST_PROCESS: Block = Block {
    name: "post_process_data_config",
    doc: "Post-processing for evaluation. Not used: evaluators are not run.",
    wrapper: Some("params"),
    outer: COMPONENT_TYPE,
    parts: &[],
    open: Some("evaluators are not run"),
};

pub(crate) static DATALOADER: Block = Block {
    name: "dataloader_config",
    doc: "Batches for evaluation. Not used: training has its own batch sizes.",
    wrapper: Some("params"),
    outer: COMPONENT_TYPE,
    parts: &[&[
        Opt::new("batch_size", Kind::Any, "Rows per batch.").quiet(),
        Opt::new("shuffle", Kind::Any, "Shuffle rows.").quiet(),
        Opt::new("drop_last", Kind::Any, "Drop an incomplete batch.").quiet(),
        Opt::new("num_workers", Kind::Any, "Worker processes.").quiet(),
    ]],
    open: Some("training has its own batch sizes"),
};

/// Datasets by name.
pub(crate) static DATA_CONFIGS: Special = Special::unchecked("a list", || {
    json!({"anyOf": [
        {"type": ["array", "null"], "items": {"$ref": "#/$defs/data_config"}},
        {"type": "object", "additionalProperties": {"$ref": "#/$defs/data_config"}},
    ]})
});

/// A name in `data_configs`, or a data config.
pub static DATA_REFERENCE: Special = Special::unchecked(
    "a name or a data config",
    || json!({"anyOf": [{"type": ["string", "null"]}, {"$ref": "#/$defs/data_config"}]}),
);

/// Files, or where else the rows lie.
pub(crate) static DATA_FILES: Special = Special::unchecked("text, list or object", || {
    json!({"anyOf": [
        {"type": ["string", "null"]},
        texts_schema(),
        {"type": "object", "required": ["type", "config"]},
        {"type": "object", "additionalProperties": {"anyOf": [{"type": "string"}, texts_schema()]}},
    ]})
});

/// True for the tokenizer's own, or a template.
pub(crate) static CHAT_TEMPLATE: Special =
    Special::unchecked("true or a text", || json!({"type": ["boolean", "string", "null"]}));
