//! Tries the points of a search, one run of the flow each, and keeps the best results.
//!
//! What points have in common is done once, and a search that was interrupted goes on where it stopped: both are the
//! cache's doing. A point that fails is told and left out.

mod documents;
mod halving;
mod joint;
mod length;
mod ranking;
mod results;
mod size;
mod stepwise;
mod tpe;
mod trial;

pub use size::{SearchSize, search_size};

use crate::FlowOutcome;
use crate::error::EngineError;
use crate::evaluation::FlowEvaluation;
use crate::flow_runner::{FlowRunner, KeyedFlow};
use crate::passes::RunConfig;
use crate::plan::Flow;
use crate::searched::{SearchOutcome, TrialState};
use olive_config::{ExecutionOrder, Sampler, Search};
use olive_core::Result;
use olive_core::event::{Event, EventSink};
use std::path::Path;
use trial::Trials;

/// Takes a change of what has become of a flow.
pub(crate) type Note<'a> = dyn Fn(&mut dyn FnMut(&mut FlowOutcome)) + 'a;

/// The search of one flow.
pub(crate) struct FlowSearch<'a> {
    /// The configuration, whose passes are the first point.
    pub config: &'a RunConfig,
    pub search: &'a Search,
    /// The flow's place in the configuration.
    pub number: usize,
    /// The flow at the first point.
    pub flow: &'a Flow,
    pub runner: &'a FlowRunner<'a>,
    /// Where the best result goes.
    pub output_dir: &'a Path,
    pub note: &'a Note<'a>,
}

impl FlowSearch<'_> {
    /// Tries the points and writes the best results. Gives false if they are there already.
    ///
    /// # Errors
    /// No point gave a result that meets the goals, a result cannot be written, an input that changed meanwhile, or an
    /// interruption.
    pub(crate) fn run(&self) -> Result<bool> {
        self.measure_input()?;
        let trials = Trials::new(self);
        let size = size::of_run(self);
        self.runner.environment.events.emit(Event::Info { message: format!("search: {size}") });
        let clock = size::announce_time(self, &size);
        match (self.search.strategy.order, self.search.strategy.sampler) {
            (ExecutionOrder::Joint, Sampler::Halving { eta, min_steps }) => {
                self.halve(&trials, eta, min_steps)?;
            }
            (ExecutionOrder::Joint, _) => self.try_all(&trials)?,
            (ExecutionOrder::PassByPass, _) => self.try_stepwise(&trials)?,
        }
        drop(clock);
        let found = trials.into_found();
        if found.outcome.trials.iter().all(|trial| trial.rank.is_none()) {
            return Err(no_candidate(&found.outcome).into());
        }
        self.write(&found)
    }

    /// The passes of the flow, by their places in the configuration.
    fn passes(&self) -> &[usize] {
        &self.config.flows[self.number]
    }

    fn measure_input(&self) -> Result<()> {
        let keyed = KeyedFlow { config: self.config, flow: &Flow { steps: Vec::new() }, keys: &[] };
        let mut measured = Vec::new();
        FlowEvaluation::new(self.runner, keyed, &[])?.run(|outcome| measured.push(outcome))?;
        (self.note)(&mut |flow| flow.evaluations = std::mem::take(&mut measured));
        Ok(())
    }
}

/// Why a search ends without a result.
fn no_candidate(outcome: &SearchOutcome) -> EngineError {
    let count =
        |is: &dyn Fn(&TrialState) -> bool| outcome.trials.iter().filter(|trial| is(&trial.state)).count();
    let failed = count(&|state| matches!(state, TrialState::Failed { .. }));
    let measured = count(&|state| *state == TrialState::Measured);
    EngineError::NoCandidate { tried: outcome.trials.len(), failed, missed: measured }
}
