//! Runs single flows for a run whose input model is known: those of the plan, and those that a search tries.

use super::plan::{Flow, StepKey};
use super::{Environment, FlowInput, StepOutcome, input, memory, record};
use crate::cache::{CacheError, KeyHasher, Store};
use crate::executor::{Execution, Executors};
use crate::output::{Documents, HistoryFile, Publication};
use crate::passes::RunConfig;
use crate::record::JobNotes;
use crate::stages::stages;
use olive_core::Result;
use olive_core::content::ContentHashes;
use olive_core::device::Device;
use olive_core::handle::ModelHandle;
use std::path::{Path, PathBuf};

/// What all flows of a run share.
pub(crate) struct FlowRunner<'a> {
    pub environment: &'a Environment,
    pub store: &'a Store,
    pub device: &'a Device,
    pub contents: &'a ContentHashes,
    pub executors: &'a Executors<'a>,
    pub input: &'a FlowInput,
    /// See [`Execution::input_here`].
    pub input_here: &'a dyn Fn() -> Result<ModelHandle>,
    /// The folder of all results, which has the records.
    pub output_dir: &'a Path,
    /// The name of the run's record; `None` if none is kept.
    pub record: Option<&'a str>,
}

/// A flow with its places in the cache.
#[derive(Clone, Copy)]
pub(crate) struct KeyedFlow<'a> {
    pub config: &'a RunConfig,
    pub flow: &'a Flow,
    /// One for each step.
    pub keys: &'a [StepKey],
}

/// What a flow made.
#[derive(Clone, Copy)]
pub(crate) struct FlowResult<'a> {
    pub model: &'a ModelHandle,
    pub steps: &'a [StepOutcome],
}

impl FlowRunner<'_> {
    /// The keys of a flow's steps.
    ///
    /// # Errors
    /// A file cannot be read.
    pub(crate) fn keys(&self, flow: &Flow) -> Result<Vec<StepKey>> {
        flow.keys(self.input, self.environment.device, self.contents)
    }

    /// What the input model is known by in the cache.
    ///
    /// # Errors
    /// A file cannot be read.
    pub(crate) fn input_key(&self) -> Result<String> {
        let mut hasher = KeyHasher::new(self.contents);
        self.input.feed(&mut hasher)?;
        Ok(hasher.finish())
    }

    /// What the input model and the data can tell of what would stop a flow, memory included.
    ///
    /// # Errors
    /// The first pass that could not be run.
    pub(crate) fn check(&self, keyed: KeyedFlow) -> Result<()> {
        keyed.flow.check_input(self.input.here(), Some(keyed.keys), self.store)?;
        memory::check(keyed.flow, self.input.handle(), keyed.keys, self.store, self.environment)
    }

    /// Whether the model and the data are still what the keys were computed of: they may be replaced during a run, and
    /// files may come or go.
    ///
    /// # Errors
    /// What was changed.
    pub(crate) fn check_unchanged(&self, keyed: KeyedFlow) -> Result<()> {
        let changed = |path: PathBuf| Err(CacheError::InputChanged { path }.into());
        if let Some(path) = self.contents.first_changed() {
            return changed(path);
        }
        match self.keys(keyed.flow) {
            Ok(now) if now == keyed.keys => Ok(()),
            _ => changed(self.input.handle().dir().to_owned()),
        }
    }

    /// Runs the steps of a flow, tells `on_step` of each that is done, and gives the last model. A training that is not at
    /// its end `pause_after` so many steps stops there.
    ///
    /// # Errors
    /// The first step that fails, or [`Paused`](olive_train::Paused).
    pub(crate) fn run(
        &self,
        keyed: KeyedFlow,
        pause_after: Option<usize>,
        on_step: &dyn Fn(&StepOutcome),
    ) -> Result<ModelHandle> {
        let name = input::hub_model(&keyed.config.input_model);
        let execution = Execution {
            config: keyed.config,
            store: self.store,
            cancel: &self.environment.cancel,
            events: &*self.environment.events,
            input_here: self.input_here,
            unchanged: &|| self.check_unchanged(keyed),
            on_step,
            jobs: self.record.map(|id| JobNotes::new(self.output_dir, id)),
            pause_after,
        };
        self.executors.run_flow(keyed.flow, keyed.keys, self.input, name.as_ref(), &execution)
    }

    /// Puts the result of a flow into the folder `dir`, which is below the folder of all results, or that folder. Gives false
    /// if it is there already.
    ///
    /// # Errors
    /// As [`Publication::write`].
    pub(crate) fn publish(
        &self,
        keyed: KeyedFlow,
        result: FlowResult,
        dir: &Path,
        documents: Documents,
    ) -> Result<bool> {
        let history = |id: &str| HistoryFile::Written {
            record: record::runs_dir(&self.way_up(dir)).join(id),
            stages: stages(&keyed.flow.steps, result.steps, self.input.handle()),
        };
        let name = input::hub_model(&keyed.config.input_model);
        let publication = Publication {
            output_dir: dir,
            input: self.input.handle(),
            name: name.as_ref(),
            model: result.model,
            steps: result.steps,
            history: self.record.map_or(HistoryFile::Absent, history),
            documents,
            foreign: self.environment.foreign_files,
            cancel: &self.environment.cancel,
            events: &*self.environment.events,
        };
        publication.write()
    }

    /// The way from a result's folder to the folder of all results.
    fn way_up(&self, dir: &Path) -> PathBuf {
        let below = dir.strip_prefix(self.output_dir).unwrap_or(Path::new(""));
        below.components().map(|_| "..").collect()
    }
}
