//! The log of a training at a service, made of the events that the training emits.

use olive_core::Error;
use olive_core::event::{Event, EventSink};
use olive_tracking::{MlflowSettings, RunLog, RunStart, Status};
use olive_train::Paused;
use olive_train::wandb::WandbRun;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Where a training is logged, and as what.
#[derive(Default)]
pub struct TrainingLog<'a> {
    pub mlflow: Option<MlflowLog<'a>>,
    pub wandb: Option<WandbRun>,
}

/// The run of a training on a server of MLflow.
pub struct MlflowLog<'a> {
    pub settings: &'a MlflowSettings,
    /// Name of the run.
    pub name: Option<String>,
    /// Options with their values, as transformers names them.
    pub params: Vec<(String, String)>,
    pub tags: Vec<(String, String)>,
}

/// Hands events on, and logs what they tell of the training: the values that transformers logs, by its names.
pub(super) struct LoggedEvents<'a> {
    events: &'a dyn EventSink,
    run: Option<RunLog>,
    course: Mutex<Course>,
}

/// The training so far, for what is logged at its end.
struct Course {
    started: Instant,
    /// Steps of this process and the sum of their losses.
    steps: usize,
    losses: f64,
    /// Steps of the whole training.
    last: usize,
}

impl<'a> LoggedEvents<'a> {
    /// Begins the run, or goes on with the one of which a file in `state` tells, the folder that the training goes on from.
    pub(super) fn start(
        log: Option<&MlflowLog>,
        state: &Path,
        events: &'a dyn EventSink,
    ) -> LoggedEvents<'a> {
        let course = Mutex::new(Course { started: Instant::now(), steps: 0, losses: 0.0, last: 0 });
        let run = log.map(|log| {
            let (name, params, tags) = (log.name.clone(), log.params.clone(), log.tags.clone());
            let note = state.join("mlflow.json");
            RunLog::start(log.settings.clone(), RunStart { name, params, tags, note })
        });
        let run = run.and_then(|run| match run {
            Ok(run) => Some(run),
            Err(error) => {
                events.emit(Event::Warning { message: Error::from(error).with_causes() });
                None
            }
        });
        LoggedEvents { events, run, course }
    }

    /// Ends the run as the training ended.
    pub(super) fn finish(self, failure: Option<&Error>) {
        let Some(run) = self.run else { return };
        let course = self.course.into_inner().unwrap_or_else(PoisonError::into_inner);
        let status = match failure {
            None => Status::Finished,
            // It may go on, and then is the same run.
            Some(error) if error.is_interruption() || error.downcast_ref::<Paused>().is_some() => {
                Status::Killed
            }
            Some(_) => Status::Failed,
        };
        if status == Status::Finished {
            run.log(course.last, &course.summary());
        }
        run.finish(status).into_iter().for_each(|event| self.events.emit(event));
    }
}

impl Course {
    /// What transformers logs last. The mean loss is not known to a process that did not see all steps.
    fn summary(&self) -> Vec<(&'static str, f64)> {
        let mut summary = vec![("train_runtime", self.started.elapsed().as_secs_f64())];
        if self.steps > 0 && self.steps == self.last {
            summary.push(("train_loss", self.losses / self.steps as f64));
        }
        summary
    }
}

impl EventSink for LoggedEvents<'_> {
    fn emit(&self, event: Event) {
        if let Some(run) = &self.run {
            log(run, &event, &mut self.course.lock().unwrap_or_else(PoisonError::into_inner));
            run.told().into_iter().for_each(|event| self.events.emit(event));
        }
        self.events.emit(event);
    }
}

/// Logs the event if the training is logged then: every `logging_steps`, and after evaluations.
fn log(run: &RunLog, event: &Event, course: &mut Course) {
    match *event {
        Event::TrainStep { step, epoch, loss, learning_rate, grad_norm, log, mean_loss, .. } => {
            course.steps += 1;
            course.losses += loss;
            course.last = step;
            if log {
                let values = [
                    ("loss", mean_loss),
                    ("grad_norm", grad_norm),
                    ("learning_rate", learning_rate),
                    ("epoch", epoch),
                ];
                run.log(step, &values);
            }
        }
        Event::Evaluated { step, loss, seconds, .. } => {
            run.log(step, &[("eval_loss", loss), ("eval_runtime", seconds)]);
        }
        _ => {}
    }
}
