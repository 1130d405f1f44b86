//! What a job says, as events of this run.

use super::connection::Connection;
use super::submission::Submission;
use super::{OnInterrupt, Work};
use crate::SystemError;
use olive_azureml::history::RunDetails;
use olive_azureml::logs::{Pace, RunEvent, follow};
use olive_azureml::status::{JobStatus, Stage};
use olive_core::Result;
use olive_core::event::{Event, EventSink, TimedEvent};

impl Work<'_> {
    /// Follows the job to its end.
    ///
    /// # Errors
    /// [`SystemError::JobFailed`], or somebody interrupts: then the job goes on, unless it is to be cancelled.
    pub(super) async fn watch(&self, connection: &Connection, submission: &Submission) -> Result<()> {
        if submission.job.status.stage() == Stage::Ended {
            return Ok(());
        }
        let pace = Pace::new(&self.settings.variables).map_err(SystemError::from)?;
        let mut log = Log {
            events: self.execution.events,
            before: self.chain.before + self.done,
            total: self.chain.total,
            rest: String::new(),
            error: None,
        };
        let details = follow(&connection.workspace, &submission.name, pace, |event| log.hear(event)).await;
        match details {
            Ok(details) if details.status == JobStatus::Completed => Ok(()),
            Ok(details) => Err(self.failure(submission, &details, log.error).into()),
            Err(error) if self.execution.cancel.is_raised() => {
                self.leave(connection, submission).await;
                Err(SystemError::from(error).into())
            }
            Err(error) => Err(SystemError::from(error).into()),
        }
    }

    /// Says how the job goes on without this run, or ends it.
    async fn leave(&self, connection: &Connection, submission: &Submission) {
        let name = &submission.name;
        let message = match self.settings.on_interrupt {
            OnInterrupt::GoesOn => {
                format!("job {name} goes on: the same command follows it, `olive jobs cancel` ends it")
            }
            OnInterrupt::IsCancelled => match connection.patient.cancel_job(name).await {
                Ok(()) => format!("job {name} is cancelled"),
                Err(error) => format!("job {name} could not be cancelled: {error}"),
            },
        };
        self.execution.events.emit(Event::Info { message });
    }

    fn failure(&self, submission: &Submission, details: &RunDetails, said: Option<Said>) -> SystemError {
        let reason = details.failure.as_ref().map(ToString::to_string);
        let (message, hint) = match said {
            Some(said) => (said.message, said.hint),
            None => (reason.unwrap_or_else(|| "it does not say why".into()), None),
        };
        SystemError::JobFailed {
            name: submission.name.to_string(),
            status: details.status.to_string(),
            message,
            hint,
        }
    }
}

/// The error with which the program in the job ended.
struct Said {
    message: String,
    hint: Option<String>,
}

/// Lines of a log on their way.
struct Log<'a> {
    events: &'a dyn EventSink,
    /// Steps of the flow before those of the job, and in all.
    before: usize,
    total: usize,
    /// The beginning of a line.
    rest: String,
    error: Option<Said>,
}

impl Log<'_> {
    fn hear(&mut self, event: RunEvent<'_>) {
        let message = match event {
            RunEvent::Status(status) => format!("the job is {status}"),
            RunEvent::Unreachable(reason) => format!("{reason}; trying again"),
            RunEvent::LogRestarted { .. } => {
                self.rest.clear();
                "the job begins again, on another machine".to_owned()
            }
            RunEvent::Log { text, .. } => {
                self.rest.push_str(text);
                while let Some(end) = self.rest.find('\n') {
                    let line: String = self.rest.drain(..=end).collect();
                    self.line(line.trim_end());
                }
                return;
            }
        };
        self.events.emit(Event::Info { message });
    }

    /// A line of the program is an event; others are passed on as they are.
    fn line(&mut self, line: &str) {
        let Ok(TimedEvent { event, .. }) = serde_json::from_str(line) else {
            if !line.is_empty() {
                self.events.emit(Event::Info { message: line.to_owned() });
            }
            return;
        };
        match event {
            Event::PassStarted { pass, r#type, index, .. } => {
                let index = self.before.saturating_add(index);
                self.events.emit(Event::PassStarted { pass, r#type, index, total: self.total });
            }
            // Its files are there, not here: it is told when they have come.
            Event::PassFinished { .. } => {}
            Event::Error { message, hint } => self.error = Some(Said { message, hint }),
            event => self.events.emit(event),
        }
    }
}
