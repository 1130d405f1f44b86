//! What a proposal takes: memory and time.

use crate::error::ProjectError;
use crate::proposal::{Method, Proposal, Trained};
use crate::speed;
use olive_config::LoadOptions;
use olive_core::Result;
use olive_core::device::DeviceChoice;
use olive_engine::passes::TrainingLength;
use olive_engine::{EngineError, Environment, Plan, REGISTRY, RunConfig, StepState, prospects};
use olive_model::ModelFolder;
use std::path::Path;
use std::time::Duration;

/// What a run will take, as far as it can be said before.
#[derive(Debug, Clone, PartialEq)]
pub struct Prospect {
    /// The training in the form that fits into memory.
    pub proposal: Proposal,
    /// Steps and tokens of the training.
    pub length: Option<TrainingLength>,
    /// Bytes at the peak of the training, beside the weights, which are mapped.
    pub memory: Option<u64>,
    pub duration: Option<Duration>,
}

/// Makes the training of `proposal` fit into the memory there is, with fewer rows at a time, with checkpointing, and at last in 4
/// bits unless somebody `asked` for a method, and says what it takes. Paths in the proposal are absolute, or of the
/// working folder.
///
/// # Errors
/// [`ProjectError::TooLarge`]; whatever else would stop the run on this machine.
pub fn prospect(
    proposal: Proposal,
    asked: Option<Method>,
    model: &ModelFolder,
    environment: &Environment,
) -> Result<Prospect> {
    let mut proposal = proposal;
    let first = proposal.trained.as_ref().map(|trained| trained.training.clone());
    loop {
        let (config, fits) = look(&proposal, environment)?;
        let memory = match fits {
            Fit::Fits(memory) => memory,
            Fit::TooLarge(needed) => {
                let smaller = |trained: &Trained| {
                    let training = match (trained.training.in_less_memory(), trained.training.method, asked) {
                        (Some(less), ..) => less,
                        (None, Method::Lora, None) => {
                            let mut first = first.clone()?;
                            first.method = Method::Qlora;
                            first
                        }
                        _ => return None,
                    };
                    Some(Trained { training, ..trained.clone() })
                };
                let smaller = proposal.trained.as_ref().and_then(smaller);
                let Some(smaller) = smaller else { return Err(ProjectError::TooLarge { needed }.into()) };
                proposal.trained = Some(smaller);
                continue;
            }
        };
        let length = length(&config, model, environment)?;
        let duration = duration(&proposal, length, model);
        return Ok(Prospect { proposal, length, memory, duration });
    }
}

enum Fit {
    /// With so many bytes, if that is known.
    Fits(Option<u64>),
    TooLarge(String),
}

fn look(proposal: &Proposal, environment: &Environment) -> Result<(RunConfig, Fit)> {
    let name = Path::new("olive-config.json");
    let config = RunConfig::from_value(&proposal.configuration(), name, &LoadOptions::default(), &REGISTRY)?;
    let plan = Plan::new(&config)?;
    let prospects = prospects(&config, &plan, environment);
    // The first one is what a run would meet.
    if let Some(obstacle) = prospects.obstacles.into_iter().next() {
        let error = obstacle.into_error();
        return match error.downcast_ref() {
            Some(EngineError::Memory { .. }) => Ok((config, Fit::TooLarge(error.with_causes()))),
            _ => Err(error),
        };
    }
    let needs = prospects.flows.iter().flatten().filter_map(|state| match state {
        StepState::ToRun { memory, .. } => memory.as_ref().map(|need| need.estimate.needed()),
        _ => None,
    });
    let memory = needs.max();
    Ok((config, Fit::Fits(memory)))
}

fn length(
    config: &RunConfig,
    model: &ModelFolder,
    environment: &Environment,
) -> Result<Option<TrainingLength>> {
    let Some(training) = config.passes.iter().find_map(|pass| pass.pass.training()) else {
        return Ok(None);
    };
    let (train, _) = training.datasets(model, &(), &environment.cancel)?;
    Ok(Some(training.length(&train)?))
}

fn duration(proposal: &Proposal, length: Option<TrainingLength>, model: &ModelFolder) -> Option<Duration> {
    let (trained, length) = (proposal.trained.as_ref()?, length?);
    let spec = model.spec().ok()?;
    let all = parameters(model)?;
    // An embedding that is not the head as well is looked up, not multiplied with.
    let looked_up = if spec.tied { 0 } else { (spec.vocab_size * spec.hidden_size) as u64 };
    let parameters = all.saturating_sub(looked_up);
    match proposal.device {
        DeviceChoice::Cpu => speed::duration(length.tokens, parameters, trained.training.checkpointing),
        DeviceChoice::Cuda(_) => None,
    }
}

/// All parameters of a model. `None`: its weights cannot be read.
pub fn parameters(model: &ModelFolder) -> Option<u64> {
    Some(model.checkpoint().ok()?.tensors().map(|tensor| tensor.element_count() as u64).sum())
}
