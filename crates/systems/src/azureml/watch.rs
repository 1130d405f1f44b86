//! The time between sending a job and fetching what it made.

use super::OnInterrupt;
use super::connection::Connection;
use super::job_log::{Counting, JobLog};
use super::known::Work;
use super::submission::Submission;
use crate::SystemError;
use olive_azureml::logs::Pace;
use olive_azureml::status::Stage;
use olive_core::event::Event;
use olive_core::{Result, shown};

impl Work<'_> {
    /// Follows the job to its end.
    ///
    /// # Errors
    /// [`SystemError::JobFailed`], [`SystemError::JobGone`], or somebody interrupts: then the job goes on, unless it is to be cancelled.
    pub(super) async fn watch(&self, connection: &Connection, submission: &Submission) -> Result<()> {
        if submission.job.status.stage() == Stage::Ended {
            return Ok(());
        }
        let pace = Pace::new(&self.settings.variables).map_err(SystemError::from)?;
        let counting = Counting::InFlow { before: self.chain.before + self.done, total: self.chain.total };
        let log = JobLog::new(self.execution.events, counting);
        let ended = log.follow(&connection.workspace, &submission.name, pace).await;
        match &ended {
            Err(SystemError::Azure(_)) if self.execution.cancel.is_raised() => {
                self.leave(connection, submission).await;
            }
            Err(SystemError::Azure(error)) if error.is_not_found() => {
                return Err(SystemError::JobGone { name: submission.name.to_string() }.into());
            }
            _ => {}
        }
        Ok(ended?)
    }

    /// Says how the job goes on without this run, or ends it.
    async fn leave(&self, connection: &Connection, submission: &Submission) {
        let name = &submission.name;
        let message = match self.settings.on_interrupt {
            OnInterrupt::GoesOn => {
                let config = shown(&self.execution.config.path);
                format!(
                    "job {name} goes on: the same command follows it, `olive jobs cancel {name} --config {config}` ends it"
                )
            }
            OnInterrupt::IsCancelled => match connection.patient.cancel_job(name).await {
                Ok(()) => format!("job {name} is cancelled"),
                Err(error) => format!("job {name} could not be cancelled: {error}"),
            },
        };
        self.execution.events.emit(Event::Info { message });
    }
}
