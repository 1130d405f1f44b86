//! `reduce_lr_on_plateau`: torch's `ReduceLROnPlateau` on the evaluation loss.

use olive_config::canonical::SchedulerOptions;
use serde::{Deserialize, Serialize};

/// State of the scheduler between evaluations.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, Default)]
pub struct Plateau {
    /// The rate after the last reduction; `None` before the first.
    rate: Option<f64>,
    /// Lowest loss that counted as progress.
    best: Option<f64>,
    /// Evaluations in a row without progress.
    bad: usize,
    /// Evaluations that are still ignored after a reduction.
    cooldown: usize,
}

impl Plateau {
    /// The rate now; `base` is the one before any reduction.
    pub fn learning_rate(&self, base: f64) -> f64 {
        self.rate.unwrap_or(base)
    }

    /// Counts an evaluation and reduces the rate if there were too many without progress.
    pub fn evaluated(&mut self, loss: f64, base: f64, options: &SchedulerOptions) {
        let threshold = options.threshold.unwrap_or(1e-4);
        if self.best.is_none_or(|best| loss < best * (1.0 - threshold)) {
            self.best = Some(loss);
            self.bad = 0;
        } else {
            self.bad += 1;
        }
        if self.cooldown > 0 {
            self.cooldown -= 1;
            self.bad = 0;
        }
        if self.bad > options.patience.unwrap_or(10) {
            let old = self.learning_rate(base);
            let new = (old * options.factor.unwrap_or(0.1)).max(options.min_lr.unwrap_or(0.0));
            if old - new > options.eps.unwrap_or(1e-8) {
                self.rate = Some(new);
            }
            self.cooldown = options.cooldown.unwrap_or(0);
            self.bad = 0;
        }
    }
}
