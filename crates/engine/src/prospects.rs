//! What a plan would find in the cache, and what would stop it, without doing anything.

use super::plan::{Flow, StepKey};
use super::workflow::{destination, flow_input};
use super::{Environment, FlowInput, Plan, Step, input, memory};
use crate::cache::Store;
use crate::cache::store::Unusable;
use crate::error::EngineError;
use crate::passes::RunConfig;
use crate::resources::Resources;
use olive_core::available::Available;
use olive_core::content::ContentHashes;
use olive_core::handle::ModelHandle;
use olive_core::{Error, Result};
use olive_data::DataError;
use olive_model::ModelError;
use olive_quantise::QuantiseError;
use olive_tracking::TrackingError;
use olive_train::MemoryNeed;
use std::path::PathBuf;

/// What can be said of a plan before it is run.
pub struct Prospects {
    /// For every step of every flow.
    pub flows: Vec<Vec<StepState>>,
    /// What would stop a run, in the order in which it would.
    pub obstacles: Vec<Obstacle>,
    /// The memory there is.
    pub available: Available,
}

/// Something that would stop a run on this machine.
pub enum Obstacle {
    /// The configuration can be sound nevertheless: data or a model that is not on this machine, or too little memory.
    OfThisMachine(Error),
    /// No machine would run it.
    OfTheConfiguration(Error),
}

/// What a run would do about a step.
#[derive(Debug, Clone, PartialEq)]
pub enum StepState {
    /// Its artefact is there: the folder.
    Cached { output: PathBuf },
    /// Its artefact stays where another machine made it: the address.
    Elsewhere { place: String },
    /// It has to be made, perhaps because a file of what is there was `changed`. The peak of memory is predicted where that
    /// is possible.
    ToRun { changed: Option<PathBuf>, memory: Option<MemoryNeed> },
    /// Its key is not known, as the input model is not on this machine yet, or not yet converted.
    NoInput,
    /// Its key is not known, as something that enters it cannot be read.
    NoKey { reason: String },
}

impl Obstacle {
    fn of(error: Error) -> Obstacle {
        let absent = match error.downcast_ref() {
            Some(EngineError::Check { source, .. }) => is_absence(source),
            Some(
                EngineError::Memory { .. } | EngineError::HostFile { .. } | EngineError::InAzureMl { .. },
            ) => true,
            _ => is_absence(&error),
        };
        if absent { Obstacle::OfThisMachine(error) } else { Obstacle::OfTheConfiguration(error) }
    }

    pub fn into_error(self) -> Error {
        match self {
            Obstacle::OfThisMachine(error) | Obstacle::OfTheConfiguration(error) => error,
        }
    }

    fn error(&self) -> &Error {
        match self {
            Obstacle::OfThisMachine(error) | Obstacle::OfTheConfiguration(error) => error,
        }
    }
}

/// Whether something is not on this machine that may be on another.
fn is_absence(error: &Error) -> bool {
    let model = matches!(error.downcast_ref(), Some(ModelError::NotFound { .. } | ModelError::Hub { .. }));
    let server = error.downcast_ref::<TrackingError>().is_some();
    // Olive fetches data of its own choice from the hub where a file names none.
    let calibration = matches!(error.downcast_ref(), Some(QuantiseError::DataMissing { .. }));
    model || server || calibration || error.downcast_ref::<DataError>().is_some_and(DataError::is_absence)
}

