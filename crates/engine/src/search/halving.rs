//! Successive halving: trainings begin with few steps; of those of a round, the ones with the lowest loss on held-out rows go
//! on from where they paused, with several times as many steps, and the others are left. Only what is left at the end is
//! trained to its last step, built and measured.
//!
//! K. Jamieson, A. Talwalkar, "Non-stochastic Best Arm Identification and Hyperparameter Optimization" (2016). A training is
//! the same, whether it paused or not: its schedule is that of all its steps.

use super::FlowSearch;
use super::joint::most;
use super::length::Lengths;
use super::trial::{Prepared, Trials, describe, varied_values};
use crate::error::EngineError;
use crate::flow_runner::KeyedFlow;
use crate::passes::HeldOut;
use crate::plan::Flow;
use crate::searched::TrialState;
use olive_config::SearchPoint;
use olive_core::Result;
use olive_core::event::{Event, EventSink};
use olive_train::Paused;
use olive_train::metrics::Metrics;
use std::time::Instant;

/// A round: how far its trainings go, and how many of them go on after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Round {
    pub(super) step: usize,
    pub(super) keep: usize,
}

/// The rounds for so many trainings, the longest of which has `total` steps. Each keeps one in `eta`; the first has
/// `min_steps` or, so that the last ones left have all steps, `total` over `eta` for each round.
pub(super) fn rounds(trainings: usize, total: usize, eta: usize, min_steps: Option<usize>) -> Vec<Round> {
    let mut kept = Vec::new();
    let mut left = trainings;
    while left > 1 {
        left = (left / eta).max(1);
        kept.push(left);
    }
    let all = kept.iter().fold(1_usize, |product, _| product.saturating_mul(eta));
    let mut step = min_steps.unwrap_or_else(|| total.div_ceil(all).max(1));
    let mut rounds = Vec::new();
    for keep in kept {
        if step >= total {
            break;
        }
        rounds.push(Round { step, keep });
        step = step.saturating_mul(eta);
    }
    rounds
}

/// A training that points have in common.
struct Contender {
    prepared: Prepared,
    /// Place of the training in the flow.
    training: usize,
    points: Vec<SearchPoint>,
    seconds: f64,
}

/// How far a training came in a round.
#[derive(Debug, Clone, PartialEq)]
enum Fate {
    Paused { step: usize, loss: f64 },
    Failed { error: String },
}

impl Fate {
    /// NaN if it failed.
    fn loss(&self) -> f64 {
        match self {
            Fate::Paused { loss, .. } => *loss,
            Fate::Failed { .. } => f64::NAN,
        }
    }
}

