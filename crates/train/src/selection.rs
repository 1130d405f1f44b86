//! What evaluations decide: which state is the best so far, and whether to stop.

use olive_config::canonical::Selection;
use serde::{Deserialize, Serialize};

/// The lowest evaluation loss, and after which step it was.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Best {
    pub step: usize,
    pub loss: f64,
}

/// What the evaluations so far came to.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, Default)]
pub struct Standing {
    /// Step of the last evaluation that counted.
    pub judged: Option<usize>,
    pub best: Option<Best>,
    /// Evaluations in a row without progress.
    pub stale: usize,
    /// There were too many of these.
    pub stopped: bool,
}

impl Standing {
    /// Counts an evaluation, by the rules of transformers' Trainer and `EarlyStoppingCallback`. True if it is better than
    /// all before.
    pub fn judge(&mut self, step: usize, loss: f64, selection: &Selection) -> bool {
        self.judged = Some(step);
        let better = self.best.is_none_or(|best| loss < best.loss);
        let progress =
            self.best.is_none_or(|best| better && best.loss - loss > selection.early_stopping_threshold);
        self.stale = if progress { 0 } else { self.stale + 1 };
        self.stopped |= selection.early_stopping_patience.is_some_and(|patience| self.stale >= patience);
        if better {
            self.best = Some(Best { step, loss });
        }
        better
    }
}