/// Looks a plan up in the cache, and for what would stop a run before its first step, in the order of a run. Nothing is
/// fetched.
pub fn prospects(config: &RunConfig, plan: &Plan, environment: &Environment) -> Prospects {
    let mut looking = Looking {
        store: Store::new(&config.engine.cache_dir),
        environment,
        available: Available::now(),
        obstacles: Vec::new(),
    };
    looking.meet(environment.tracking.mlflow.check(plan));
    let store = Store::new(&config.engine.cache_dir);
    let resources = Resources { config, store: &store, environment };
    let (plan, absences) = resources.find_data(plan);
    let steps = plan.flows.iter().flat_map(|flow| &flow.steps);
    steps.for_each(|step| looking.meet(step.check()));
    absences.into_iter().for_each(|absence| looking.meet(Err(absence)));
    let looked = look(&resources, &plan);
    let here = looked.as_ref().ok().and_then(Option::as_ref).and_then(FlowInput::here);
    let outputs = check_outputs(config, &plan, environment, here);
    looking.meet(outputs);
    let input = looked.unwrap_or_else(|error| {
        looking.meet(Err(error));
        None
    });
    let contents = ContentHashes::open(&config.engine.cache_dir);
    let mut flows = Vec::with_capacity(plan.flows.len());
    for flow in &plan.flows {
        let keys = input.as_ref().map(|model| flow.keys(model, environment.device, &contents));
        if !looking.is_refused() {
            let keys = keys.as_ref().and_then(|keys| keys.as_deref().ok());
            let checked = flow.check_input(input.as_ref().and_then(FlowInput::here), keys, &looking.store);
            looking.meet(checked);
        }
        flows.push(looking.states(flow, input.as_ref().map(FlowInput::handle).zip(keys)));
    }
    let Looking { available, obstacles, .. } = looking;
    Prospects { flows, obstacles, available }
}

/// The input as far as it can be found without fetching anything; `None` where a run would fetch it first.
fn look(resources: &Resources, plan: &Plan) -> Result<Option<FlowInput>> {
    match flow_input(&resources.config.input_model, plan, || resources.find_input()) {
        Ok(input) => Ok(Some(input)),
        Err(error) if input::stays_missing(&error, &resources.environment.source) => Err(error),
        Err(_) => Ok(None),
    }
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
        let destination = destination(config, flow, &dir, environment);
        input.map_or(Ok(()), |input| destination.check_input(input))?;
        destination.check_files()?;
    }
    Ok(())
}

/// What is looked at, and what was found so far.
struct Looking<'a> {
    store: Store,
    environment: &'a Environment,
    available: Available,
    obstacles: Vec<Obstacle>,
}

impl Looking<'_> {
    /// Notes what would stop a run; flows may share what stops them.
    fn meet(&mut self, result: Result<()>) {
        let Err(error) = result else { return };
        let text = error.with_causes();
        if self.obstacles.iter().all(|known| known.error().with_causes() != text) {
            self.obstacles.push(Obstacle::of(error));
        }
    }

    fn is_refused(&self) -> bool {
        self.obstacles.iter().any(|obstacle| matches!(obstacle, Obstacle::OfTheConfiguration(_)))
    }

    /// The state of every step, given the input model and the keys, if they are known.
    fn states(&mut self, flow: &Flow, known: Option<(&ModelHandle, Result<Vec<StepKey>>)>) -> Vec<StepState> {
        let all = |state: StepState| vec![state; flow.steps.len()];
        match known {
            None => all(StepState::NoInput),
            Some((_, Err(error))) => all(StepState::NoKey { reason: error.to_string() }),
            Some((model, Ok(keys))) => {
                flow.steps.iter().zip(&keys).map(|(step, key)| self.state(step, key, model)).collect()
            }
        }
    }

    fn state(&mut self, step: &Step, key: &StepKey, model: &ModelHandle) -> StepState {
        let changed = match self.store.look_up(&key.artefact_id(step)) {
            Ok(artefact) => return StepState::Cached { output: artefact.output },
            Err(Unusable::Changed { file }) => Some(file),
            Err(Unusable::Absent) => None,
        };
        if !step.host.is_here()
            && let Some(note) = self.store.elsewhere(&key.artefact_id(step))
        {
            return StepState::Elsewhere { place: note.place };
        }
        let need = memory::predict(step, model, &self.available);
        if let Some(need) = need.filter(|_| memory::is_limited(self.environment)) {
            self.meet(memory::fits(step, &need, &self.available).map_err(Error::from));
        }
        StepState::ToRun { changed, memory: need }
    }
}
