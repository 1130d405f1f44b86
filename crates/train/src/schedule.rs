//! Learning rate over the steps, by transformers' formulas (`optimization.py`).

use olive_config::canonical::{Ramp, Scheduler, SchedulerOptions, TrainingArgs};
use std::f64::consts::PI;

/// The learning rate of every step, as far as it is a function of the step.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    kind: Scheduler,
    options: SchedulerOptions,
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
        let options = args.lr_scheduler_kwargs.clone();
        Schedule { kind: args.lr_scheduler_type, options, base: args.learning_rate, warmup, total }
    }

    /// The rate that optimiser step `step`, counted from 0, uses.
    pub fn learning_rate(&self, step: usize) -> f64 {
        self.base * self.factor(step)
    }

    fn factor(&self, step: usize) -> f64 {
        let o = &self.options;
        match self.kind {
            // The plateau's own reductions are in `Plateau`.
            Scheduler::Constant | Scheduler::ReduceLrOnPlateau => 1.0,
            Scheduler::ConstantWithWarmup => self.after_warmup(step, |_| 1.0),
            Scheduler::Linear => {
                let left = self.total.saturating_sub(step) as f64;
                self.after_warmup(step, |_| (left / self.steps_after_warmup()).max(0.0))
            }
            Scheduler::Cosine => self.after_warmup(step, |progress| self.cosine(progress).max(0.0)),
            Scheduler::CosineWithRestarts => self.after_warmup(step, |progress| {
                let phase = (o.num_cycles.unwrap_or(1.0) * progress) % 1.0;
                if progress >= 1.0 { 0.0 } else { (0.5 * (1.0 + (PI * phase).cos())).max(0.0) }
            }),
            Scheduler::CosineWithMinLr => {
                self.after_warmup(step, |progress| self.above_minimum(self.cosine(progress)))
            }
            Scheduler::CosineWarmupWithMinLr => self.cosine_from_above_zero(step),
            Scheduler::Polynomial => self.after_warmup(step, |progress| self.polynomial(step, progress)),
            Scheduler::InverseSqrt => self.after_warmup(step, |_| {
                let default = if self.warmup == 0 { 10_000.0 } else { self.warmup as f64 };
                let timescale = o.timescale.unwrap_or(default);
                let shift = timescale - self.warmup as f64;
                ((step as f64 + shift) / timescale).sqrt().recip()
            }),
            Scheduler::WarmupStableDecay => self.warmup_stable_decay(step),
        }
    }

    /// A linear rise from 0 during the warm-up, then `factor` of the share of the remaining steps that is done.
    fn after_warmup(&self, step: usize, factor: impl FnOnce(f64) -> f64) -> f64 {
        if step < self.warmup {
            return step as f64 / self.warmup.max(1) as f64;
        }
        factor((step - self.warmup) as f64 / self.steps_after_warmup())
    }

    fn steps_after_warmup(&self) -> f64 {
        self.total.saturating_sub(self.warmup).max(1) as f64
    }

    fn polynomial(&self, step: usize, progress: f64) -> f64 {
        let end = self.options.lr_end.unwrap_or(1e-7);
        if step > self.total {
            return end / self.base;
        }
        let left = (1.0 - progress).powf(self.options.power.unwrap_or(1.0));
        ((self.base - end) * left + end) / self.base
    }

    /// `num_cycles` waves of a cosine over `progress` from 0 to 1; by default half a wave, from 1 to 0.
    fn cosine(&self, progress: f64) -> f64 {
        let cycles = self.options.num_cycles.unwrap_or(0.5);
        0.5 * (1.0 + (PI * cycles * 2.0 * progress).cos())
    }

    fn above_minimum(&self, factor: f64) -> f64 {
        let o = &self.options;
        let minimum = o.min_lr.map_or(o.min_lr_rate.unwrap_or(0.0), |lr| lr / self.base);
        (factor * (1.0 - minimum) + minimum).max(0.0)
    }

    /// `cosine_warmup_with_min_lr`: neither the first step nor the last has the rate 0.
    fn cosine_from_above_zero(&self, step: usize) -> f64 {
        let (now, warmup) = (step as f64, self.warmup as f64);
        if step < self.warmup {
            return match self.options.warmup_lr_rate {
                None => (now + 1.0) / warmup.max(1.0),
                Some(first) => first + (1.0 - first) * now / (warmup - 1.0).max(1.0),
            };
        }
        let progress = (now - warmup + 1.0) / (self.total as f64 - warmup).max(1.0);
        self.above_minimum(self.cosine(progress))
    }

    fn warmup_stable_decay(&self, step: usize) -> f64 {
        let o = &self.options;
        let minimum = o.min_lr_ratio.unwrap_or(0.0);
        let above = |factor: f64| (factor * (1.0 - minimum) + minimum).max(0.0);
        let decay = o.num_decay_steps.unwrap_or(0);
        let stable = o.num_stable_steps.unwrap_or(self.total.saturating_sub(self.warmup + decay));
        if step < self.warmup {
            let progress = step as f64 / self.warmup.max(1) as f64;
            return above(match o.warmup_type.unwrap_or(Ramp::Linear) {
                Ramp::Linear => progress,
                Ramp::Cosine => 0.5 * (1.0 - (PI * progress).cos()),
                Ramp::OneMinusSqrt => 1.0 - (1.0 - progress).sqrt(),
            });
        }
        if step < self.warmup + stable {
            return 1.0;
        }
        if step >= self.warmup + stable + decay {
            return minimum;
        }
        let progress = (step - self.warmup - stable) as f64 / decay.max(1) as f64;
        above(match o.decay_type.unwrap_or(Ramp::Cosine) {
            Ramp::Linear => 1.0 - progress,
            Ramp::Cosine => self.cosine(progress),
            Ramp::OneMinusSqrt => 1.0 - progress.sqrt(),
        })
    }
}
