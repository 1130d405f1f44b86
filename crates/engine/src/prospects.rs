//! What a plan would find in the cache, and what would stop it, without doing anything.

use super::plan::{Flow, StepKey};
use super::workflow::destination;
use super::{Environment, Plan, input};
use crate::cache::Store;
use crate::cache::store::Unusable;
use crate::passes::RunConfig;
use olive_core::content::ContentHashes;
use olive_core::handle::ModelHandle;
use olive_core::{Error, Result};
use olive_train::MemoryEstimate;
use std::path::PathBuf;

/// What can be said of a plan before it is run.
pub struct Prospects {
    /// For every step of every flow.
    pub flows: Vec<Vec<StepState>>,
    /// What would stop a step, as far as the model and the data are here.
    pub problem: Option<Error>,
}

/// What a run would do about a step.
#[derive(Debug, Clone, PartialEq)]
pub enum StepState {
    /// Its artefact is there: the folder.
    Cached { output: PathBuf },
    /// It has to be made, perhaps because a file of what is there was `changed`. The peak of memory is predicted for the
    /// first step of a flow, where that is possible.
    ToRun { changed: Option<PathBuf>, memory: Option<MemoryEstimate> },
    /// Its key is not known, as the input model is not on this machine yet, or not yet converted.
    NoInput,
    /// Its key is not known, as something that enters it cannot be read.
    NoKey { reason: String },
}

/// Looks a plan up in the cache, and for what would stop a run before its first step, in the order of a run. Nothing is
/// fetched.
pub fn prospects(config: &RunConfig, plan: &Plan, environment: &Environment) -> Prospects {
    let store = Store::new(&config.engine.cache_dir);
    let contents = ContentHashes::open(&config.engine.cache_dir);
    let (input, missing) = match input::resolve(&config.input_model, &environment.looking(), &()) {
        Ok(input) => (Some(input), None),
        Err(error) => (None, Some(error).filter(|error| input::stays_missing(error, &environment.source))),
    };
    let outputs = || check_outputs(config, plan, environment, input.as_ref()).err();
    let mut problem = plan.check().err().or_else(outputs).or(missing);
    let mut flows = Vec::with_capacity(plan.flows.len());
    for flow in &plan.flows {
        let keys = input.as_ref().map(|model| flow.keys(model, environment.device, &contents));
        if problem.is_none() {
            let keys = keys.as_ref().and_then(|keys| keys.as_deref().ok());
            problem = flow.check_input(input.as_ref(), keys, &store).err();
        }
        flows.push(states(flow, input.as_ref().zip(keys), &store));
    }
    Prospects { flows, problem }
}

/// Whether the results can be put where they belong.
fn check_outputs(
    config: &RunConfig,
    plan: &Plan,
    environment: &Environment,
    input: Option<&ModelHandle>,
) -> Result<()> {
    for flow in &plan.flows {
        let dir = plan.output_dir(flow, &config.engine.output_dir);
        let Some(destination) = destination(config, flow, &dir, environment) else { continue };
        input.map_or(Ok(()), |input| destination.check_input(input))?;
        destination.check_files()?;
    }
    Ok(())
}

/// The state of every step, given the input model and the keys, if they are known.
fn states(flow: &Flow, known: Option<(&ModelHandle, Result<Vec<StepKey>>)>, store: &Store) -> Vec<StepState> {
    let all = |state: StepState| vec![state; flow.steps.len()];
    match known {
        None => all(StepState::NoInput),
        Some((_, Err(error))) => all(StepState::NoKey { reason: error.to_string() }),
        Some((model, Ok(keys))) => {
            let steps = flow.steps.iter().zip(&keys).enumerate();
            let state = |(number, (step, key)): (usize, (&super::Step, &StepKey))| {
                let changed = match store.look_up(&key.artefact_id(step)) {
                    Ok(artefact) => return StepState::Cached { output: artefact.output },
                    Err(Unusable::Changed { file }) => Some(file),
                    Err(Unusable::Absent) => None,
                };
                // Only the first step works on a model that is there. One that cannot be read is an error of the run, not of
                // the plan.
                let memory = if number == 0 { step.pass.memory(model).ok().flatten() } else { None };
                StepState::ToRun { changed, memory }
            };
            steps.map(state).collect()
        }
    }
}
