//! Negative log-likelihood of the labels of a dataset.

use super::{Subject, Work};
use olive_core::Result;
use olive_data::Dataset;

/// What a model makes of the labels of a dataset, all of equal weight.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct TokenLosses {
    /// Sum of −ln p(label), in nats.
    pub sum_nll: f64,
    /// Labels that count.
    pub tokens: u64,
    /// Samples that were looked at.
    pub samples: u64,
}

impl TokenLosses {
    /// −ln p(label), in nats, in the mean over all labels.
    pub fn mean(&self) -> f64 {
        self.sum_nll / self.tokens as f64
    }

    /// e to the mean: Olive's `perplexity`.
    pub fn perplexity(&self) -> f64 {
        self.mean().exp()
    }
}

/// Computes the losses of `dataset`; `what` completes "evaluate …" for those who watch.
///
/// # Errors
/// No label that counts, a sample that the model's context does not hold, a loss that is no number, a raised flag, or a
/// failed computation.
#[expect(clippy::todo, reason = "a skeleton")]
pub fn losses(subject: &Subject, dataset: &Dataset, what: &str, work: Work<'_>) -> Result<TokenLosses> {
    todo!("{:?} {} {what} {}", subject.handle(), dataset.rows, work.cancel.is_raised())
}
