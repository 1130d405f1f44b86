//! The training loop.

use super::checkpoint::LoopState;
use super::evaluate::evaluate;
use super::metrics::{Metrics, Record};
use super::saving::{Moment, Saver};
use super::selection::Best;
use super::{BatchPlan, Checkpoints, Schedule, Trainer};
use olive_config::canonical::{EvalStrategy, Scheduler, TrainingArgs};
use olive_core::Result;
use olive_core::cancel::CancelFlag;
use olive_core::error::Interrupted;
use olive_core::event::Unit;
use olive_core::event::{Event, EventSink};
use olive_data::{Dataset, MicroBatch};
use std::path::Path;
use std::time::{Duration, Instant};

/// What [`fit`] works with.
pub struct Fit<'a> {
    pub train: &'a Dataset,
    pub eval: Option<&'a Dataset>,
    pub args: &'a TrainingArgs,
    pub checkpoints: &'a Checkpoints,
    /// Writes adapters on the way, if some are wanted.
    pub saver: Option<&'a Saver<'a>>,
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
    /// The evaluation whose state is in the trainer, if the best one was asked for.
    pub best: Option<Best>,
}

/// Trains to the end, from wherever the newest checkpoint is.
///
/// # Errors
/// [`Interrupted`] after a checkpoint, a diverged run, unusable data, or a device error.
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
        // The interruption may have come before the last step was looked at.
        if state.step == total_steps && fit.eval.is_none() {
            trainer.check_last_step(&fit.batches(&mut plan, state.step - 1), fit.cancel)?;
        }
        fit.after_step(trainer, &mut state, last_eval, total_steps, &plan)?;
    }
    let mut clock = Clock::start();
    while state.step < total_steps && !state.standing.stopped {
        let started = Instant::now();
        let batches = fit.batches(&mut plan, state.step);
        let learning_rate = match args.lr_scheduler_type {
            Scheduler::ReduceLrOnPlateau => state.plateau.learning_rate(args.learning_rate),
            _ => schedule.learning_rate(state.step),
        };
        let report = match trainer.step(&batches, learning_rate, fit.cancel) {
            Err(error) if error.is_interruption() => return fit.interrupted(trainer, &state),
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
        let saves = fit.saves_after(&state, total_steps, &plan, false);
        if state.step < total_steps && (clock.save_due(fit.save_every) || saves) {
            fit.checkpoints.save(trainer, &state)?;
        }
        let evaluation = match evaluates {
            false => None,
            true => match fit.evaluate(trainer, &mut log) {
                Err(error) if error.is_interruption() => return fit.interrupted(trainer, &state),
                other => other?,
            },
        };
        last_eval = evaluation.or(last_eval);
        if state.step == total_steps && fit.eval.is_none() {
            match trainer.check_last_step(&batches, fit.cancel) {
                Err(error) if error.is_interruption() => return fit.interrupted(trainer, &state),
                other => other?,
            }
        }
        fit.after_step(trainer, &mut state, evaluation, total_steps, &plan)?;
    }
    fit.events.emit(Event::PhaseFinished { phase: "train" });
    let steps = state.step;
    if state.standing.stopped && steps < total_steps {
        fit.info(format!(
            "stopped after step {steps}: {} evaluations without a lower loss",
            state.standing.stale
        ));
    }
    let best = state.standing.best.filter(|_| args.selection.load_best_model_at_end);
    if let Some(Best { step, loss }) = best {
        fit.info(format!(
            "the state after step {step} is kept, whose evaluation loss {loss:.4} is the lowest"
        ));
        trainer.restore_best()?;
    }
    Ok(Fitted { steps, eval: state.first_eval.zip(last_eval), best })
}

impl Fit<'_> {
    fn info(&self, message: String) {
        self.events.emit(Event::Info { message });
    }

    /// What step `step`, counted from 0, works on.
    fn batches(&self, plan: &mut BatchPlan, step: usize) -> Vec<MicroBatch> {
        let first = step * plan.accumulation();
        let indices = first..first + plan.accumulation();
        let batch = |index| {
            let rows = plan.rows(index);
            MicroBatch::new(rows.into_iter().map(|row| (row, &self.train.samples[row])))
        };
        indices.map(batch).collect()
    }

    fn interrupted<T>(&self, trainer: &Trainer, state: &LoopState) -> Result<T> {
        self.checkpoints.save(trainer, state)?;
        Err(Interrupted.into())
    }

    fn evaluate(&self, trainer: &Trainer, log: &mut Metrics) -> Result<Option<f64>> {
        let Some(dataset) = self.eval else { return Ok(None) };
        let started = Instant::now();
        let batch_size = self.args.per_device_eval_batch_size;
        let (loss, tokens) = evaluate(&trainer.decoder, dataset, batch_size, self.cancel)?;
        trainer.check_evaluation(loss)?;
        let (step, seconds) = (trainer.steps(), started.elapsed().as_secs_f64());
        log.write(&Record::Eval { step, loss, tokens, seconds })?;
        self.events.emit(Event::Evaluated { step, loss, tokens, seconds });
        Ok(Some(loss))
    }

    /// Draws the conclusions of an evaluation, if there was one, and saves the adapter if that is due. Doing it again after
    /// the same step changes nothing.
    fn after_step(
        &self,
        trainer: &mut Trainer,
        state: &mut LoopState,
        evaluation: Option<f64>,
        total_steps: usize,
        plan: &BatchPlan,
    ) -> Result<()> {
        let new_best = evaluation.is_some_and(|loss| self.judge(trainer, state, loss));
        if let Some(saver) = self.saver.filter(|_| self.saves_after(state, total_steps, plan, new_best)) {
            saver.save(trainer, state.standing.best)?;
        }
        Ok(())
    }

    /// True if the evaluation is better than all before.
    fn judge(&self, trainer: &mut Trainer, state: &mut LoopState, loss: f64) -> bool {
        if state.standing.judged == Some(state.step) {
            return state.standing.best.is_some_and(|best| best.step == state.step);
        }
        state.plateau.evaluated(loss, self.args.learning_rate, &self.args.lr_scheduler_kwargs);
        let selection = &self.args.selection;
        let better = state.standing.judge(state.step, loss, selection);
        if better && selection.load_best_model_at_end {
            trainer.keep_as_best();
        }
        better
    }

    fn saves_after(&self, state: &LoopState, total: usize, plan: &BatchPlan, new_best: bool) -> bool {
        let (step, last) = (state.step, state.step == total || state.standing.stopped);
        let moment = Moment { step, total, ends_epoch: plan.ends_epoch(step - 1), last, new_best };
        self.saver.is_some_and(|saver| saver.due(&moment))
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
    Ok((Metrics::create(dir, &earlier)?, earlier))
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
