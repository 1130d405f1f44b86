//! What a run leaves of itself, for people and for programs that come later:
//!
//! ```text
//! <output_dir>/.olive/runs/20261129T204501Z-1a2b3c4d/
//!                          ├ run.json        what ran where, and how it ended
//!                          ├ plan.json       flows and steps: options, keys, hosts
//!                          ├ events.jsonl    every event, as `--log-format json` prints it
//!                          ├ metrics.jsonl   optimiser steps and evaluations
//!                          └ outcome.json    the steps that are done
//! ```
//!
//! Lines are appended, documents are replaced by rename, so that a record can be read at any time, also after a crash.
//! `events.jsonl` is locked while the run goes on.

mod documents;
mod error;
mod id;
mod job_notes;
mod prune;
mod recorder;

pub use documents::{
    FORMAT, FlowDocument, Metric, OptionDocument, PlanDocument, RunDocument, RunError, RunState, StepDocument,
};
pub use error::RecordError;
pub use job_notes::JobNotes;
pub use prune::NEWEST;
pub use recorder::RunRecorder;

use crate::WorkflowOutcome;
use olive_core::{RECORDS, Result, error::IoContext, file};
use serde::de::DeserializeOwned;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

const RUN: &str = "run.json";
const PLAN: &str = "plan.json";
const EVENTS: &str = "events.jsonl";
const METRICS: &str = "metrics.jsonl";
const OUTCOME: &str = "outcome.json";

/// The folder of an output folder's records.
pub fn runs_dir(output_dir: &Path) -> PathBuf {
    output_dir.join(RECORDS).join("runs")
}

/// A record on disk, of this program or of an earlier one, of a run that goes on or ended.
#[derive(Debug)]
pub struct RunRecord {
    dir: PathBuf,
    run: RunDocument,
}

impl RunRecord {
    /// Reads a record's `run.json`; the rest is read when it is asked for.
    ///
    /// # Errors
    /// [`RecordError`]: it is not a record, or one of a later program.
    pub fn open(dir: &Path) -> Result<RunRecord> {
        let run: RunDocument = read(&dir.join(RUN))?;
        if run.format > FORMAT {
            return Err(RecordError::Format { dir: dir.to_owned(), found: run.format }.into());
        }
        Ok(RunRecord { dir: dir.to_owned(), run })
    }

    /// The folders of all records of an output folder, newest first.
    pub fn list(output_dir: &Path) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(runs_dir(output_dir)).into_iter().flatten().flatten();
        let is_record = |entry: &std::fs::DirEntry| entry.file_name().to_str().is_some_and(id::is_id);
        let mut dirs: Vec<_> = entries.filter(is_record).map(|entry| entry.path()).collect();
        dirs.sort_by(|a, b| b.cmp(a));
        dirs
    }

    /// What `run.json` says.
    pub fn run(&self) -> &RunDocument {
        &self.run
    }

    /// How the run ended. One that was killed had no time to say so, and counts as interrupted.
    pub fn state(&self) -> RunState {
        match self.run.state {
            RunState::Running if !self.is_alive() => RunState::Interrupted,
            state => state,
        }
    }

    /// Whether the process that writes this record is there. True where that cannot be known.
    fn is_alive(&self) -> bool {
        match File::open(self.dir.join(EVENTS)).map(|events| file::try_lock_shared(&events)) {
            Ok(Ok(())) => false,
            Ok(Err(TryLockError::WouldBlock | TryLockError::Error(_))) => true,
            Err(_) => false,
        }
    }

    /// # Errors
    /// [`RecordError::Unreadable`].
    pub fn plan(&self) -> Result<PlanDocument> {
        read(&self.dir.join(PLAN))
    }

    /// The flows, with the steps that are done.
    ///
    /// # Errors
    /// [`RecordError::Unreadable`].
    pub fn outcome(&self) -> Result<WorkflowOutcome> {
        read(&self.dir.join(OUTCOME))
    }

    /// All events, as JSON, in order.
    ///
    /// # Errors
    /// [`RecordError::Unreadable`].
    pub fn events(&self) -> Result<Vec<serde_json::Value>> {
        read_lines(&self.dir.join(EVENTS))
    }

    /// # Errors
    /// [`RecordError::Unreadable`].
    pub fn metrics(&self) -> Result<Vec<Metric>> {
        read_lines(&self.dir.join(METRICS))
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let bytes = std::fs::read(path).at("read", path)?;
    serde_json::from_slice(&bytes).map_err(|error| unreadable(path, &error))
}

/// A line is complete when it ends; what a crash cut off is left out.
fn read_lines<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>> {
    let text = std::fs::read_to_string(path).at("read", path)?;
    let complete = text.rfind('\n').map_or("", |end| &text[..end]);
    complete
        .lines()
        .map(|line| serde_json::from_str(line).map_err(|error| unreadable(path, &error)))
        .collect()
}

