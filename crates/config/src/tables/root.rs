//! The top level, and `engine`, whose options may also stand at the top level.

use super::data::DATA_CONFIGS;
use super::engine::ENGINE;
use super::model::INPUT_MODEL;
use super::system::SYSTEMS;
use crate::azureml::AZUREML_CLIENT;
use crate::option::{Block, Kind, Special, TEXT, at_least, texts_schema};
use crate::options;
use crate::origin::Era;
use serde_json::json;

pub(crate) static ROOT: Block = Block {
    name: "the configuration",
    doc: "The whole file. The options of `engine` may stand in an object `engine` or at the top level.",
    wrapper: Some("engine"),
    outer: ROOT_OPTIONS,
    parts: &[ENGINE],
    open: None,
};

options! {
    /// What the top level says itself.
    pub struct RootOptions {
        ROOT_OPTIONS {
            /// Where editors find the JSON Schema.
            - "$schema" = TEXT, quiet();
            /// Free for your own use, as is every key that begins with `x-`.
            - "metadata" = Kind::Any, quiet();
            /// Name of this workflow.
            pub workflow_id: String, default("\"default_workflow\"");
            /// The AzureML workspace.
            - "azureml_client" = Kind::Block(&AZUREML_CLIENT);
            /// The model to start from.
            - "input_model" = Kind::Special(&INPUT_MODEL), required();
            /// Named systems for `host` and `target`.
            - "systems" = Kind::Special(&SYSTEMS);
            /// Prefix of all relative `data_dir` and `data_files`.
            pub data_root: Option<String>;
            /// Named datasets for passes and metrics.
            - "data_configs" = Kind::Special(&DATA_CONFIGS);
            /// Named evaluators.
            - "evaluators" = Kind::Special(&EVALUATORS);
            /// The steps, by name, in the order in which they run.
            - "passes" = Kind::Special(&PASSES), required();
            /// Lists of pass names, each a flow of its own.
            - "pass_flows" = Kind::Special(&PASS_FLOWS), only(Era::Old);
            /// Options of Olive's automatic choice of passes.
            - "auto_optimizer_config" = Kind::Any, ignored("passes are never chosen automatically");
            /// Several pipelines over the same passes.
            - "builds" = Kind::Any, refused_unless("{}", "split the file into one configuration per build");
            /// How many builds run at once.
            - "max_concurrent_builds" = at_least(1), ignored("builds are not supported");
            /// System that runs the whole workflow.
            - "workflow_host" = Kind::Any, ignored("passes run where `host` says");
        }
    }
}

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
pub(crate) static EVALUATORS: Special = Special::unchecked(
    "an object by name",
    || json!({"type": ["object", "null"], "additionalProperties": {"$ref": "#/$defs/any_evaluator"}}),
);
