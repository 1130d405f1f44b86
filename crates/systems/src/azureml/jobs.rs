//! Looking after jobs without a run: which there are, following one, cancelling one.

use super::AzureMlSettings;
use super::connection::Connection;
use super::job_log::{Counting, JobLog};
use super::job_places::{JobPlace, JobPlaces, Which, is_of_passes};
use super::stoppable::stoppable;
use crate::SystemError;
use olive_azureml::job::JobName;
use olive_azureml::jobs::{Job, JobFilter};
use olive_azureml::logs::Pace;
use olive_azureml::status::{JobStatus, Stage};
use olive_config::Workspace;
use olive_core::Result;
use olive_core::cancel::CancelFlag;
use olive_core::event::{Event, EventSink};
use serde::Serialize;
use std::cmp::Reverse;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// The jobs of some places.
pub struct Jobs<'a> {
    pub places: &'a JobPlaces,
    pub settings: &'a AzureMlSettings,
    /// Ends waiting; jobs go on.
    pub cancel: &'a CancelFlag,
    pub events: &'a dyn EventSink,
}

/// A job as a list shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct JobSummary {
    pub name: String,
    /// The types of its passes, in order.
    pub passes: Vec<String>,
    /// As the service writes it: `Queued`.
    pub status: String,
    pub compute: Option<String>,
    pub experiment: Option<String>,
    /// When it was sent, in UTC as the service writes it: `2026-11-24T08:30:00.123Z`.
    pub created: Option<String>,
    pub workspace: Workspace,
    /// Its page in Azure ML studio.
    pub page: Option<String>,
}

impl Jobs<'_> {
    /// The jobs of passes, newest first.
    ///
    /// # Errors
    /// A workspace cannot be reached, or refuses.
    pub fn list(&self) -> Result<Vec<JobSummary>> {
        let mut all = stoppable(self.cancel, async |stop| {
            let mut all = Vec::new();
            for place in &self.places.places {
                let connection = Connection::open(&place.client, self.settings, stop.clone()).await?;
                for job in self.jobs(place, &connection).await? {
                    all.push(summary(&job, place, &connection).await?);
                }
            }
            Ok(all)
        })?;
        all.sort_by_cached_key(|job| Reverse((job.created.clone(), job.name.clone())));
        Ok(all)
    }

    /// Tells what a job tells, to its end.
    ///
    /// # Errors
    /// [`SystemError::NoJob`], [`SystemError::JobFailed`], or somebody interrupts: the job goes on.
    pub fn follow(&self, name: &str) -> Result<()> {
        let (name, pace) = self.named(name)?;
        let followed = stoppable(self.cancel, async |stop| {
            let connection = self.find(&name, stop).await?;
            let log = JobLog::new(self.events, Counting::Alone);
            Ok(log.follow(&connection.workspace, &name, pace).await?)
        });
        if followed.as_ref().is_err_and(olive_core::Error::is_interruption) {
            self.events.emit(Event::Info { message: format!("job {name} goes on") });
        }
        followed
    }

    /// Ends a job, and waits until the service says that it is cancelled.
    ///
    /// # Errors
    /// [`SystemError::NoJob`], [`SystemError::NotCancelled`], or somebody interrupts: the job may be cancelled nevertheless.
    pub fn cancel(&self, name: &str) -> Result<()> {
        let (name, pace) = self.named(name)?;
        stoppable(self.cancel, async |stop| {
            let connection = self.find(&name, stop).await?;
            Ok(self.end(&connection, &name, pace).await?)
        })
    }

    fn named(&self, name: &str) -> Result<(JobName, Pace), SystemError> {
        Ok((JobName::new(name)?, Pace::new(&self.settings.variables)?))
    }

    async fn jobs(&self, place: &JobPlace, connection: &Connection) -> Result<Vec<Job>, SystemError> {
        let workspace = &connection.workspace;
        let names = match &place.which {
            Which::All => {
                let mut jobs = workspace.jobs(&JobFilter::default()).await?;
                jobs.retain(is_of_passes);
                return Ok(jobs);
            }
            Which::Noted(names) => names,
        };
        let mut jobs = Vec::with_capacity(names.len());
        for name in names {
            match workspace.find_job(&JobName::new(name)?).await? {
                Some(job) => jobs.push(job),
                None => {
                    let message = format!("job {name} is no longer in workspace {}", workspace.workspace());
                    self.events.emit(Event::Warning { message });
                }
            }
        }
        Ok(jobs)
    }

    /// A connection to the workspace that has the job.
    async fn find(&self, name: &JobName, stop: CancellationToken) -> Result<Connection> {
        for place in &self.places.places {
            let connection = Connection::open(&place.client, self.settings, stop.clone()).await?;
            let is_there = match &place.which {
                Which::Noted(names) => names.iter().any(|noted| noted == name.as_str()),
                Which::All => connection.workspace.find_job(name).await.map_err(SystemError::from)?.is_some(),
            };
            if is_there {
                return Ok(connection);
            }
        }
        Err(SystemError::NoJob { name: name.to_string(), places: self.places.what.clone() }.into())
    }

    async fn end(&self, connection: &Connection, name: &JobName, pace: Pace) -> Result<(), SystemError> {
        let workspace = &connection.workspace;
        let transport = workspace.client().transport();
        workspace.cancel_job(name).await?;
        let begun = transport.now();
        let mut known = None;
        loop {
            let status = workspace.job(name).await?.status;
            if known.as_ref() != Some(&status) {
                self.events.emit(Event::Info { message: format!("the job is {status}") });
            }
            match status {
                JobStatus::Canceled => return Ok(()),
                ended if ended.stage() == Stage::Ended => {
                    let (name, status) = (name.to_string(), ended.to_string());
                    return Err(SystemError::NotCancelled { name, status });
                }
                going_on => known = Some(going_on),
            }
            let waited: Duration = transport.now().duration_since(begun).unwrap_or_default();
            transport.wait(pace.pause(waited)).await?;
        }
    }
}

async fn summary(job: &Job, place: &JobPlace, connection: &Connection) -> Result<JobSummary, SystemError> {
    let passes = job.tags.get("Pass").map(|types| types.split(',').map(str::to_owned).collect());
    let compute = job.compute_id.as_deref().and_then(|id| id.rsplit('/').next());
    Ok(JobSummary {
        name: job.name.clone(),
        passes: passes.unwrap_or_default(),
        status: job.status.to_string(),
        compute: compute.map(str::to_owned),
        experiment: job.experiment_name.clone(),
        created: job.created.clone(),
        workspace: place.client.workspace.clone(),
        page: connection.workspace.studio_url(job).await?,
    })
}
