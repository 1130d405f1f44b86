//! What a job says, as events of this process.

use crate::SystemError;
use olive_azureml::history::RunDetails;
use olive_azureml::job::JobName;
use olive_azureml::logs::{Pace, RunEvent, follow};
use olive_azureml::status::JobStatus;
use olive_azureml::workspace::WorkspaceClient;
use olive_core::event::{Event, EventSink, TimedEvent};

/// What the steps of a job are counted with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Counting {
    /// With those of a flow, which has so many before the job's, and in all. Its run tells by itself of steps that are done,
    /// when their files have come.
    InFlow { before: usize, total: usize },
    /// Among themselves.
    Alone,
}

/// Lines of a log on their way.
pub(super) struct JobLog<'a> {
    events: &'a dyn EventSink,
    counting: Counting,
    /// The beginning of a line.
    rest: String,
    error: Option<Said>,
}

/// The error with which the program in the job ended.
struct Said {
    message: String,
    hint: Option<String>,
}

impl<'a> JobLog<'a> {
    pub(super) fn new(events: &'a dyn EventSink, counting: Counting) -> JobLog<'a> {
        JobLog { events, counting, rest: String::new(), error: None }
    }

    /// Follows a job to its end.
    ///
    /// # Errors
    /// [`SystemError::JobFailed`]: it did not end well. Otherwise it cannot be followed any further, and goes on.
    pub(super) async fn follow(
        mut self,
        workspace: &WorkspaceClient,
        name: &JobName,
        pace: Pace,
    ) -> Result<(), SystemError> {
        let details = follow(workspace, name, pace, |event| self.hear(event)).await?;
        match details.status {
            JobStatus::Completed => Ok(()),
            _ => Err(self.failure(name, &details)),
        }
    }

    fn failure(self, name: &JobName, details: &RunDetails) -> SystemError {
        let reason = details.failure.as_ref().map(ToString::to_string);
        let (message, hint) = match self.error {
            Some(said) => (said.message, said.hint),
            None => (reason.unwrap_or_else(|| "it does not say why".into()), None),
        };
        SystemError::JobFailed { name: name.to_string(), status: details.status.to_string(), message, hint }
    }

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
        match (event, self.counting) {
            (Event::PassStarted { pass, r#type, index, .. }, Counting::InFlow { before, total }) => {
                let index = before.saturating_add(index);
                self.events.emit(Event::PassStarted { pass, r#type, index, total });
            }
            (Event::PassFinished { .. }, Counting::InFlow { .. }) => {}
            (Event::Error { message, hint }, _) => self.error = Some(Said { message, hint }),
            (event, _) => self.events.emit(event),
        }
    }
}
