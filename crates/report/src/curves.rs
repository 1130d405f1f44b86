//! The curves of a training.

use olive_engine::record::Metric;

/// Points that a curve has at most: more cannot be told apart in the width of a page.
const MOST_POINTS: usize = 400;

/// A value over optimiser steps.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Curve {
    pub(crate) points: Vec<(f64, f64)>,
}

/// What a pass trained.
pub(crate) struct Training<'a> {
    pub(crate) pass: &'a str,
    pub(crate) loss: Curve,
    pub(crate) held_out: Curve,
    pub(crate) learning_rate: Curve,
    pub(crate) gradient_norm: Curve,
    pub(crate) tokens_per_second: Curve,
}

/// The trainings of a run, in their order.
pub(crate) fn trainings(metrics: &[Metric]) -> Vec<Training<'_>> {
    let mut trainings: Vec<Training> = Vec::new();
    for metric in metrics {
        let (Metric::Train { pass, .. } | Metric::Eval { pass, .. }) = metric;
        let index = trainings.iter().position(|training| training.pass == pass).unwrap_or_else(|| {
            trainings.push(Training::new(pass));
            trainings.len() - 1
        });
        trainings[index].add(metric);
    }
    trainings.iter_mut().for_each(Training::thin);
    trainings
}

impl Training<'_> {
    fn new(pass: &str) -> Training<'_> {
        let curve = Curve::default;
        Training {
            pass,
            loss: curve(),
            held_out: curve(),
            learning_rate: curve(),
            gradient_norm: curve(),
            tokens_per_second: curve(),
        }
    }

    fn add(&mut self, metric: &Metric) {
        match *metric {
            Metric::Train { step, loss, learning_rate, grad_norm, tokens_per_second, .. } => {
                self.loss.add(step, loss);
                self.learning_rate.add(step, learning_rate);
                self.gradient_norm.add(step, grad_norm);
                self.tokens_per_second.add(step, tokens_per_second);
            }
            Metric::Eval { step, loss, .. } => self.held_out.add(step, loss),
        }
    }

    fn thin(&mut self) {
        let Training { loss, held_out, learning_rate, gradient_norm, tokens_per_second, .. } = self;
        for curve in [loss, held_out, learning_rate, gradient_norm, tokens_per_second] {
            curve.thin(MOST_POINTS);
        }
    }
}

impl Curve {
    /// A run that goes on after an interruption may give a step again: the later value counts. What is no number is left out.
    fn add(&mut self, step: usize, value: f64) {
        let step = step as f64;
        while self.points.last().is_some_and(|(last, _)| *last >= step) {
            self.points.pop();
        }
        if value.is_finite() {
            self.points.push((step, value));
        }
    }

    /// Leaves at most `most` points: of every part of the curve the lowest and the highest, so that no peak is lost.
    fn thin(&mut self, most: usize) {
        if self.points.len() <= most {
            return;
        }
        let part = self.points.len().div_ceil(most / 2);
        let extremes = |part: &[(f64, f64)]| {
            let by_value = |a: &&(f64, f64), b: &&(f64, f64)| a.1.total_cmp(&b.1);
            let (low, high) = (part.iter().min_by(by_value), part.iter().max_by(by_value));
            let mut kept: Vec<(f64, f64)> = low.into_iter().chain(high).copied().collect();
            kept.sort_by(|a, b| a.0.total_cmp(&b.0));
            kept.dedup();
            kept
        };
        self.points = self.points.chunks(part).flat_map(extremes).collect();
    }

    pub(crate) fn last(&self) -> Option<f64> {
        self.points.last().map(|(_, value)| *value)
    }

    pub(crate) fn lowest(&self) -> Option<f64> {
        self.points.iter().map(|(_, value)| *value).min_by(f64::total_cmp)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peaks_outlive_thinning_and_steps_that_were_run_again_count_once() {
        let mut curve = Curve::default();
        for step in 1..=10_000 {
            curve.add(step, if step == 7_001 { 99.0 } else { 1.0 / step as f64 });
        }
        curve.thin(MOST_POINTS);
        assert!(curve.points.len() <= MOST_POINTS && curve.points.contains(&(7001.0, 99.0)));
        assert!(curve.points.is_sorted_by(|a, b| a.0 < b.0));
        for (step, value) in [(1, 5.0), (2, 4.0), (3, 3.0), (2, 4.5), (3, f64::NAN), (4, 2.0)] {
            curve = if step == 1 && value == 5.0 { Curve::default() } else { curve };
            curve.add(step, value);
        }
        assert_eq!(curve.points, [(1.0, 5.0), (2.0, 4.5), (4.0, 2.0)]);
        assert_eq!((curve.last(), curve.lowest()), (Some(2.0), Some(2.0)));
    }
}
