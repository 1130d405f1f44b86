//! The training loop.

use super::checkpoint::LoopState;
use super::evaluate::evaluate;
use super::metrics::{Metrics, Record};
use super::{BatchPlan, Checkpoints, MicroBatch, Schedule, Trainer};
use crate::config::canonical::{EvalStrategy, TrainingArgs};
use crate::data::Dataset;
use crate::engine::CancelFlag;
use crate::report::event::Unit;
use crate::report::{Event, EventSink};
use crate::{Error, Result};
use std::path::Path;
use std::time::{Duration, Instant};

/// What [`fit`] works with.
pub struct Fit<'a> {
    pub train: &'a Dataset,
    pub eval: Option<&'a Dataset>,
    pub args: &'a TrainingArgs,
    pub checkpoints: &'a Checkpoints,
    /// Time between checkpoints; zero saves after every step. Results do not depend on it.
    pub save_every: Duration,
    pub events: &'a dyn EventSink,
    pub cancel: &'a CancelFlag,
}

/// What [`fit`] gives beside the trained adapter in the trainer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fitted {
    pub steps: usize,
    /// Loss on the evaluation data before the first step and after the last.
    pub eval: Option<(f64, f64)>,
}

/// Trains to the end, from wherever the newest checkpoint is.
///
/// # Errors
/// [`Error::Interrupted`] after a checkpoint, a diverged run, unusable data, or a device error.
pub fn fit(trainer: &mut Trainer, fit: &Fit) -> Result<Fitted> {
    let args = fit.args;
    let lengths = fit.train.samples.iter().map(|s| s.input_ids.len()).collect();
    let mut plan = BatchPlan::new(lengths, args)?;
    let total_steps = plan.total_steps(args);
    let schedule = Schedule::new(args, total_steps);
    let mut state = fit.checkpoints.restore(trainer)?.unwrap_or_default();
    let (mut log, earlier) = open_metrics(fit.checkpoints.dir(), state.step)?;
    if state.step > 0 {
        fit.info(format!("going on after step {} of {total_steps}", state.step));
    }
    fit.events.emit(Event::PhaseStarted {
        phase: "train",
        total: Some(total_steps as u64),
        unit: Unit::Steps,
    });
    let mut last_eval = None;
    if state.step == 0 {
        state.first_eval = fit.evaluate(trainer, &mut log)?;
    } else if fit.evaluates_after(state.step - 1, total_steps, &plan) {
        last_eval = match earlier.iter().rev().find(|r| r.is_evaluation_of(state.step)) {
            Some(record) => Some(record.loss()),
            None => fit.evaluate(trainer, &mut log)?,
        };
    }
    let mut clock = Clock::start();
    while state.step < total_steps {
        let started = Instant::now();
        let first = state.step * plan.accumulation();
        let batches: Vec<MicroBatch> = (first..first + plan.accumulation())
            .map(|index| {
                let rows = plan.rows(index);
                MicroBatch::new(rows.into_iter().map(|row| (row, &fit.train.samples[row])))
            })
            .collect();
        let learning_rate = schedule.learning_rate(state.step);
        let report = match trainer.step(&batches, learning_rate, fit.cancel) {
            Err(Error::Interrupted) => return fit.interrupted(trainer, &state),
            other => other?,
        };
        let evaluates = fit.evaluates_after(state.step, total_steps, &plan);
        state.step += 1;
        state.first_loss = trainer.first_loss;
        state.losses_since_log.push(report.loss);
        let seconds = started.elapsed().as_secs_f64();
        clock.step(seconds);
        let epoch = plan.epochs(state.step);
        log.write(&Record::Train {
            step: state.step,
            epoch,
            loss: report.loss,
            learning_rate,
            grad_norm: report.grad_norm,
            tokens: report.tokens,
            seconds,
        })?;
        let logs = state.step.is_multiple_of(args.logging_steps.max(1)) || state.step == total_steps;
        let losses = &state.losses_since_log;
        let mean_loss = losses.iter().sum::<f64>() / losses.len() as f64;
        fit.events.emit(Event::TrainStep {
            step: state.step,
            total_steps,
            epoch,
            loss: report.loss,
            learning_rate,
            grad_norm: report.grad_norm,
            tokens_per_second: report.tokens as f64 / seconds.max(1e-9),
            seconds_left: clock.mean() * (total_steps - state.step) as f64,
            log: logs,
            mean_loss,
        });
        fit.events.emit(Event::PhaseProgress { done: state.step as u64 });
        if logs {
            state.losses_since_log.clear();
        }
        // Saved before the evaluation, which a resumed run makes up for when it was cut short.
        if state.step < total_steps && clock.save_due(fit.save_every) {
            fit.checkpoints.save(trainer, &state)?;
        }
        if evaluates {
            last_eval = match fit.evaluate(trainer, &mut log) {
                Err(Error::Interrupted) => return fit.interrupted(trainer, &state),
                other => other?,
            };
        }
    }
    fit.events.emit(Event::PhaseFinished { phase: "train" });
    Ok(Fitted { steps: total_steps, eval: state.first_eval.zip(last_eval) })
}

