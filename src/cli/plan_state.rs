//! What a plan would find in the cache, for `validate` and `run --dry-run`.

use super::{Globals, environment};
use crate::Result;
use crate::config::RunConfig;
use crate::engine::{self, ContentHashes, Plan, Store};
use crate::model::SourceOptions;

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
                .map(|(step, key)| match store.look_up(&key.slot(step)) {
                    Some(artefact) => format!("cached, {}", artefact.output.display()),
                    None => "to run".to_owned(),
                })
                .collect(),
        }
    });
    Ok(states.collect())
}
