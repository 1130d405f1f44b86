//! Passes as command jobs of Azure ML.
//!
//! A chain of steps is one job: this program, what it is told, and its inputs are uploaded, the job is put under a name that
//! follows from them, watched, and what it made is taken into the cache. A run that finds a job of that name takes it up,
//! whoever sent it. What a job that failed had finished is kept, and artefacts between two passes that are large stay in the
//! datastore ([`known`]). [`Jobs`] looks after jobs without a run.

mod connection;
mod fetch;
mod in_job;
mod job_log;
mod job_name;
mod job_note;
mod job_places;
mod jobs;
mod known;
mod resources;
mod stoppable;
mod submission;
mod transfer;
mod watch;

pub use in_job::hf_token;
pub use job_places::JobPlaces;
pub use jobs::{JobSummary, Jobs};
pub use resources::AzureMlResources;

use crate::SystemError;
use crate::pack::{ModelSource, Package, Source, pack};
use connection::Connection;
use fetch::Expected;
use known::{Left, Work};
pub use olive_azureml::cloud::PlainHttp;
use olive_azureml::cloud_metadata::with_described_cloud;
pub use olive_azureml::environment::Environment;
use olive_config::{InputModel, ResourcePath};
use olive_core::Result;
use olive_core::handle::ModelHandle;
use olive_engine::Host;
use olive_engine::executor::{Chain, Execution, Executor};
use std::path::{Path, PathBuf};
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
    /// Artefacts between two passes that have more bytes stay in the datastore.
    pub largest_fetched: u64,
}

impl AzureMlSettings {
    /// The same, with the cloud that the variables lead to, if they do.
    ///
    /// # Errors
    /// It does not say what it is.
    async fn in_its_cloud(&self) -> Result<AzureMlSettings, SystemError> {
        let variables = with_described_cloud(&self.variables, self.plain_http).await?;
        Ok(AzureMlSettings { variables, ..self.clone() })
    }
}

/// Usual value of [`AzureMlSettings::largest_fetched`], in bytes.
pub const LARGEST_FETCHED: u64 = 1_000_000_000;

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
        // What cannot be removed only takes up space.
        let _ = execution.store.remove_abandoned_incoming();
        let mut work = Work::new(chain, execution, system, &self.settings);
        work.take_known();
        if work.is_done() {
            return Ok(work.model);
        }
        stoppable(execution.cancel, async |stop| run(work, stop).await)
    }
}

/// Does what is left of a chain; its requests end with `stop`.
async fn run(mut work: Work<'_>, stop: CancellationToken) -> Result<ModelHandle> {
    let connection = Connection::open(&work.system.client, work.settings, stop).await?;
    work.send_and_fetch(&connection).await?;
    Ok(work.model)
}

impl Work<'_> {
    async fn send_and_fetch(&mut self, connection: &Connection) -> Result<()> {
        loop {
            self.take_all_known(connection).await?;
            if self.is_done() {
                return Ok(());
            }
            let package = self.package()?;
            let Some(submission) = self.submit(connection, &package).await? else {
                // An earlier job had done a part of it.
                continue;
            };
            let watched = self.watch(connection, &submission).await;
            if let Err(failed) = watched {
                self.keep_finished(connection, &submission.name).await;
                return Err(failed);
            }
            self.fetch(connection, &submission.name, Expected::AllSteps).await?;
        }
    }

    /// What the job is told, and needs.
    fn package(&self) -> Result<Package> {
        let steps = &self.chain.steps[self.done..];
        pack(self.execution.config, steps, self.model_source()?)
    }

    /// The model, from here where it is here, else by its name or its address in Azure ML.
    fn model_source(&self) -> Result<ModelSource> {
        let left = |dir: &Path| self.left.get(dir).map(Left::source);
        let is_input = self.model.base() == self.chain.input.base();
        if self.chain.is_here || !is_input {
            return ModelSource::of(&self.model, &left);
        }
        let place = |path: &ResourcePath| path.azureml().map(Source::of_model);
        let (base, given) = match &self.execution.config.input_model {
            InputModel::HuggingFace { model_path, adapter_path, .. } => {
                (place(model_path), adapter_path.as_ref().and_then(place))
            }
            InputModel::Onnx { model_path } => (place(model_path), None),
        };
        let adapter = match (&self.model, given) {
            (ModelHandle::HfWithAdapter { .. }, Some(given)) if self.done == 0 => Some(given),
            (ModelHandle::HfWithAdapter { adapter, .. }, _) => {
                Some(left(adapter).map_or_else(|| Source::of_adapter(adapter), Ok)?)
            }
            _ => None,
        };
        Ok(ModelSource { kind: self.model.kind(), base, adapter })
    }
}
