//! A whole configuration, from the input model to the output folders.

use super::plan::{Flow, StepKey};
use super::{Environment, FlowOutcome, Plan, WorkflowOutcome, input, output, runner};
use crate::cache::Store;
use crate::passes::RunContext;
use olive_config::RunConfig;
use olive_core::Result;
use olive_core::content::ContentHashes;
use olive_core::device::Device;
use olive_core::event::{Event, EventSink};
use olive_core::handle::ModelHandle;
use std::path::{Path, PathBuf};

/// Runs all flows of a plan and brings their output folders up to date. What would stop a run is looked for before
/// anything is fetched or computed, as far as that is possible.
///
/// `plan` is the one of `config`, or one that was made of values: of `config`, only what is not in the plan is used.
///
/// # Errors
/// Whatever stops a step or keeps its result from being written; what was finished stays in the cache.
pub fn run_workflow(config: &RunConfig, plan: &Plan, environment: &Environment) -> Result<WorkflowOutcome> {
    plan.check()?;
    for warning in &config.warnings {
        environment.events.emit(Event::Warning { message: warning.render(&config.path) });
    }
    let store = Store::new(&config.engine.cache_dir);
    let workflow = Workflow {
        config,
        plan,
        environment,
        store: &store,
        output_dirs: plan.flows.iter().map(|flow| plan.output_dir(flow, &config.engine.output_dir)).collect(),
    };
    workflow.run()
}

struct Workflow<'a> {
    config: &'a RunConfig,
    plan: &'a Plan,
    environment: &'a Environment,
    store: &'a Store,
    /// One for each flow.
    output_dirs: Vec<PathBuf>,
}

impl Workflow<'_> {
    fn run(&self) -> Result<WorkflowOutcome> {
        if self.config.engine.clean_cache {
            self.clean_cache()?;
        }
        let input = self.input()?;
        let device = self.environment.device.open()?;
        for (flow, dir) in self.flows() {
            if let Some(last) = flow.steps.last() {
                output::check(dir, &self.config.path, &input, last)?;
            }
        }
        let keys = self.keys(&input)?;
        for (flow, keys) in self.plan.flows.iter().zip(&keys) {
            flow.check_input(Some(&input), Some(keys), self.store)?;
        }
        self.run_flows(&input, &keys, device)
    }

    /// Flows and where their results go.
    fn flows(&self) -> impl Iterator<Item = (&Flow, &Path)> {
        self.plan.flows.iter().zip(self.output_dirs.iter().map(PathBuf::as_path))
    }

    fn clean_cache(&self) -> Result<()> {
        for kept in self.store.clean()?.kept {
            let message = format!("{} is not cleaned away: another process uses it", kept.display());
            self.environment.events.emit(Event::Warning { message });
        }
        Ok(())
    }

    /// The input model, fetched if it is not on this machine.
    fn input(&self) -> Result<ModelHandle> {
        let (model, environment) = (&self.config.input_model, self.environment);
        if input::resolve(model, &environment.looking(), &()).is_err() {
            // Nothing is fetched for a run that the data stops.
            self.plan.flows.iter().try_for_each(|flow| flow.check_input(None, None, self.store))?;
        }
        input::resolve(model, &environment.fetching(), &*environment.events)
    }

    /// The keys of every flow's steps.
    fn keys(&self, input: &ModelHandle) -> Result<Vec<Vec<StepKey>>> {
        let contents = ContentHashes::open(&self.config.engine.cache_dir);
        let keys = self.plan.flows.iter().map(|flow| flow.keys(input, self.environment.device, &contents));
        let keys = keys.collect::<Result<_>>()?;
        if let Err(error) = contents.save() {
            // It only saves time; a cache that may be read but not written is a cache.
            tracing::debug!("content hashes are not remembered: {error}");
        }
        Ok(keys)
    }

    fn run_flows(
        &self,
        input: &ModelHandle,
        keys: &[Vec<StepKey>],
        device: Device,
    ) -> Result<WorkflowOutcome> {
        let name = input::hub_model(&self.config.input_model);
        let context = RunContext {
            device,
            device_choice: self.environment.device,
            cancel: &self.environment.cancel,
            events: &*self.environment.events,
            base: name.as_ref(),
            artefacts: None,
        };
        let artifacts = !self.config.engine.no_artifacts;
        let mut flows = Vec::with_capacity(self.plan.flows.len());
        for ((flow, dir), keys) in self.flows().zip(keys) {
            let (model, steps) = runner::run(flow, keys, input.clone(), self.store, &context)?;
            let changed = output::write(dir, input, &model, &steps, name.as_ref(), artifacts)?;
            let message = if changed {
                format!("wrote {}", dir.display())
            } else {
                format!("{} is up to date", dir.display())
            };
            self.environment.events.emit(Event::Info { message });
            flows.push(FlowOutcome { output_dir: dir.to_owned(), changed, steps });
        }
        Ok(WorkflowOutcome { output_dir: self.config.engine.output_dir.clone(), flows })
    }
}