fn unreadable(path: &Path, error: &serde_json::Error) -> olive_core::Error {
    RecordError::Unreadable { path: path.to_owned(), reason: error.to_string() }.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use olive_core::event::{Event, TimedEvent};
    use olive_core::event_hub::EventListener;

    fn run() -> RunDocument {
        RunDocument {
            format: FORMAT,
            olive_version: "1".into(),
            id: String::new(),
            state: RunState::Running,
            config: None,
            workflow_id: "w".into(),
            device: "cpu".into(),
            host: None,
            pid: 1,
            started: 1.0,
            ended: None,
            error: None,
        }
    }

    fn begin(recorder: &RunRecorder, output_dir: &Path, kept: &[String]) -> PathBuf {
        let plan = PlanDocument { input_model: serde_json::Value::Null, flows: Vec::new() };
        runs_dir(output_dir).join(recorder.begin(output_dir, run(), &plan, kept).unwrap())
    }

    fn info(message: &str) -> TimedEvent {
        TimedEvent { time: 2.0, event: Event::Info { message: message.into() } }
    }

    #[test]
    fn events_from_before_the_record_begins_are_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let recorder = RunRecorder::default();
        recorder.on_event(&info("before"));
        let record = begin(&recorder, dir.path(), &[]);
        recorder.on_event(&info("after"));
        assert_eq!(RunRecord::open(&record).unwrap().state(), RunState::Running);
        assert!(recorder.finish(None).is_none());
        recorder.on_event(&info("too late"));

        let record = RunRecord::open(&record).unwrap();
        assert_eq!(record.state(), RunState::Succeeded);
        assert!(record.run().ended.is_some());
        let events = record.events().unwrap();
        let messages: Vec<_> = events.iter().map(|event| event["message"].as_str().unwrap()).collect();
        assert_eq!(messages, ["before", "after"]);
    }

    #[test]
    fn numbers_are_kept_apart_with_their_pass_and_what_a_crash_cut_off_is_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let recorder = RunRecorder::default();
        let record = begin(&recorder, dir.path(), &[]);
        let started = Event::PassStarted { pass: "tune".into(), r#type: "LoRA".into(), index: 1, total: 1 };
        let evaluated = Event::Evaluated { step: 3, loss: f64::NAN, tokens: 5, seconds: 0.5 };
        recorder.on_event(&TimedEvent { time: 2.0, event: started });
        recorder.on_event(&TimedEvent { time: 3.0, event: evaluated });
        std::mem::forget(recorder);
        use std::io::Write;
        let mut file = File::options().append(true).open(record.join(METRICS)).unwrap();
        file.write_all(b"{\"kind\": \"tr").unwrap();

        let metrics = RunRecord::open(&record).unwrap().metrics().unwrap();
        let [Metric::Eval { time, pass, step: 3, loss, tokens: 5, .. }] = &metrics[..] else {
            panic!("{metrics:?}")
        };
        assert!(*time == 3.0 && pass == "tune" && loss.is_nan());
    }

    #[test]
    fn a_run_that_was_dropped_has_failed_and_one_that_was_killed_was_interrupted() {
        let dir = tempfile::tempdir().unwrap();
        let recorder = RunRecorder::default();
        let record = begin(&recorder, dir.path(), &[]);
        drop(recorder);
        let opened = RunRecord::open(&record).unwrap();
        assert_eq!((opened.state(), opened.run().state), (RunState::Failed, RunState::Failed));

        let killed = RunDocument { state: RunState::Running, ..opened.run().clone() };
        recorder::publish(&record.join(RUN), &killed).unwrap();
        let opened = RunRecord::open(&record).unwrap();
        assert_eq!((opened.state(), opened.run().state), (RunState::Interrupted, RunState::Running));

        let later = RunDocument { format: FORMAT + 1, ..killed };
        recorder::publish(&record.join(RUN), &later).unwrap();
        assert!(RunRecord::open(&record).unwrap_err().to_string().contains("has format 2"));
    }

    #[test]
    fn old_records_go_but_not_those_of_results_or_of_runs_that_go_on() {
        let dir = tempfile::tempdir().unwrap();
        let old = |second: u32| runs_dir(dir.path()).join(format!("20200101T0000{second:02}Z-00000000"));
        for second in 0..NEWEST as u32 + 2 {
            std::fs::create_dir_all(old(second)).unwrap();
        }
        let notes = runs_dir(dir.path()).join("notes");
        std::fs::create_dir(&notes).unwrap();
        recorder::publish(&old(1).join(RUN), &run()).unwrap();
        let events = File::create(old(1).join(EVENTS)).unwrap();
        events.lock().unwrap();

        let recorder = RunRecorder::default();
        let kept = [old(0).file_name().unwrap().to_string_lossy().into_owned()];
        begin(&recorder, dir.path(), &kept);
        assert!(old(0).exists() && old(1).exists() && notes.exists());
        assert!(!old(2).exists() && old(3).exists());
        assert_eq!(RunRecord::list(dir.path()).len(), NEWEST + 2);
    }
}