impl Fit<'_> {
    fn info(&self, message: String) {
        self.events.emit(Event::Info { message });
    }

    fn interrupted<T>(&self, trainer: &Trainer, state: &LoopState) -> Result<T> {
        self.checkpoints.save(trainer, state)?;
        Err(Error::Interrupted)
    }

    fn evaluate(&self, trainer: &Trainer, log: &mut Metrics) -> Result<Option<f64>> {
        let Some(dataset) = self.eval else { return Ok(None) };
        let started = Instant::now();
        let batch_size = self.args.per_device_eval_batch_size;
        let (loss, tokens) = evaluate(&trainer.decoder, dataset, batch_size, self.cancel)?;
        let (step, seconds) = (trainer.steps(), started.elapsed().as_secs_f64());
        log.write(&Record::Eval { step, loss, tokens, seconds })?;
        self.events.emit(Event::Evaluated { step, loss, tokens, seconds });
        Ok(Some(loss))
    }

    /// Whether an evaluation follows step `step`, counted from 0; one always follows the last.
    fn evaluates_after(&self, step: usize, total_steps: usize, plan: &BatchPlan) -> bool {
        let done = step + 1;
        done == total_steps
            || match self.args.eval_strategy {
                EvalStrategy::No => false,
                EvalStrategy::Epoch => plan.ends_epoch(step),
                EvalStrategy::Steps => done.is_multiple_of(eval_interval(self.args, total_steps)),
            }
    }
}

/// `eval_steps`, or its share of all steps when it is below 1, or `logging_steps` when it is not given.
fn eval_interval(args: &TrainingArgs, total_steps: usize) -> usize {
    let steps = match args.eval_steps {
        None => args.logging_steps as f64,
        Some(share) if share < 1.0 => (share * total_steps as f64).ceil(),
        Some(steps) => steps,
    };
    (steps as usize).max(1)
}

/// Goes on with the metrics of an interrupted run, up to step `step`; gives what they hold.
fn open_metrics(dir: &Path, step: usize) -> Result<(Metrics, Vec<Record>)> {
    let path = dir.join(Metrics::NAME);
    let earlier = if step > 0 && path.is_file() { Metrics::read(&path, step)? } else { Vec::new() };
    Ok((Metrics::create(&path, &earlier)?, earlier))
}

struct Clock {
    steps: usize,
    seconds: f64,
    saved: Instant,
}

impl Clock {
    fn start() -> Clock {
        Clock { steps: 0, seconds: 0.0, saved: Instant::now() }
    }

    fn step(&mut self, seconds: f64) {
        self.steps += 1;
        self.seconds += seconds;
    }

    fn mean(&self) -> f64 {
        self.seconds / self.steps.max(1) as f64
    }

    fn save_due(&mut self, every: Duration) -> bool {
        let due = self.saved.elapsed() >= every;
        if due {
            self.saved = Instant::now();
        }
        due
    }
}
