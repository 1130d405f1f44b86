//! What a plan would find in the cache, for `validate` and `run --dry-run`.

use super::{Globals, environment};
use olive_core::content::ContentHashes;
use olive_core::handle::ModelHandle;
use olive_core::{Error, Result};
use olive_engine::cache::Store;
use olive_engine::{Plan, RunConfig, Step};
use olive_model::SourceOptions;
use olive_train::memory::{available, gigabytes};

/// What can be said of a plan without doing anything.
pub(crate) struct Prospects {
    /// For every step of every flow: cached, to run, or why that cannot be said.
    pub(crate) states: Vec<Vec<String>>,
    /// What would stop a step, as far as the model and the data are here.
    pub(crate) problem: Option<Error>,
}

/// Looks the plan up in the cache, and its names in the model and in the data.
///
/// Nothing is fetched: a model that is not on this machine is one of the reasons why a state is not known.
///
/// # Errors
/// A `--device` that cannot be understood.
pub(crate) fn look(config: &RunConfig, plan: &Plan, globals: &Globals) -> Result<Prospects> {
    let source = SourceOptions { offline: true, read_only: true, ..environment::source_options(globals) };
    let device = environment::device(globals)?;
    let store = Store::new(&config.engine.cache_dir);
    let contents = ContentHashes::open(&config.engine.cache_dir);
    let input = olive_engine::input::resolve(&config.input_model, &source, &());
    let mut problem = None;
    let states = plan.flows.iter().map(|flow| {
        let keys = input.as_ref().ok().map(|model| flow.keys(model, device, &contents));
        if problem.is_none() {
            let keys = keys.as_ref().and_then(|keys| keys.as_deref().ok());
            problem = flow.check_input(input.as_ref().ok(), keys, &store).err();
        }
        match keys {
            None => {
                let unknown = "unknown: the input model is not on this machine yet, or not yet converted";
                vec![unknown.to_owned(); flow.steps.len()]
            }
            Some(Err(error)) => vec![format!("unknown: {error}"); flow.steps.len()],
            Some(Ok(keys)) => flow
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
    let states = states.collect();
    Ok(Prospects { states, problem })
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
