//! How long steps take, and when the next checkpoint is due.

use std::time::{Duration, Instant};

/// Measures the steps of this process; those of an interrupted run before it do not count.
pub(crate) struct Pace {
    steps: usize,
    seconds: f64,
    saved: Instant,
}

impl Pace {
    pub(crate) fn start() -> Pace {
        Pace { steps: 0, seconds: 0.0, saved: Instant::now() }
    }

    /// Counts a step that took `seconds`.
    pub(crate) fn step(&mut self, seconds: f64) {
        self.steps += 1;
        self.seconds += seconds;
    }

    /// Mean seconds of a step; 0 before the first.
    pub(crate) fn mean(&self) -> f64 {
        self.seconds / self.steps.max(1) as f64
    }

    /// Whether `every` has passed since this was last true, or since the start.
    pub(crate) fn save_due(&mut self, every: Duration) -> bool {
        let due = self.saved.elapsed() >= every;
        if due {
            self.saved = Instant::now();
        }
        due
    }
}
