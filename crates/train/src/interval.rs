//! Intervals of optimiser steps, as `logging_steps`, `eval_steps` and `save_steps` give them.

/// The steps from one event to the next: `every`, or its share of `total` steps, rounded up, when it is below 1; at least 1.
pub(crate) fn steps_between(every: f64, total: usize) -> usize {
    let steps = if every < 1.0 { (every * total as f64).ceil() } else { every };
    (steps as usize).max(1)
}
