//! Passes as command jobs of Azure ML.
//!
//! A chain of steps is one job: this program, what it is told, and its inputs are uploaded, the job is put under a name that
//! follows from them, watched, and what it made is taken into the cache. A run that finds a job of that name takes it up,
//! whoever sent it. [`Jobs`] looks after jobs without a run.

mod connection;
mod fetch;
mod in_job;
mod job_log;
mod job_name;
mod job_note;
mod job_places;
mod jobs;
mod stoppable;
mod submission;
mod watch;

pub use in_job::hf_token;
pub use job_places::JobPlaces;
pub use jobs::{JobSummary, Jobs};

use crate::pack::{ModelSource, Package, Source, pack};
use connection::Connection;
pub use olive_azureml::cloud::PlainHttp;
pub use olive_azureml::environment::Environment;
use olive_config::{AzureMlSystem, InputModel, ResourcePath};
use olive_core::Result;
use olive_core::event::Event;
use olive_core::handle::ModelHandle;
use olive_engine::executor::{Chain, Execution, Executor};
use olive_engine::{Host, StepOutcome};
use std::path::PathBuf;
use stoppable::stoppable;
use tokio_util::sync::CancellationToken;

/// What the executor knows of the world around it.
#[derive(Debug, Clone)]
pub struct AzureMlSettings {
    /// Variables of the process: credentials, and addresses that replace others.
    pub variables: Environment,
    pub plain_http: PlainHttp,
    /// The program that jobs run, unless a system names another: this one.
    pub program: Option<PathBuf>,
    /// Where jobs compute, as `--device` has it.
    pub device: String,
    pub on_interrupt: OnInterrupt,
}

/// What becomes of a job whose run is interrupted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnInterrupt {
    #[default]
    GoesOn,
    IsCancelled,
}

/// Runs steps on computes of Azure ML.
#[derive(Debug)]
pub struct AzureMlExecutor {
    settings: AzureMlSettings,
}

impl AzureMlExecutor {
    pub fn new(settings: AzureMlSettings) -> AzureMlExecutor {
        AzureMlExecutor { settings }
    }
}

impl Executor for AzureMlExecutor {
    fn reaches(&self, host: &Host) -> bool {
        host.azure_ml().is_some()
    }

    fn run(&self, chain: &Chain, execution: &Execution) -> Result<ModelHandle> {
        let system = chain.host.azure_ml().expect("a host that this executor reaches");
        let (done, model) = take_cached(chain, execution);
        if done == chain.steps.len() {
            return Ok(model);
        }
        let work = Work { chain, execution, system, settings: &self.settings, done, model };
        stoppable(execution.cancel, async |stop| work.run(stop).await)
    }
}

/// Reports the steps at the beginning of the chain whose artefacts are here, and gives how many they are, and the model that
/// the last of them made.
fn take_cached(chain: &Chain, execution: &Execution) -> (usize, ModelHandle) {
    let mut model = chain.input.clone();
    for (number, (step, key)) in chain.steps.iter().zip(chain.keys).enumerate() {
        if step.config.clean_run_cache {
            return (number, model);
        }
        let Ok(artefact) = execution.store.look_up(&key.artefact_id(step)) else { return (number, model) };
        execution.events.emit(started(chain, number));
        let outcome = StepOutcome {
            pass: step.config.name.clone(),
            r#type: step.pass.name().to_owned(),
            cached: true,
            seconds: 0.0,
            bytes: artefact.manifest.bytes(),
            path: artefact.output.clone(),
            key: key.key.clone(),
        };
        report(&outcome, execution);
        model = model.made_into(artefact.manifest.output, artefact.output);
    }
    (chain.steps.len(), model)
}

fn started(chain: &Chain, number: usize) -> Event {
    let step = &chain.steps[number];
    Event::PassStarted {
        pass: step.config.name.clone(),
        r#type: step.pass.name().into(),
        index: chain.before + number + 1,
        total: chain.total,
    }
}

fn report(outcome: &StepOutcome, execution: &Execution) {
    execution.events.emit(Event::PassFinished {
        pass: outcome.pass.clone(),
        r#type: outcome.r#type.clone().into(),
        cached: outcome.cached,
        seconds: outcome.seconds,
        bytes: outcome.bytes,
        path: outcome.path.clone(),
    });
    (execution.on_step)(outcome);
}

/// A chain whose last steps have to be done.
struct Work<'a> {
    chain: &'a Chain<'a>,
    execution: &'a Execution<'a>,
    system: &'a AzureMlSystem,
    settings: &'a AzureMlSettings,
    /// How many of its steps are in the cache.
    done: usize,
    /// What the next of them works on.
    model: ModelHandle,
}

impl Work<'_> {
    async fn run(&self, stop: CancellationToken) -> Result<ModelHandle> {
        let connection = Connection::open(&self.system.client, self.settings, stop)?;
        let package = self.package()?;
        let submission = self.submit(&connection, &package).await?;
        self.watch(&connection, &submission).await?;
        self.fetch(&connection, &submission).await
    }

    /// What the job is told, and needs.
    fn package(&self) -> Result<Package> {
        let steps = &self.chain.steps[self.done..];
        pack(self.execution.config, steps, self.model_source()?)
    }

    /// The model, from here where it is here, else by its name or its address in Azure ML.
    fn model_source(&self) -> Result<ModelSource> {
        let is_input = self.model.base() == self.chain.input.base();
        if self.chain.is_here || !is_input {
            return ModelSource::here(&self.model);
        }
        let place = |path: &ResourcePath| path.azureml().map(|place| Source::Folder(place.to_string()));
        let (base, given) = match &self.execution.config.input_model {
            InputModel::HuggingFace { model_path, adapter_path, .. } => {
                (place(model_path), adapter_path.as_ref().and_then(place))
            }
            InputModel::Onnx { model_path } => (place(model_path), None),
        };
        let adapter = match (&self.model, given) {
            (ModelHandle::HfWithAdapter { .. }, Some(given)) if self.done == 0 => Some(given),
            (ModelHandle::HfWithAdapter { adapter, .. }, _) => Some(Source::of_adapter(adapter)?),
            _ => None,
        };
        Ok(ModelSource { kind: self.model.kind(), base, adapter })
    }
}
