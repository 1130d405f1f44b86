//! What evaluations decide: which state is the best so far, and whether to stop.

use olive_config::canonical::Selection;
use serde::{Deserialize, Serialize};

/// The lowest evaluation loss, and after which step it was.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Best {
    pub step: usize,
    pub loss: f64,
}

/// State of model selection and early stopping: what follows from the evaluations so far.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, Default)]
pub struct Standing {
    /// Step of the last evaluation that was judged.
    pub judged: Option<usize>,
    pub best: Option<Best>,
    /// Evaluations in a row that were not better than the best by more than the threshold.
    pub stale: usize,
    /// `stale` has reached the patience of early stopping.
    pub stopped: bool,
}

impl Standing {
    /// Judges the evaluation after `step`, by the rules of transformers' Trainer and `EarlyStoppingCallback`. True if it is better than
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
