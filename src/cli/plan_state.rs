//! What a plan would find in the cache, for `validate` and `run --dry-run`.

use super::{Globals, environment};
use crate::Result;
use crate::config::RunConfig;
use crate::engine::{self, ContentHashes, Plan, Step, Store};
use crate::model::{ModelHandle, SourceOptions};
use crate::train::memory::{available, gigabytes};

/// For every step of every flow: cached, to run, or why that cannot be said.
///
/// Nothing is fetched: a model that is not on this machine is one of the reasons.
///
/// # Errors
/// A `--device` that cannot be understood.
pub(crate) fn states(config: &RunConfig, plan: &Plan, globals: &Globals) -> Result<Vec<Vec<String>>> {
    let source = SourceOptions { offline: true, read_only: true, ..environment::source_options(globals) };
    let device = environment::device(globals)?;
    let store = Store::new(&config.engine.cache_dir);
    let contents = ContentHashes::open(&config.engine.cache_dir);
    let input = engine::input::resolve(&config.input_model, &source, &());
    let states = plan.flows.iter().map(|flow| {
        let keys = match &input {
            Ok(model) => flow.keys(model, device, &contents),
            Err(_) => {
                return vec![
                    "unknown: the input model is not on this machine yet, or not yet converted"
                        .to_owned();
                    flow.steps.len()
                ];
            }
        };
        match keys {
            Err(error) => vec![format!("unknown: {error}"); flow.steps.len()],
            Ok(keys) => flow
                .steps
                .iter()
                .zip(&keys)
                .enumerate()
                .map(|(number, (step, key))| match store.look_up(&key.slot(step)) {
                    Some(artefact) => format!("cached, {}", artefact.output.display()),
                    None if number == 0 => format!("to run{}", memory(step, &input)),
                    None => "to run".to_owned(),
                })
                .collect(),
        }
    });
    Ok(states.collect())
}

/// The predicted peak of the first step, which works on the input model, and whether it is more than there is.
fn memory(step: &Step, input: &Result<ModelHandle>) -> String {
    // An input that cannot be read is an error of the run, not of the plan.
    let Some(Ok(Some(estimate))) = input.as_ref().ok().map(|model| step.pass.memory(model)) else {
        return String::new();
    };
    let total = gigabytes(estimate.total());
    match available() {
        Some(available) if estimate.needed() > available => {
            format!("; up to {total} of memory, more than the {} available", gigabytes(available))
        }
        _ => format!("; up to {total} of memory"),
    }
}
