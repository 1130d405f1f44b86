//! The training loop: [`fit`] takes a trainer from the newest checkpoint to the last step.

use crate::batches::BatchPlan;
use crate::checkpoint::{Checkpoints, LoopState};
use crate::error::Paused;
use crate::evaluate::evaluate;
use crate::interval::steps_between;
use crate::metrics::{Metrics, MetricsRow};
use crate::pace::Pace;
use crate::saving::{FinishedStep, Saver};
use crate::schedule::Schedule;
use crate::selection::Best;
use crate::trainer::{StepReport, Trainer};
use crate::wandb::WandbRun;
use olive_config::canonical::{EvalStrategy, Scheduler, TrainingArgs};
use olive_core::Result;
use olive_core::cancel::CancelFlag;
use olive_core::event::{Event, EventSink, Unit};
use olive_data::{Dataset, MicroBatch};
use std::path::Path;
use std::time::{Duration, Instant};

const PHASE: &str = "train";

/// What [`fit`] works with.
pub struct Fit<'a> {
    pub train: &'a Dataset,
    pub eval: Option<&'a Dataset>,
    pub args: &'a TrainingArgs,
    pub checkpoints: &'a Checkpoints,
    /// Folder of the metrics. A training that goes on finds there what it wrote before.
    pub metrics_dir: &'a Path,
    /// An offline run of Weights & Biases beside the metrics; `None` writes none.
    pub wandb: Option<&'a WandbRun>,
    /// Writes adapters during the training; `None` writes none.
    pub saver: Option<&'a Saver<'a>>,
    /// Time between checkpoints; zero saves after every step. Results do not depend on it.
    pub save_every: Duration,
    /// Stop after so many optimiser steps, unless the training is at its end: see [`Paused`].
    pub pause_after: Option<usize>,
    pub events: &'a dyn EventSink,
    pub cancel: &'a CancelFlag,
}

/// The result of [`fit`], beside the trained adapter in the trainer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fitted {
    /// Optimiser steps done.
    pub steps: usize,
    /// Mean cross-entropy in nats on the evaluation data, before the first step and after the last.
    pub eval: Option<(f64, f64)>,
    /// The evaluation whose state is in the trainer, if the best one was asked for.
    pub best: Option<Best>,
}

/// Trains up to the last step, from the newest checkpoint on if there is one.
///
/// # Errors
/// [`Interrupted`](olive_core::error::Interrupted) or [`Paused`] after a checkpoint, a diverged run, unusable data, or a device
/// error.
pub fn fit(trainer: &mut Trainer, fit: &Fit) -> Result<Fitted> {
    let mut training = Training::resume(trainer, fit)?;
    training.evaluate_start()?;
    while !training.is_done() {
        if let Some(after) = fit.pause_after.filter(|after| training.state.step >= *after) {
            return Err(training.pause(after)?.into());
        }
        training.step_or_save()?;
    }
    training.finish()
}

/// A training in progress.
struct Training<'a> {
    fit: &'a Fit<'a>,
    trainer: &'a mut Trainer,
    plan: BatchPlan,
    schedule: Schedule,
    /// Optimiser steps of the whole training.
    total_steps: usize,
    /// What a checkpoint saves beside tensors.
    state: LoopState,
    metrics: Metrics,
    /// Rows of `metrics.jsonl` that an interrupted run left, up to the step of the checkpoint.
    earlier: Vec<MetricsRow>,
    pace: Pace,
    /// Loss of the newest evaluation after a step.
    last_eval: Option<f64>,
}

