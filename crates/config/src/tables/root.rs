//! The top level, and `engine`, whose options may also stand at the top level.

use super::azure::AZUREML_CLIENT;
use super::data::DATA_CONFIGS;
use super::engine::ENGINE;
use super::model::INPUT_MODEL;
use super::system::SYSTEMS;
use crate::option::{Block, Kind, Opt, Special, at_least, texts_schema};
use serde_json::json;

pub(crate) static ROOT: Block = Block {
    name: "the configuration",
    doc: "The whole file. The options of `engine` may stand in an object `engine` or at the top level.",
    wrapper: Some("engine"),
    outer: &[
        Opt::new("$schema", Kind::Text, "Where editors find the JSON Schema.").quiet(),
        Opt::new("metadata", Kind::Any, "Free for your own use, as is every key that begins with `x-`.")
            .quiet(),
        Opt::new("workflow_id", Kind::Text, "Name of this workflow.").default("\"default_workflow\""),
        Opt::new("azureml_client", Kind::Block(&AZUREML_CLIENT), "The AzureML workspace.").quiet(),
        Opt::new("input_model", Kind::Special(&INPUT_MODEL), "The model to start from.").required(),
        Opt::new("systems", Kind::Special(&SYSTEMS), "Named systems for `host` and `target`."),
        Opt::new("data_root", Kind::Text, "Prefix of all relative `data_dir` and `data_files`."),
        Opt::new("data_configs", Kind::Special(&DATA_CONFIGS), "Named datasets for the passes that train."),
        Opt::new("evaluators", Kind::Special(&EVALUATORS), "Named evaluators.").quiet(),
        Opt::new("passes", Kind::Special(&PASSES), "The steps, by name, in the order in which they run.")
            .required(),
        Opt::new("pass_flows", Kind::Special(&PASS_FLOWS), "Lists of pass names, each a flow of its own.")
            .only(crate::origin::Era::Old),
        Opt::new("auto_optimizer_config", Kind::Any, "Options of Olive's automatic choice of passes.")
            .ignored("passes are never chosen automatically"),
        Opt::new("builds", Kind::Any, "Several pipelines over the same passes.")
            .refused_unless("{}", "split the file into one configuration per build"),
        Opt::new("max_concurrent_builds", at_least(1), "How many builds run at once.")
            .ignored("builds are not supported"),
        Opt::new("workflow_host", Kind::Any, "System that runs the whole workflow.")
            .ignored("the workflow runs on this machine"),
    ],
    parts: &[ENGINE],
    open: None,
};

/// Passes by name.
pub(crate) static PASSES: Special = Special::unchecked("an object by name", || {
    let pass = json!({"$ref": "#/$defs/pass"});
    json!({
        "type": "object",
        "minProperties": 1,
        "additionalProperties": {"anyOf": [pass, {"type": "array", "minItems": 1, "items": pass}]},
    })
});

/// Orders of passes.
pub(crate) static PASS_FLOWS: Special =
    Special::unchecked("lists of names", || json!({"type": ["array", "null"], "items": texts_schema()}));

/// Evaluators by name.
pub(crate) static EVALUATORS: Special =
    Special::unchecked("an object by name", || json!({"type": ["object", "null"]}));
