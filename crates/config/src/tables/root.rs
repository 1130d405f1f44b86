//! The top level, and `engine`, whose options may also stand at the top level.

use super::data::DATA_CONFIGS;
use super::model::INPUT_MODEL;
use super::system::{SYSTEM, SYSTEMS};
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

const ENGINE: &[Opt] = &[
    Opt::new(
        "host",
        Kind::Special(&SYSTEM),
        "System that runs the passes: a name in `systems`, or a system.",
    ),
    Opt::new(
        "target",
        Kind::Special(&SYSTEM),
        "System that the result is made for; its accelerator decides for which \
             execution provider ModelBuilder builds.",
    ),
    Opt::new("evaluator", Kind::Any, "Evaluator of the final model.").ignored("evaluators are not run"),
    Opt::new("search_strategy", Kind::Special(&SEARCH_STRATEGY), "Search over pass options; false for none."),
    Opt::new("cache_dir", Kind::Text, "Folder that keeps the result of every pass.")
        .default("\".olive-cache\""),
    Opt::new("clean_cache", Kind::Bool, "Empty the cache first.").default("false"),
    Opt::new("clean_evaluation_cache", Kind::Bool, "Empty the cache of evaluations first.").quiet(),
    Opt::new("cache_config", Kind::Block(&CACHE_CONFIG), "Options of the cache."),
    Opt::new("enable_shared_cache", Kind::Bool, "Keep the cache in an Azure storage account.")
        .ignored_unless("false", "the cache is a folder on this machine"),
    Opt::new(
        "output_dir",
        Kind::Text,
        "Folder for the result; null is the working folder, where only files of earlier runs are overwritten.",
    ),
    Opt::new("output_name", Kind::Text, "Prefix of the names in the output folder.")
        .ignored("files keep the names that ONNX Runtime and transformers look for"),
    Opt::new("evaluate_input_model", Kind::Bool, "Evaluate the input model too.").quiet(),
    Opt::new("plot_pareto_frontier", Kind::Bool, "Plot the results of a search.")
        .ignored_unless("false", "nothing is searched"),
    Opt::new("packaging_config", Kind::Any, "Pack the result into an archive.")
        .ignored("the result is a folder, ready to be copied"),
    Opt::new("no_artifacts", Kind::Bool, "Write the model only, no footprints and no history.")
        .default("false"),
    Opt::new(
        "log_severity_level",
        Kind::Int { min: 0, max: 4 },
        "0 debug, 1 info, 2 warning, 3 error, 4 critical.",
    )
    .default("1"),
    Opt::new("ort_log_severity_level", Kind::Int { min: 0, max: 4 }, "The same for ONNX Runtime.").quiet(),
    Opt::new(
        "ort_py_log_severity_level",
        Kind::Int { min: 0, max: 4 },
        "The same for ONNX Runtime's Python side.",
    )
    .quiet(),
    Opt::new("log_to_file", Kind::Bool, "Also write the log to a file in the cache folder.")
        .ignored_unless("false", "the log goes to stderr, which can be sent to a file"),
    Opt::new(
        "execution_providers",
        Kind::Texts,
        "Execution providers of accelerators that name none (up to Olive 0.5).",
    )
    .only(crate::origin::Era::Old),
];

pub(crate) static CACHE_CONFIG: Block = Block {
    name: "cache_config",
    doc: "Options of the cache.",
    wrapper: None,
    outer: &[],
    parts: &[&[
        Opt::new("cache_dir", Kind::Text, "Folder that keeps the result of every pass."),
        Opt::new("clean_cache", Kind::Bool, "Empty the cache first."),
        Opt::new("clean_evaluation_cache", Kind::Bool, "Empty the cache of evaluations first.").quiet(),
        Opt::new("account_name", Kind::Text, "Azure storage account.")
            .ignored("the cache is a folder on this machine"),
        Opt::new("container_name", Kind::Text, "Azure storage container.")
            .ignored("the cache is a folder on this machine"),
        Opt::new("upload_to_cloud", Kind::Bool, "Upload results.")
            .ignored_unless("false", "nothing is uploaded"),
        Opt::new("update_shared_cache", Kind::Bool, "Upload results.")
            .ignored_unless("false", "nothing is uploaded"),
        Opt::new("enable_shared_cache", Kind::Bool, "Use a shared cache.")
            .ignored_unless("false", "the cache is a folder on this machine"),
    ]],
    open: None,
};

pub(crate) static AZUREML_CLIENT: Block = Block {
    name: "azureml_client",
    doc: "The AzureML workspace. Passes do not run there yet, so it is only checked for unknown keys.",
    wrapper: None,
    outer: &[],
    parts: &[&[
        Opt::new("subscription_id", Kind::Text, "Azure subscription.").quiet(),
        Opt::new("resource_group", Kind::Text, "Azure resource group.").quiet(),
        Opt::new("workspace_name", Kind::Text, "AzureML workspace.").quiet(),
        Opt::new("aml_config_path", Kind::Text, "JSON file with those three.").quiet(),
        Opt::new("read_timeout", at_least(0), "Seconds to wait for an answer.").quiet(),
        Opt::new("max_operation_retries", at_least(0), "How often an operation is tried again.").quiet(),
        Opt::new("operation_retry_interval", at_least(0), "Seconds before the first retry.").quiet(),
        Opt::new("default_auth_params", Kind::Any, "Arguments of Azure's default credential.").quiet(),
        Opt::new("keyvault_name", Kind::Text, "Key vault that holds the secret `hf-token`.").quiet(),
    ]],
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

/// A search, or none.
pub(crate) static SEARCH_STRATEGY: Special =
    Special::unchecked("false or an object", || json!({"type": ["boolean", "object", "null"]}));
