//! `data_configs`: which rows, and how they become token blocks.

use crate::data::{BLOCKS, CHAT, LENGTH, LOAD, READER, READER_UNUSED, SOURCE, STRATEGY, UNUSED};
use crate::option::{BOOL, Block, Kind, Opt, Special, at_least};
use crate::options;
use crate::origin::Era;
use serde_json::json;

pub(crate) static DATA_CONFIG: Block = Block {
    name: "the data config",
    doc: "A dataset and how its rows become token blocks.",
    wrapper: None,
    outer: &[],
    parts: &[&[
        Opt::new("name", Kind::Text, "Name under which passes and metrics refer to it."),
        Opt::new("type", Kind::Text, "Kind of container; `HuggingfaceContainer` is the one that reads data."),
        Opt::new("load_dataset_config", Kind::Block(&LOAD_DATASET), "Which rows."),
        Opt::new("pre_process_data_config", Kind::Block(&PRE_PROCESS), "How rows become token blocks."),
        Opt::new(
            "post_process_data_config",
            Kind::Block(&POST_PROCESS),
            "What evaluators take of the model's outputs.",
        ),
        Opt::new(
            "mix",
            Kind::Special(&MIX),
            "Other data that is trained on together with this: a list of objects with `data_config`, a name or a data config, \
             and `weight`, how often each of its samples is taken (1; a fraction is so many of them).",
        ),
        Opt::new("dataloader_config", Kind::Block(&DATALOADER), "Batches of evaluators."),
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
    parts: &[LOAD, READER, READER_UNUSED],
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
    parts: &[LOAD, READER, READER_UNUSED],
    open: Some("it is an argument of a Python loader"),
};

/// Olive's text-generation pre-processing.
pub(crate) static PRE_PROCESS: Block = Block {
    name: "pre_process_data_config",
    doc: "How the text of a row is made, and how texts become blocks of tokens. The text comes from `chat_template`, \
          else `text_template`, else `text_cols`; conversations are rendered by a chat template.",
    wrapper: Some("params"),
    outer: COMPONENT_TYPE,
    parts: &[SOURCE, LENGTH, STRATEGY, BLOCKS, CHAT, UNUSED],
    open: None,
};

pub(crate) static POST_PROCESS: Block = Block {
    name: "post_process_data_config",
    doc: "What evaluators take of the model's outputs: the logits.",
    wrapper: Some("params"),
    outer: COMPONENT_TYPE,
    parts: &[],
    open: Some("the logits are taken as they are"),
};

pub(crate) static DATALOADER: Block = Block {
    name: "dataloader_config",
    doc: "Batches of evaluators. Training has batch sizes of its own.",
    wrapper: Some("params"),
    outer: COMPONENT_TYPE,
    parts: &[DATALOADER_OPTIONS],
    open: Some("batches are rows in the order of the data"),
};

options! {
    /// Batches of evaluators.
    pub struct DataloaderOptions {
        DATALOADER_OPTIONS {
            /// Rows per batch.
            pub batch_size: usize = at_least(1), default("1");
            /// Shuffle rows, on whose order no value depends.
            - "shuffle" = Kind::Any, quiet();
            /// Drop an incomplete batch.
            - "drop_last" = BOOL, quiet();
            /// Worker processes.
            - "num_workers" = Kind::Any, quiet();
        }
    }
}

/// Data configs with weights.
static MIX: Special = Special::unchecked("a list of objects", || {
    let part = json!({
        "type": "object",
        "properties": {
            "data_config": {"anyOf": [{"type": "string"}, {"$ref": "#/$defs/data_config"}]},
            "weight": {"type": "number", "exclusiveMinimum": 0},
        },
        "required": ["data_config"],
        "additionalProperties": false,
    });
    json!({"type": ["array", "null"], "items": part})
});

/// Datasets by name.
pub(crate) static DATA_CONFIGS: Special = Special::unchecked("a list", || {
    json!({"anyOf": [
        {"type": ["array", "null"], "items": {"$ref": "#/$defs/data_config"}},
        {"type": "object", "additionalProperties": {"$ref": "#/$defs/data_config"}},
    ]})
});
