//! Learning rate over the steps, by transformers' formulas (`optimization.py`).

use crate::config::canonical::{Scheduler, TrainingArgs};

/// The learning rate of every step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule {
    kind: Scheduler,
    base: f64,
    warmup: usize,
    total: usize,
}

impl Schedule {
    /// Warm-up is `warmup_steps`, or `⌈warmup_ratio · total⌉` where that is 0.
    pub fn new(args: &TrainingArgs, total: usize) -> Schedule {
        let warmup = match args.warmup_steps {
            0 => (total as f64 * args.warmup_ratio).ceil() as usize,
            steps => steps,
        };
        Schedule { kind: args.lr_scheduler_type, base: args.learning_rate, warmup, total }
    }

    /// The rate that optimiser step `step`, counted from 0, uses.
    pub fn learning_rate(&self, step: usize) -> f64 {
        self.base * self.factor(step)
    }

    fn factor(&self, step: usize) -> f64 {
        if self.kind == Scheduler::Constant {
            return 1.0;
        }
        if step < self.warmup {
            return step as f64 / self.warmup.max(1) as f64;
        }
        let rest = self.total.saturating_sub(self.warmup).max(1) as f64;
        match self.kind {
            Scheduler::Constant | Scheduler::ConstantWithWarmup => 1.0,
            Scheduler::Linear => (self.total.saturating_sub(step) as f64 / rest).max(0.0),
            Scheduler::Cosine => {
                let progress = (step - self.warmup) as f64 / rest;
                (0.5 * (1.0 + (std::f64::consts::PI * progress).cos())).max(0.0)
            }
        }
    }
}
