//! Where a job is on its way.
//!
//! Source: `JobStatus` of the control plane's interface, and its classes in Microsoft's SDK.

use serde::Deserialize;
use std::fmt;

/// As the services write it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub enum JobStatus {
    NotStarted,
    Starting,
    Provisioning,
    Preparing,
    Queued,
    Running,
    Finalizing,
    CancelRequested,
    Completed,
    Failed,
    Canceled,
    NotResponding,
    Paused,
    /// One that is not known here.
    Other(String),
}

/// What a status means for those who wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    InProgress,
    /// The command has ended; logs and outputs are on their way.
    Ending,
    /// Nothing will change any more.
    Ended,
}

impl JobStatus {
    pub fn stage(&self) -> Stage {
        match self {
            JobStatus::Finalizing | JobStatus::CancelRequested => Stage::Ending,
            JobStatus::Completed
            | JobStatus::Failed
            | JobStatus::Canceled
            | JobStatus::NotResponding
            | JobStatus::Paused => Stage::Ended,
            JobStatus::NotStarted
            | JobStatus::Starting
            | JobStatus::Provisioning
            | JobStatus::Preparing
            | JobStatus::Queued
            | JobStatus::Running
            | JobStatus::Other(_) => Stage::InProgress,
        }
    }

    pub fn as_str(&self) -> &str {
        match self {
            JobStatus::NotStarted => "NotStarted",
            JobStatus::Starting => "Starting",
            JobStatus::Provisioning => "Provisioning",
            JobStatus::Preparing => "Preparing",
            JobStatus::Queued => "Queued",
            JobStatus::Running => "Running",
            JobStatus::Finalizing => "Finalizing",
            JobStatus::CancelRequested => "CancelRequested",
            JobStatus::Completed => "Completed",
            JobStatus::Failed => "Failed",
            JobStatus::Canceled => "Canceled",
            JobStatus::NotResponding => "NotResponding",
            JobStatus::Paused => "Paused",
            JobStatus::Other(status) => status,
        }
    }

    /// All that are known.
    const KNOWN: [JobStatus; 13] = [
        JobStatus::NotStarted,
        JobStatus::Starting,
        JobStatus::Provisioning,
        JobStatus::Preparing,
        JobStatus::Queued,
        JobStatus::Running,
        JobStatus::Finalizing,
        JobStatus::CancelRequested,
        JobStatus::Completed,
        JobStatus::Failed,
        JobStatus::Canceled,
        JobStatus::NotResponding,
        JobStatus::Paused,
    ];
}

impl From<String> for JobStatus {
    fn from(status: String) -> JobStatus {
        let known = JobStatus::KNOWN.into_iter().find(|known| known.as_str() == status);
        known.unwrap_or(JobStatus::Other(status))
    }
}

impl fmt::Display for JobStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_its_stage() {
        let stages = JobStatus::KNOWN.map(|status| status.stage());
        use Stage::{Ended, Ending, InProgress};
        let expected = [[InProgress; 6].as_slice(), [Ending; 2].as_slice(), [Ended; 5].as_slice()];
        assert_eq!(stages.as_slice(), expected.concat());
    }

    #[test]
    fn a_status_of_tomorrow_is_one_of_a_job_in_progress() {
        let status: JobStatus = serde_json::from_str("\"Warming\"").unwrap();
        assert_eq!((status.stage(), status.to_string().as_str()), (Stage::InProgress, "Warming"));
        assert_eq!(serde_json::from_str::<JobStatus>("\"NotResponding\"").unwrap(), JobStatus::NotResponding);
    }
}
