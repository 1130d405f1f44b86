//! How long the first batch takes, by Olive's definition.

use super::losses::{Pass, check_lengths};
use super::{EvaluateError, Subject, Work};
use olive_config::Statistic;
use olive_core::Result;
use olive_data::Dataset;
use olive_decoder::{LanguageModel, Scored, ScoringModel};
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

    /// In seconds. Quantiles lie between two measurements as far as their rank does (numpy's `linear`).
    fn statistic(&self, statistic: Statistic) -> f64 {
        let Some(share) = statistic.quantile() else {
            return self.seconds.iter().sum::<f64>() / self.seconds.len() as f64;
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

/// Tokens that mean nothing, after others that the cache holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DummyTokens {
    /// Tokens in the cache.
    pub past: usize,
    /// Tokens of the forward pass.
    pub tokens: usize,
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
    repeated(batch_size, repetition, work, || {
        let start = Instant::now();
        match pass.loss(batch, work.cancel)? {
            (_, 0) => Err(EvaluateError::NoLabels { samples: batch.len() }.into()),
            _ => Ok(start.elapsed()),
        }
    })
}

/// Computes the logits of tokens that follow others, for `batch_size` sequences one after the other. What is before them is
/// brought into the cache while no time is taken.
///
/// # Errors
/// More tokens than the model's context holds, no run that counts, a raised flag, or a failed computation.
pub fn dummy_latency(
    subject: &Subject,
    input: DummyTokens,
    batch_size: usize,
    repetition: Repetition,
    work: Work<'_>,
) -> Result<Latencies> {
    /// Which vocabularies of two tokens and more have.
    const TOKEN: u32 = 1;
    let (model, DummyTokens { past, tokens }) = (subject.model(), input);
    let (length, context) = (past.saturating_add(tokens), model.context_length());
    if length > context {
        return Err(EvaluateError::DummyTooLong { past, tokens, context }.into());
    }
    let mut sequence = model.new_sequence()?;
    model.reserve(&mut sequence, length)?;
    let (before, tokens, targets) = (vec![TOKEN; past], vec![TOKEN; tokens], vec![TOKEN as i32; tokens]);
    let scored = Scored { tokens: &tokens, targets: &targets, sequence_length: length };
    repeated(batch_size, repetition, work, || {
        let mut taken = Duration::ZERO;
        for _ in 0..batch_size {
            let kept = model.truncate(&mut sequence, past)?;
            if kept < past {
                model.feed(&mut sequence, &before[kept..])?;
            }
            let start = Instant::now();
            model.score(&mut sequence, scored, work.cancel)?;
            taken += start.elapsed();
        }
        Ok(taken)
    })
}

/// Runs something as often as it is wanted, and keeps the times that it gives.
fn repeated(
    batch_size: usize,
    repetition: Repetition,
    work: Work<'_>,
    mut batch: impl FnMut() -> Result<Duration>,
) -> Result<Latencies> {
    let Repetition { warm_up, repeat, sleep } = repetition;
    let mut seconds = Vec::with_capacity(repeat);
    work.phase(warm_up + repeat, |run| {
        let taken = batch()?;
        if run >= warm_up {
            seconds.push(taken.as_secs_f64());
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
