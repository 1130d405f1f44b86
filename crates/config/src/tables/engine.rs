//! `engine`, whose options may also stand at the top level.

use super::system::SYSTEM;
use crate::evaluators::Evaluator;
use crate::option::{BOOL, Block, Kind, Special, TEXT, TEXTS};
use crate::options;
use crate::origin::Era;
use crate::packaging::PACKAGINGS;
use crate::values::Setting;
use serde_json::json;
use std::path::PathBuf;
use std::sync::Arc;

const SEVERITY: Kind = Kind::Int { min: 0, max: 4 };

options! {
    /// Where passes run, and what becomes of their results.
    #[derive(Debug, Clone)]
    pub struct EngineConfig {
        ENGINE {
            /// System that runs the passes: a name in `systems`, or a system.
            pub host: Option<String> = Kind::Special(&SYSTEM) => system_name;
            /// System that the result is made for; its accelerator decides for which execution provider ModelBuilder
            /// builds.
            pub target: Option<String> = Kind::Special(&SYSTEM) => system_name;
            /// What is measured of the result: a name in `evaluators`, or an evaluator.
            pub evaluator: Option<Arc<Evaluator>>;
            /// Which values of options are tried; false, null and `{}` for none.
            - "search_strategy" = Kind::Special(&SEARCH_STRATEGY);
            /// Folder that keeps the result of every pass.
            pub cache_dir: PathBuf, default("\".olive-cache\"");
            /// Empty the cache first.
            pub clean_cache: bool, default("false");
            /// Empty the cache of evaluations first.
            - "clean_evaluation_cache" = BOOL, quiet();
            /// Options of the cache.
            - "cache_config" = Kind::Block(&CACHE_CONFIG);
            /// Keep the cache in an Azure storage account.
            - "enable_shared_cache" = BOOL, ignored_unless("false", "the cache is a folder on this machine");
            /// Folder for the result; null is the working folder, where only files of earlier runs are overwritten. A name that
            /// ends in `.onnx` is that of the graph in its folder.
            pub output_dir: PathBuf => folder;
            /// Name of the graph, if `output_dir` says one.
            derived graph_file: Option<String>;
            /// Prefix of the names in the output folder.
            - "output_name" = TEXT,
                ignored("files keep the names that ONNX Runtime and transformers look for");
            /// Measure the input model as well, if there is an evaluator here.
            pub evaluate_input_model: bool, default("true");
            /// Plot the results of a search: `report.html` always does.
            - "plot_pareto_frontier" = BOOL, quiet();
            /// Pack the result into an archive.
            - "packaging_config" = Kind::Special(&PACKAGINGS);
            /// Write the model only: no footprints, no history, no results of the steps before the last.
            pub no_artifacts: bool, default("false");
            /// 0 debug, 1 info, 2 warning, 3 error, 4 critical.
            pub log_severity_level: u8 = SEVERITY, default("1");
            /// The same for ONNX Runtime.
            - "ort_log_severity_level" = SEVERITY, quiet();
            /// The same for ONNX Runtime's Python side.
            - "ort_py_log_severity_level" = SEVERITY, quiet();
            /// Also write the log to a file in the cache folder.
            - "log_to_file" = BOOL,
                ignored_unless("false", "the log goes to stderr, which can be sent to a file");
            /// Execution providers of accelerators that name none (up to Olive 0.5).
            - "execution_providers" = TEXTS, only(Era::Old);
        }
    }
}

/// The system's name is attached once it is known; there is none if everything runs on this machine.
fn system_name(setting: &Setting) -> Option<Option<String>> {
    Some(setting.object())
}

fn folder(setting: &Setting) -> Option<PathBuf> {
    Some(setting.json.as_str().unwrap_or(".").into())
}

pub(crate) static CACHE_CONFIG: Block = Block {
    name: "cache_config",
    doc: "Options of the cache.",
    wrapper: None,
    outer: &[],
    parts: &[CACHE_CONFIG_OPTIONS],
    open: None,
};

options! {
    /// Options of the cache.
    pub struct CacheConfig {
        CACHE_CONFIG_OPTIONS {
            /// Folder that keeps the result of every pass.
            pub cache_dir: Option<String>;
            /// Empty the cache first.
            pub clean_cache: bool;
            /// Empty the cache of evaluations first.
            - "clean_evaluation_cache" = BOOL, quiet();
            /// Azure storage account.
            - "account_name" = TEXT, ignored("the cache is a folder on this machine");
            /// Azure storage container.
            - "container_name" = TEXT, ignored("the cache is a folder on this machine");
            /// Upload results.
            - "upload_to_cloud" = BOOL, ignored_unless("false", "nothing is uploaded");
            /// Upload results.
            - "update_shared_cache" = BOOL, ignored_unless("false", "nothing is uploaded");
            /// Use a shared cache.
            - "enable_shared_cache" = BOOL, ignored_unless("false", "the cache is a folder on this machine");
        }
    }
}

/// A search, or none.
pub(crate) static SEARCH_STRATEGY: Special = Special::unchecked(
    "true, false or an object, see `search_strategy`",
    || json!({"anyOf": [{"type": ["boolean", "null"]}, {"$ref": "#/$defs/search_strategy"}]}),
);
