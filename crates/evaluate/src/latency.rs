//! How long the first batch takes, by Olive's definition.

use super::losses::{Pass, check_lengths};
use super::{EvaluateError, Subject, Work};
use olive_core::Result;
use olive_data::Dataset;
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

/// How often the batch is computed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Repetition {
    /// Runs before the first that counts.
    pub warm_up: usize,
    /// Runs that count.
    pub repeat: usize,
    /// Rest after every run.
    pub sleep: Duration,
}

impl Default for Repetition {
    /// Olive's.
    fn default() -> Repetition {
        Repetition { warm_up: 10, repeat: 20, sleep: Duration::ZERO }
    }
}

/// What is told of many measurements, by Olive's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Statistic {
    Avg,
    Max,
    Min,
    P50,
    P75,
    P90,
    P95,
    P99,
    P999,
}

/// Times of the runs that count.
#[derive(Debug, Clone, PartialEq)]
pub struct Latencies {
    /// Seconds, in the order of the runs; at least one.
    seconds: Vec<f64>,
    batch_size: usize,
}

impl Latencies {
    /// `None` without any time.
    pub fn new(seconds: Vec<f64>, batch_size: usize) -> Option<Latencies> {
        (!seconds.is_empty()).then_some(Latencies { seconds, batch_size })
    }

    /// In milliseconds, rounded to 5 decimals as Olive does.
    pub fn milliseconds(&self, statistic: Statistic) -> f64 {
        rounded(self.statistic(statistic) * 1e3)
    }

    /// Samples per second, rounded to 5 decimals as Olive does: of the batch that took so long. The smallest throughput is that of the
    /// longest time; a percentile is that of the times.
    pub fn throughput(&self, statistic: Statistic) -> f64 {
        let of_times = match statistic {
            Statistic::Max => Statistic::Min,
            Statistic::Min => Statistic::Max,
            other => other,
        };
        rounded(self.batch_size as f64 / self.milliseconds(of_times) * 1e3)
    }

    /// In seconds. Percentiles lie between two measurements as far as their rank does (numpy's `linear`).
    fn statistic(&self, statistic: Statistic) -> f64 {
        let share = match statistic {
            Statistic::Avg => return self.seconds.iter().sum::<f64>() / self.seconds.len() as f64,
            Statistic::Min => 0.0,
            Statistic::P50 => 0.5,
            Statistic::P75 => 0.75,
            Statistic::P90 => 0.9,
            Statistic::P95 => 0.95,
            Statistic::P99 => 0.99,
            Statistic::P999 => 0.999,
            Statistic::Max => 1.0,
        };
        let mut sorted = self.seconds.clone();
        sorted.sort_by(f64::total_cmp);
        let rank = share * (sorted.len() - 1) as f64;
        let below = rank.floor() as usize;
        let above = (below + 1).min(sorted.len() - 1);
        sorted[below] + (sorted[above] - sorted[below]) * (rank - below as f64)
    }
}

fn rounded(value: f64) -> f64 {
    (value * 1e5).round() / 1e5
}

/// Computes the first `batch_size` samples again and again, as [`super::losses()`] does.
///
/// # Errors
/// As [`super::losses()`], or no run that counts.
pub fn latency(
    subject: &Subject,
    dataset: &Dataset,
    batch_size: usize,
    repetition: Repetition,
    work: Work<'_>,
) -> Result<Latencies> {
    let batch = &dataset.samples[..batch_size.min(dataset.samples.len())];
    check_lengths(batch, subject.model().context_length())?;
    let mut pass = Pass::new(subject)?;
    let Repetition { warm_up, repeat, sleep } = repetition;
    let mut seconds = Vec::with_capacity(repeat);
    work.phase(warm_up + repeat, |run| {
        let start = Instant::now();
        let (_, labels) = pass.loss(batch, work.cancel)?;
        if labels == 0 {
            return Err(EvaluateError::NoLabels { samples: batch.len() }.into());
        }
        if run >= warm_up {
            seconds.push(start.elapsed().as_secs_f64());
        }
        std::thread::sleep(sleep);
        Ok(run + 1)
    })?;
    Latencies::new(seconds, batch_size).ok_or(EvaluateError::NoRepetition.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_are_those_of_numpy() {
        // numpy 2.4: np.percentile of these, times 1000, rounded to 5 decimals.
        let times = Latencies::new(vec![0.03, 0.01, 0.02, 0.05, 0.011], 4).unwrap();
        let of = |s| times.milliseconds(s);
        assert_eq!((of(Statistic::Avg), of(Statistic::Max), of(Statistic::Min)), (24.2, 50.0, 10.0));
        assert_eq!((of(Statistic::P50), of(Statistic::P75), of(Statistic::P90)), (20.0, 30.0, 42.0));
        assert_eq!((of(Statistic::P95), of(Statistic::P99), of(Statistic::P999)), (46.0, 49.2, 49.92));
        let per_second = |s| times.throughput(s);
        assert_eq!((per_second(Statistic::Max), per_second(Statistic::Min)), (400.0, 80.0));
        assert_eq!((per_second(Statistic::Avg), per_second(Statistic::P90)), (165.28926, 95.2381));
        assert_eq!(Latencies::new(vec![0.000_123_456_7], 1).unwrap().milliseconds(Statistic::Avg), 0.12346);
        assert!(Latencies::new(Vec::new(), 1).is_none());
    }
}