impl FlowSearch<'_> {
    pub(super) fn halve(&self, trials: &Trials, eta: usize, min_steps: Option<usize>) -> Result<()> {
        let space = self.space(self.passes());
        let tried = most(&self.search.strategy, space.len());
        trials.expect(tried);
        let points: Vec<SearchPoint> = (0..tried).filter_map(|index| space.point(index)).collect();
        let (mut contenders, others) = self.contenders(points)?;
        let total = self.longest(&contenders)?;
        let rounds = rounds(contenders.len(), total, eta, min_steps);
        for (number, round) in rounds.iter().enumerate() {
            let message = format!(
                "round {} of {}: {} trainings up to step {}, of which {} go on",
                number + 1,
                rounds.len(),
                contenders.len(),
                round.step,
                round.keep
            );
            self.runner.environment.events.emit(Event::Info { message });
            let mut trained = Vec::with_capacity(contenders.len());
            for mut contender in contenders {
                let fate = self.train(&mut contender, round.step)?;
                trained.push((contender, fate));
            }
            let (best, left) = split(trained, round.keep);
            contenders = best;
            left.into_iter().for_each(|(contender, fate)| leave(&contender, fate, trials));
        }
        let mut points: Vec<SearchPoint> =
            contenders.into_iter().flat_map(|contender| contender.points).chain(others).collect();
        points.sort_by_key(|point| point.index);
        for point in points {
            self.runner.environment.cancel.check()?;
            let place = trials.attempt(&point, self.passes().len())?;
            if self.ends_with(trials, place) {
                break;
            }
        }
        Ok(())
    }

    /// The points by their first training, and those that have none, or that cannot be run.
    fn contenders(&self, points: Vec<SearchPoint>) -> Result<(Vec<Contender>, Vec<SearchPoint>)> {
        let (mut contenders, mut others): (Vec<Contender>, Vec<SearchPoint>) = Default::default();
        for point in points {
            let prepared = match self.prepare(&point.choices, self.passes().len()) {
                Err(error) if self.is_fatal(&error) => return Err(error),
                // It is told when it is tried.
                Err(_) => {
                    others.push(point);
                    continue;
                }
                Ok(prepared) => prepared,
            };
            let steps = &prepared.flow.steps;
            let Some(training) = steps.iter().position(|step| step.pass.training().is_some()) else {
                others.push(point);
                continue;
            };
            let key = &prepared.keys[training];
            match contenders.iter_mut().find(|known| known.prepared.keys.get(training) == Some(key)) {
                Some(known) => known.points.push(point),
                None => contenders.push(Contender { prepared, training, points: vec![point], seconds: 0.0 }),
            }
        }
        Ok((contenders, others))
    }

    /// Steps of the longest training.
    ///
    /// # Errors
    /// A training that cannot pause, or that has no rows to be judged by.
    fn longest(&self, contenders: &[Contender]) -> Result<usize> {
        let lengths = Lengths::new(self.runner.input, &self.runner.environment.cancel);
        let mut longest = 0;
        for contender in contenders {
            let step = &contender.prepared.flow.steps[contender.training];
            let pass = step.config.name.clone();
            let lengths = lengths.as_ref().filter(|_| step.host.is_here());
            let lengths = lengths.ok_or_else(|| EngineError::HalvingElsewhere { pass: pass.clone() })?;
            let training = step.pass.training().expect("that is why it contends");
            if matches!(training.held_out, HeldOut::None) {
                return Err(EngineError::NothingHeldOut { pass }.into());
            }
            longest = longest.max(lengths.of(&training)?.steps);
        }
        Ok(longest)
    }

    /// Takes a training up to a step, from where it is.
    fn train(&self, contender: &mut Contender, step: usize) -> Result<Fate> {
        let started = Instant::now();
        let events = &self.runner.environment.events;
        let Prepared { config, flow, keys } = &contender.prepared;
        let choices = &contender.points[0].choices[..=contender.training];
        events.emit(Event::Info { message: describe(&varied_values(&self.search.passes, choices)) });
        let flow = Flow { steps: flow.steps[..=contender.training].to_vec() };
        let keyed = KeyedFlow { config, flow: &flow, keys: &keys[..=contender.training] };
        let result = self.runner.check(keyed).and_then(|()| self.runner.run(keyed, Some(step), &|_| ()));
        let fate = match result {
            // One that is at its end already has the loss of its last evaluation.
            Ok(model) => {
                let loss = Metrics::last_evaluation(model.dir())?.unwrap_or(f64::INFINITY);
                Fate::Paused { step, loss }
            }
            Err(error) => match error.downcast_ref() {
                Some(&Paused { step, loss }) => {
                    let loss = loss.unwrap_or(f64::INFINITY);
                    let message = format!("paused after step {step} with a held-out loss of {loss:.4}");
                    events.emit(Event::Info { message });
                    Fate::Paused { step, loss }
                }
                None if self.is_fatal(&error) => return Err(error),
                None => Fate::Failed { error: error.with_causes() },
            },
        };
        contender.seconds += started.elapsed().as_secs_f64();
        Ok(fate)
    }
}

/// The trainings of a round that go on, in their order, and those that do not.
fn split(trained: Vec<(Contender, Fate)>, keep: usize) -> (Vec<Contender>, Vec<(Contender, Fate)>) {
    let mut order: Vec<(f64, usize)> = trained.iter().map(|(_, fate)| fate.loss()).zip(0..).collect();
    order.retain(|(loss, _)| !loss.is_nan());
    order.sort_by(|(one, _), (other, _)| one.total_cmp(other));
    let best: Vec<usize> = order.into_iter().map(|(_, place)| place).take(keep).collect();
    let (mut kept, mut left) = (Vec::new(), Vec::new());
    for (place, (contender, fate)) in trained.into_iter().enumerate() {
        match best.contains(&place) {
            true => kept.push(contender),
            false => left.push((contender, fate)),
        }
    }
    (kept, left)
}

/// Says what became of the points of a training that does not go on.
fn leave(contender: &Contender, fate: Fate, trials: &Trials) {
    let state = match fate {
        Fate::Paused { step, loss } => TrialState::StoppedEarly { step, loss },
        Fate::Failed { error } => TrialState::Failed { error },
    };
    for point in &contender.points {
        let mut trial = trials.begin(point);
        // No point came further than its training.
        trial.name(&contender.prepared.keys[..=contender.training]);
        trial.seconds = contender.seconds;
        trial.state = state.clone();
        trials.end(trial, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(trainings: usize, total: usize, eta: usize, min_steps: Option<usize>) -> Vec<(usize, usize)> {
        rounds(trainings, total, eta, min_steps).iter().map(|round| (round.step, round.keep)).collect()
    }

    #[test]
    fn the_last_round_before_the_end_leaves_one() {
        assert_eq!(of(4, 100, 2, None), [(25, 2), (50, 1)]);
        assert_eq!(of(4, 100, 3, None), [(34, 1)]);
        assert_eq!(of(27, 81, 3, None), [(3, 9), (9, 3), (27, 1)]);
        assert_eq!(of(10, 30, 3, Some(4)), [(4, 3), (12, 1)]);
        assert_eq!(of(9, 10, 3, Some(5)), [(5, 3)], "a round with all steps is no round");
        assert_eq!(of(3, 1, 3, None), []);
        assert_eq!(of(1, 100, 3, None), []);
    }
}