impl<'a> Training<'a> {
    /// Plans the steps and restores the newest checkpoint.
    fn resume(trainer: &'a mut Trainer, fit: &'a Fit<'a>) -> Result<Training<'a>> {
        let args = fit.args;
        let lengths = fit.train.samples.iter().map(|s| s.input_ids.len()).collect();
        let plan = BatchPlan::new(lengths, args)?;
        let total_steps = plan.total_steps(args);
        let schedule = Schedule::new(args, total_steps);
        let state = fit.checkpoints.restore(trainer)?.unwrap_or_default();
        let (metrics, earlier) = open_metrics(fit, state.step)?;
        if state.step > 0 {
            fit.info(format!("going on after step {} of {total_steps}", state.step));
        }
        let total = Some(total_steps as u64);
        fit.events.emit(Event::PhaseStarted { phase: PHASE.into(), total, unit: Unit::Steps });
        let (pace, last_eval) = (Pace::start(), None);
        Ok(Training { fit, trainer, plan, schedule, total_steps, state, metrics, earlier, pace, last_eval })
    }

    /// Evaluates before the first step. A resumed training instead makes up for the evaluation, the checks and the saved adapter
    /// of its last step, which the interruption may have prevented.
    fn evaluate_start(&mut self) -> Result<()> {
        let step = self.state.step;
        if step == 0 {
            self.state.first_eval = self.evaluate()?;
        } else if self.evaluates() {
            self.last_eval = match self.earlier.iter().rev().find(|row| row.is_evaluation_after(step)) {
                Some(row) => Some(row.loss()),
                None => self.evaluate()?,
            };
            if self.ends_unevaluated() {
                let batches = self.batches(step - 1);
                self.trainer.check_last_step(&batches, self.fit.cancel)?;
            }
        }
        if step > 0 {
            self.conclude(self.last_eval)?;
        }
        // The time that this took says nothing of the steps.
        self.pace = Pace::start();
        Ok(())
    }

    fn is_done(&self) -> bool {
        self.is_at_end() || self.state.standing.stopped
    }

    fn is_at_end(&self) -> bool {
        self.state.step >= self.total_steps
    }

    /// Whether the last step is done and no evaluation follows that would notice if it diverged.
    fn ends_unevaluated(&self) -> bool {
        self.is_at_end() && self.fit.eval.is_none()
    }

    /// One step; an interruption saves the state of the last finished step.
    fn step_or_save(&mut self) -> Result<()> {
        let result = self.step();
        if result.as_ref().is_err_and(|error| error.is_interruption()) {
            self.fit.checkpoints.save(self.trainer, &self.state)?;
        }
        result
    }

    /// Saves the state for a training that goes on later, and says how good it is. That is in no file of metrics: the
    /// result is that of a training without a pause.
    fn pause(&mut self, after: usize) -> Result<Paused> {
        let known = self.state.pauses.iter().find(|(step, _)| *step == after).map(|(_, loss)| *loss);
        let loss = match self.fit.eval {
            None => None,
            Some(_) if known.is_some() => known,
            Some(eval) => {
                let batch_size = self.fit.args.per_device_eval_batch_size;
                let (loss, _) = evaluate(&self.trainer.decoder, eval, batch_size, self.fit.cancel)?;
                self.trainer.check_evaluation(loss)?;
                self.state.pauses.push((after, loss));
                Some(loss)
            }
        };
        self.fit.checkpoints.save(self.trainer, &self.state)?;
        self.fit.events.emit(Event::PhaseFinished { phase: PHASE.into() });
        Ok(Paused { step: self.state.step, loss })
    }

    /// An optimiser step, and the reports, checkpoints and evaluations that are due after it.
    fn step(&mut self) -> Result<()> {
        let started = Instant::now();
        let batches = self.batches(self.state.step);
        let learning_rate = self.learning_rate();
        let report = self.trainer.step(&batches, learning_rate, self.fit.cancel)?;
        self.state.step += 1;
        self.state.first_loss = self.trainer.first_loss;
        self.state.losses_since_log.push(report.loss);
        let seconds = started.elapsed().as_secs_f64();
        self.pace.step(seconds);
        self.report(&report, learning_rate, seconds)?;
        self.save_checkpoint()?;
        let evaluation = if self.evaluates() { self.evaluate()? } else { None };
        self.last_eval = evaluation.or(self.last_eval);
        if self.ends_unevaluated() {
            self.trainer.check_last_step(&batches, self.fit.cancel)?;
        }
        self.conclude(evaluation)
    }

    /// The micro-batches of optimiser step `step`, counted from 0.
    fn batches(&mut self, step: usize) -> Vec<MicroBatch> {
        let indices = self.plan.batches(step);
        let samples = &self.fit.train.samples;
        let batch = |index| {
            let rows = self.plan.rows(index);
            MicroBatch::new(rows.into_iter().map(|row| (row, &samples[row])))
        };
        indices.map(batch).collect()
    }

    fn learning_rate(&self) -> f64 {
        let args = self.fit.args;
        if args.lr_scheduler_type == Scheduler::ReduceLrOnPlateau {
            self.state.plateau.learning_rate(args.learning_rate)
        } else {
            self.schedule.learning_rate(self.state.step)
        }
    }

    /// Writes and tells the numbers of the step that was just done, which took `seconds`.
    fn report(&mut self, report: &StepReport, learning_rate: f64, seconds: f64) -> Result<()> {
        let (step, epoch) = (self.state.step, self.plan.epochs(self.state.step));
        let StepReport { loss, grad_norm, tokens, .. } = *report;
        self.metrics.write(&MetricsRow::Train {
            step,
            epoch,
            loss,
            learning_rate,
            grad_norm,
            tokens,
            seconds,
        })?;
        let every = steps_between(self.fit.args.logging_steps, self.total_steps);
        let log = step.is_multiple_of(every) || step == self.total_steps;
        let losses = &mut self.state.losses_since_log;
        let mean_loss = losses.iter().sum::<f64>() / losses.len() as f64;
        if log {
            losses.clear();
        }
        self.fit.events.emit(Event::TrainStep {
            step,
            total_steps: self.total_steps,
            epoch,
            loss,
            learning_rate,
            grad_norm,
            tokens_per_second: tokens as f64 / seconds.max(1e-9),
            seconds_left: self.pace.mean() * (self.total_steps - step) as f64,
            log,
            mean_loss,
        });
        Ok(())
    }

    /// Saves the state for a later run if it is time to, or if an adapter is saved after this step. Comes before the
    /// evaluation, which a resumed run makes up for.
    fn save_checkpoint(&mut self) -> Result<()> {
        let saves_adapter = self.saver(&self.finished_step()).is_some();
        if !self.is_at_end() && (self.pace.save_due(self.fit.save_every) || saves_adapter) {
            self.fit.checkpoints.save(self.trainer, &self.state)?;
        }
        Ok(())
    }

    /// Whether an evaluation follows the steps done so far; one always follows the last.
    fn evaluates(&self) -> bool {
        let (step, args) = (self.state.step, self.fit.args);
        step == self.total_steps
            || match args.eval_strategy {
                EvalStrategy::No => false,
                EvalStrategy::Epoch => self.plan.ends_epoch(step - 1),
                EvalStrategy::Steps => {
                    let every = args.eval_steps.unwrap_or(args.logging_steps);
                    step.is_multiple_of(steps_between(every, self.total_steps))
                }
            }
    }

    /// Loss on the evaluation data, if there is some.
    fn evaluate(&mut self) -> Result<Option<f64>> {
        let Some(dataset) = self.fit.eval else { return Ok(None) };
        let started = Instant::now();
        let batch_size = self.fit.args.per_device_eval_batch_size;
        let (loss, tokens) = evaluate(&self.trainer.decoder, dataset, batch_size, self.fit.cancel)?;
        self.trainer.check_evaluation(loss)?;
        let (step, seconds) = (self.trainer.steps(), started.elapsed().as_secs_f64());
        self.metrics.write(&MetricsRow::Eval { step, loss, tokens, seconds })?;
        self.fit.events.emit(Event::Evaluated { step, loss, tokens, seconds });
        Ok(Some(loss))
    }

    /// Judges the evaluation after this step, if there was one, and saves the adapter if that is due. Doing it again after
    /// the same step changes nothing.
    fn conclude(&mut self, evaluation: Option<f64>) -> Result<()> {
        let new_best = evaluation.is_some_and(|loss| self.judge(loss));
        let step = FinishedStep { new_best, ..self.finished_step() };
        if let Some(saver) = self.saver(&step) {
            saver.save(self.trainer, self.state.standing.best)?;
        }
        Ok(())
    }

    /// True if the evaluation after this step is better than all before it.
    fn judge(&mut self, loss: f64) -> bool {
        let LoopState { step, standing, plateau, .. } = &mut self.state;
        let args = self.fit.args;
        if standing.judged == Some(*step) {
            return standing.best.is_some_and(|best| best.step == *step);
        }
        plateau.evaluated(loss, args.learning_rate, &args.lr_scheduler_kwargs);
        let better = standing.judge(*step, loss, &args.selection);
        if better && args.selection.load_best_model_at_end {
            self.trainer.keep_as_best();
        }
        better
    }

    /// The step that was just done, before its evaluation.
    fn finished_step(&self) -> FinishedStep {
        FinishedStep {
            step: self.state.step,
            total: self.total_steps,
            ends_epoch: self.plan.ends_epoch(self.state.step - 1),
            last: self.is_done(),
            new_best: false,
        }
    }

    /// The saver, if it saves an adapter after this step.
    fn saver(&self, step: &FinishedStep) -> Option<&'a Saver<'a>> {
        self.fit.saver.filter(|saver| saver.is_due(step))
    }

    /// Puts the best state in place of the last one, if that was asked for.
    fn finish(self) -> Result<Fitted> {
        self.metrics.finish()?;
        self.fit.events.emit(Event::PhaseFinished { phase: PHASE.into() });
        let (steps, standing) = (self.state.step, self.state.standing);
        if standing.stopped && steps < self.total_steps {
            self.fit.info(format!(
                "stopped after step {steps}: {} evaluations without a lower loss",
                standing.stale
            ));
        }
        let best = standing.best.filter(|_| self.fit.args.selection.load_best_model_at_end);
        if let Some(Best { step, loss }) = best {
            self.fit.info(format!(
                "the state after step {step} is kept, whose evaluation loss {loss:.4} is the lowest"
            ));
            self.trainer.restore_best()?;
        }
        Ok(Fitted { steps, eval: self.state.first_eval.zip(self.last_eval), best })
    }
}

impl Fit<'_> {
    fn info(&self, message: String) {
        self.events.emit(Event::Info { message });
    }
}

/// Opens the metrics files with the rows of an interrupted run up to step `step`; gives these rows as well.
fn open_metrics(fit: &Fit, step: usize) -> Result<(Metrics, Vec<MetricsRow>)> {
    let dir = fit.metrics_dir;
    let path = dir.join(Metrics::NAME);
    let earlier = if step > 0 && path.is_file() { Metrics::read(&path, step)? } else { Vec::new() };
    Ok((Metrics::create(dir, &earlier, fit.wandb)?, earlier))
}
