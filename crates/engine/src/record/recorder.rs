//! Writes a run record while the run goes on.

use super::documents::{Metric, PlanDocument, RunDocument, RunError, RunState};
use super::{EVENTS, METRICS, OUTCOME, PLAN, RUN, RunRecord, id, prune, runs_dir};
use crate::WorkflowOutcome;
use olive_core::error::IoContext;
use olive_core::event::{self, Event, TimedEvent};
use olive_core::event_hub::EventListener;
use olive_core::secrets::hidden;
use olive_core::{Error, Result, file};
use serde::Serialize;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Listens from the start of a run and keeps what it hears until it may write.
#[derive(Default)]
pub struct RunRecorder {
    state: Mutex<State>,
}

enum State {
    /// The folder is not known to be writable yet.
    Waiting(Vec<TimedEvent>),
    Writing(Box<Writer>),
    Ended,
}

impl Default for State {
    fn default() -> State {
        State::Waiting(Vec::new())
    }
}

struct Writer {
    dir: PathBuf,
    run: RunDocument,
    /// Locked as long as the run goes on, by which others see that it does.
    events: File,
    metrics: File,
    /// The pass that runs, which metrics belong to.
    pass: String,
    /// The first file that could not be written: it does not stop the run, and is told at its end.
    problem: Option<Error>,
}

impl RunRecorder {
    /// Makes the record's folder below `output_dir` and writes what is known. `run` gets the name of the record. Old
    /// records go, but those that `kept` names.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn begin(
        &self,
        output_dir: &Path,
        run: RunDocument,
        plan: &PlanDocument,
        kept: &[String],
    ) -> Result<String> {
        let (id, dir) = make_folder(&runs_dir(output_dir))?;
        let run = RunDocument { id: id.clone(), ..run };
        let open = |name: &str| {
            let path = dir.join(name);
            File::options().create(true).append(true).open(&path).at("create", &path)
        };
        let (events, metrics) = (open(EVENTS)?, open(METRICS)?);
        // Where files cannot be locked, a run that died cannot be told from one that goes on; no more is lost.
        let _ = file::try_lock(&events);
        publish(&dir.join(PLAN), plan)?;
        publish(&dir.join(RUN), &run)?;
        let mut writer = Box::new(Writer { dir, run, events, metrics, pass: String::new(), problem: None });
        let mut state = self.lock();
        if let State::Waiting(heard) = &*state {
            heard.iter().for_each(|event| writer.write(event));
        }
        *state = State::Writing(writer);
        drop(state);
        RunRecord::list(output_dir).iter().for_each(|record| file::remove_partial(record));
        prune::prune(output_dir, kept);
        Ok(id)
    }

    /// Replaces the plan, once more is known of it.
    pub fn plan(&self, plan: &PlanDocument) {
        self.publish(PLAN, plan);
    }

    /// Replaces the outcome, as far as the run has come.
    pub fn outcome(&self, outcome: &WorkflowOutcome) {
        self.publish(OUTCOME, outcome);
    }

    /// Says how the run ended, and gives what kept the record from being complete.
    pub fn finish(&self, error: Option<&Error>) -> Option<Error> {
        let state = match error {
            None => RunState::Succeeded,
            Some(error) if error.is_interruption() => RunState::Interrupted,
            Some(_) => RunState::Failed,
        };
        self.end(state, error.map(RunError::from))
    }

    fn end(&self, state: RunState, error: Option<RunError>) -> Option<Error> {
        let State::Writing(mut writer) = std::mem::replace(&mut *self.lock(), State::Ended) else {
            return None;
        };
        if let Some(RunError { message, hint, .. }) = error.clone() {
            writer.write(&TimedEvent::now(Event::Error { message, hint }));
        }
        writer.run = RunDocument { state, ended: Some(event::now()), error, ..writer.run.clone() };
        let written = publish(&writer.dir.join(RUN), &writer.run);
        writer.keep(written);
        writer.problem.take()
    }

    fn publish(&self, name: &str, document: &impl Serialize) {
        if let State::Writing(writer) = &mut *self.lock() {
            let written = publish(&writer.dir.join(name), document);
            writer.keep(written);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EventListener for RunRecorder {
    fn on_event(&self, event: &TimedEvent) {
        match &mut *self.lock() {
            State::Waiting(heard) => heard.push(event.clone()),
            State::Writing(writer) => writer.write(event),
            State::Ended => {}
        }
    }
}

/// A run that panics has failed, too.
impl Drop for RunRecorder {
    fn drop(&mut self) {
        let message = "the program stopped in a way that it did not expect".to_owned();
        self.end(RunState::Failed, Some(RunError { message, hint: None, exit_code: 101 }));
    }
}

impl Writer {
    fn write(&mut self, event: &TimedEvent) {
        let written = append(&mut self.events, event).at("write", &self.dir.join(EVENTS));
        self.keep(written);
        if let Event::PassStarted { pass, .. } = &event.event {
            self.pass.clone_from(pass);
        }
        if let Some(metric) = metric(event, &self.pass) {
            let written = append(&mut self.metrics, &metric).at("write", &self.dir.join(METRICS));
            self.keep(written);
        }
    }

    fn keep(&mut self, written: Result<()>) {
        self.problem = self.problem.take().or(written.err());
    }
}

/// The event as a record of numbers, if it has some.
fn metric(event: &TimedEvent, pass: &str) -> Option<Metric> {
    let (time, pass) = (event.time, pass.to_owned());
    match event.event {
        Event::TrainStep {
            step,
            total_steps,
            epoch,
            loss,
            learning_rate,
            grad_norm,
            tokens_per_second,
            ..
        } => Some(Metric::Train {
            time,
            pass,
            step,
            total_steps,
            epoch,
            loss,
            learning_rate,
            grad_norm,
            tokens_per_second,
        }),
        Event::Evaluated { step, loss, tokens, seconds } => {
            Some(Metric::Eval { time, pass, step, loss, tokens, seconds })
        }
        Event::PassStarted { .. }
        | Event::PassFinished { .. }
        | Event::PhaseStarted { .. }
        | Event::PhaseProgress { .. }
        | Event::PhaseFinished { .. }
        | Event::PointStarted { .. }
        | Event::PointFinished { .. }
        | Event::Log { .. }
        | Event::Info { .. }
        | Event::Warning { .. }
        | Event::Error { .. } => None,
    }
}

/// A folder of its own for a new record, with its name.
fn make_folder(runs: &Path) -> Result<(String, PathBuf)> {
    std::fs::create_dir_all(runs).at("create", runs)?;
    loop {
        let id = id::fresh();
        let dir = runs.join(&id);
        match std::fs::create_dir(&dir) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            made => return made.at("create", &dir).map(|()| (id, dir)),
        }
    }
}

/// One line, in one piece: a reader sees whole lines, but for the last one after a crash.
fn append(file: &mut File, value: &impl Serialize) -> std::io::Result<()> {
    let line = hidden(&serde_json::to_string(value)?).into_owned() + "\n";
    file.write_all(line.as_bytes())
}

/// Writes a document under another name and renames it: a reader sees the old one or the new one.
pub(super) fn publish(path: &Path, document: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(document).map_err(std::io::Error::from).at("write", path)?;
    file::replace(path, (hidden(&text).into_owned() + "\n").as_bytes()).at("write", path)
}
