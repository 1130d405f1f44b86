//! Every option of every block, as data.

mod absent;
mod data;
mod engine;
mod model;
mod pass;
mod root;
mod system;

pub(crate) use absent::instead_of;
pub(crate) use data::{
    DATA_CONFIG, DATALOADER, DataloaderOptions, LEGACY_PARAMS, LOAD_DATASET, POST_PROCESS, PRE_PROCESS,
};
pub use engine::EngineConfig;
pub(crate) use engine::{CACHE_CONFIG, CacheConfig};
pub(crate) use model::{HF_CONFIG, HF_MODEL, HfConfig, HfModelOptions, LOAD_KWARGS, LoadKwargs, ONNX_MODEL};
pub use pass::{FOREIGN_PASSES, PASS};
pub(crate) use pass::{PASS_TYPES, PassSurroundings};
pub(crate) use root::{ROOT, RootOptions};
pub(crate) use system::{
    ACCELERATOR, AZURE_MACHINES, AZURE_ML, AcceleratorOptions, DOCKER, ISOLATED_ORT, LOCAL_SYSTEM, PROVIDERS,
    PYTHON_ENVIRONMENT,
};

use crate::azureml::{
    AML_DOCKER_CONFIG, AML_ENVIRONMENT_CONFIG, AZUREML_CLIENT, AZUREML_DATASTORE, AZUREML_JOB_OUTPUT,
    AZUREML_MODEL, AZUREML_REGISTRY_MODEL, DEFAULT_AUTH_PARAMS, JOB_RESOURCES,
};
use crate::evaluators::{
    DUMMY_DATA, EVALUATOR, GOAL, LM_EVALUATOR, METRIC, METRIC_CONFIG, MTEB_EVALUATOR, SUB_METRIC,
};
use crate::option::Block;
use crate::packaging::PACKAGING;
use crate::search::{SAMPLER_CONFIG, SEARCH};

/// Blocks that the documentation has before those of the passes.
pub(crate) const BEFORE_PASSES: &[&Block] = &[
    &ROOT,
    &HF_MODEL,
    &HF_CONFIG,
    &LOAD_KWARGS,
    &ONNX_MODEL,
    &LOCAL_SYSTEM,
    &AZURE_ML,
    &DOCKER,
    &PYTHON_ENVIRONMENT,
    &ISOLATED_ORT,
    &ACCELERATOR,
    &DATA_CONFIG,
    &LOAD_DATASET,
    &PRE_PROCESS,
    &POST_PROCESS,
    &DATALOADER,
    &LEGACY_PARAMS,
    &EVALUATOR,
    &METRIC,
    &SUB_METRIC,
    &METRIC_CONFIG,
    &GOAL,
    &DUMMY_DATA,
    &LM_EVALUATOR,
    &MTEB_EVALUATOR,
    &SEARCH,
    &SAMPLER_CONFIG,
    &PACKAGING,
];

/// Blocks that it has after them.
pub(crate) const AFTER_PASSES: &[&Block] = &[
    &AZUREML_CLIENT,
    &DEFAULT_AUTH_PARAMS,
    &AML_DOCKER_CONFIG,
    &AML_ENVIRONMENT_CONFIG,
    &JOB_RESOURCES,
    &AZUREML_DATASTORE,
    &AZUREML_MODEL,
    &AZUREML_REGISTRY_MODEL,
    &AZUREML_JOB_OUTPUT,
    &CACHE_CONFIG,
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;
    use crate::option::{Block, DefaultValue, Fate, Opt};
    use std::collections::HashSet;

    fn blocks() -> impl Iterator<Item = &'static Block> {
        BEFORE_PASSES.iter().chain(AFTER_PASSES).copied()
    }

    #[test]
    fn no_spelling_means_two_options() {
        for block in blocks() {
            let mut seen: HashSet<&str> = block.wrapper.into_iter().collect();
            for (name, _) in block.options().flat_map(Opt::spellings) {
                assert!(seen.insert(name), "{}: {name}", block.name);
            }
        }
    }

    #[test]
    fn defaults_fit_their_own_kinds() {
        for opt in blocks().flat_map(|block| block.options()) {
            for default in [opt.old_default, opt.new_default] {
                let DefaultValue::Json(text) = default else { continue };
                let node = json::parse_value(text).unwrap_or_else(|| panic!("{}: {text}", opt.name));
                let value = opt.kind.read(&node).unwrap_or_else(|wrong| panic!("{}: {wrong:?}", opt.name));
                let same = value == node.to_json() || value.as_f64() == node.to_json().as_f64();
                assert!(same, "{}: {value}", opt.name);
            }
        }
    }

    #[test]
    fn what_is_not_honoured_says_why() {
        for opt in blocks().flat_map(|block| block.options()) {
            let (neutral, why) = match opt.fate {
                Fate::Ignored { neutral, why } => (neutral, why),
                Fate::Refused { neutral, why } => (Some(neutral), why),
                Fate::Honoured | Fate::Quiet => continue,
            };
            assert!(!why.is_empty() && !why.ends_with('.'), "{}: {why}", opt.name);
            assert!(neutral.is_none_or(|text| json::parse_value(text).is_some()), "{}", opt.name);
        }
    }
}
