//! A job, as the service keeps it and as what runs it sees it.

use crate::blob_store::BlobStore;
use crate::place::{ARTIFACT_STORE, BLOB_STORE, Place};
use axum::body::Bytes;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// A job that was submitted.
#[derive(Debug)]
pub struct Job {
    pub name: String,
    /// As they were sent.
    pub properties: Value,
    /// When: jobs of one workspace are a second apart.
    pub created: String,
    state: Mutex<JobState>,
    polls: watch::Sender<u64>,
    pub cancel: CancellationToken,
}

/// How a job stands.
#[derive(Debug, Clone)]
pub struct JobState {
    pub status: String,
    /// What run history says of a failure.
    pub error: Value,
    /// The names of its log files, `user_logs/std_log.txt`.
    pub logs: BTreeSet<String>,
}

impl Job {
    /// `number` is how many jobs there were before, at most 59.
    pub fn new(name: &str, properties: Value, number: usize) -> Job {
        let state = JobState { status: "NotStarted".into(), error: Value::Null, logs: BTreeSet::new() };
        Job {
            name: name.to_owned(),
            properties,
            created: format!("2026-11-24T00:00:{number:02}Z"),
            state: Mutex::new(state),
            polls: watch::Sender::new(0),
            cancel: CancellationToken::new(),
        }
    }

    pub fn state(&self) -> MutexGuard<'_, JobState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody looked at the job.
    pub fn polled(&self) {
        self.polls.send_modify(|polls| *polls += 1);
    }

    pub fn has_ended(&self) -> bool {
        matches!(self.state().status.as_str(), "Completed" | "Failed" | "Canceled" | "NotResponding")
    }

    /// Where the job's logs are, with a slash at the end.
    pub fn log_folder(&self) -> String {
        format!("ExperimentRun/dcid.{}/", self.name)
    }

    /// Where an output goes: where the job says, or where the service puts it.
    pub fn output(&self, name: &str, blobs: &str) -> Place {
        let said = self.properties["outputs"][name]["uri"].as_str().and_then(|uri| Place::of(uri, blobs));
        said.unwrap_or_else(|| Place {
            container: BLOB_STORE.1.into(),
            path: format!("azureml/{}/{name}/", self.name),
        })
    }
}

/// What a job takes in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A value.
    Literal(String),
    /// Files.
    Files(Place),
}

/// A job that runs: what it takes in, and where to say how it stands.
#[derive(Debug, Clone)]
pub struct RunningJob {
    pub job: Arc<Job>,
    pub blobs: Arc<BlobStore>,
    pub code: Option<Place>,
    pub inputs: BTreeMap<String, Input>,
    /// Where outputs go, by their names.
    pub outputs: BTreeMap<String, Place>,
    /// The variables that the compute sets, by which the command gets tokens.
    pub variables: Vec<(String, String)>,
}

impl RunningJob {
    /// The job's command, with placeholders.
    pub fn command(&self) -> &str {
        self.job.properties["command"].as_str().unwrap_or_default()
    }

    pub fn set_status(&self, status: &str) {
        self.job.state().status = status.to_owned();
    }

    /// Adds to a log file, `user_logs/std_log.txt`.
    pub fn log(&self, file: &str, text: &str) {
        let name = format!("{}{file}", self.job.log_folder());
        let before = self.blobs.get(ARTIFACT_STORE.1, &name).map(|blob| blob.content).unwrap_or_default();
        self.blobs.put(ARTIFACT_STORE.1, &name, [&before, text.as_bytes()].concat());
        self.job.state().logs.insert(file.to_owned());
    }

    /// Writes a file of an output.
    pub fn write_output(&self, output: &str, path: &str, content: impl Into<Bytes>) {
        if let Some(place) = self.outputs.get(output) {
            self.blobs.put(&place.container, &format!("{}{path}", place.path), content);
        }
    }

    /// The files of a place, by their paths below it. A place that is a file has one, of its own name.
    pub fn files(&self, place: &Place) -> Vec<(String, Bytes)> {
        if let Some(blob) = self.blobs.get(&place.container, &place.path) {
            let name = place.path.rsplit('/').next().unwrap_or_default();
            return vec![(name.to_owned(), blob.content)];
        }
        let folder = format!("{}/", place.path.trim_end_matches('/'));
        let found = self.blobs.list(&place.container, &folder);
        found.into_iter().map(|(name, blob)| (name[folder.len()..].to_owned(), blob.content)).collect()
    }

    /// Waits until somebody looks at the job that did not look before.
    pub async fn polled(&self) {
        let mut polls = self.job.polls.subscribe();
        polls.mark_unchanged();
        // The sender lives as long as the job does.
        let _ = polls.changed().await;
    }

    /// Waits until somebody cancels the job.
    pub async fn cancelled(&self) {
        self.job.cancel.cancelled().await;
    }
}
