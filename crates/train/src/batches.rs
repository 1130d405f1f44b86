//! Which samples make which micro-batch, and how many steps there are.

use crate::error::TrainError;
use crate::rng;
use olive_config::canonical::{Sampling, TrainingArgs};
use std::ops::Range;

/// The order of the samples over all epochs: a function of the seed, so that a run can go on from any micro-batch.
///
/// Micro-batches are numbered through all epochs. As in transformers since 4.52, every epoch begins with a new optimiser
/// step, so that the last step of an epoch has the micro-batches that are left.
#[derive(Debug, Clone)]
pub struct BatchPlan {
    lengths: Vec<usize>,
    batch_size: usize,
    accumulation: usize,
    seed: u64,
    sampling: Sampling,
    per_epoch: usize,
    /// The last epoch that was asked for, and its order.
    current: Option<(usize, Vec<usize>)>,
}

impl BatchPlan {
    /// For samples of these lengths.
    ///
    /// # Errors
    /// [`TrainError::NoBatches`], or an option that must be positive.
    pub fn new(lengths: Vec<usize>, args: &TrainingArgs) -> Result<BatchPlan, TrainError> {
        let batch_size = args.per_device_train_batch_size;
        positive("per_device_train_batch_size", batch_size)?;
        positive("gradient_accumulation_steps", args.gradient_accumulation_steps)?;
        let per_epoch = if args.dataloader_drop_last {
            lengths.len() / batch_size
        } else {
            lengths.len().div_ceil(batch_size)
        };
        if per_epoch == 0 {
            return Err(TrainError::NoBatches { samples: lengths.len(), batch_size });
        }
        Ok(BatchPlan {
            lengths,
            batch_size,
            accumulation: args.gradient_accumulation_steps,
            seed: args.seed,
            sampling: args.sampling,
            per_epoch,
            current: None,
        })
    }

    /// Optimiser steps of an epoch.
    fn steps_per_epoch(&self) -> usize {
        self.per_epoch.div_ceil(self.accumulation)
    }

    /// Numbers of the micro-batches of optimiser step `step`, counted from 0.
    pub fn batches(&self, step: usize) -> Range<usize> {
        self.batches_before(step)..self.batches_before(step + 1)
    }

    /// Micro-batches of the first `steps` optimiser steps.
    fn batches_before(&self, steps: usize) -> usize {
        let (epochs, rest) = (steps / self.steps_per_epoch(), steps % self.steps_per_epoch());
        epochs * self.per_epoch + rest * self.accumulation
    }

    /// Optimiser steps of the whole training: `max_steps`, or `⌈num_train_epochs · ⌈batches / accumulation⌉⌉`.
    pub fn total_steps(&self, args: &TrainingArgs) -> usize {
        args.max_steps
            .filter(|n| *n > 0)
            .unwrap_or_else(|| (args.num_train_epochs * self.steps_per_epoch() as f64).ceil() as usize)
    }

    /// Passes over the data after so many steps.
    pub fn epochs(&self, steps: usize) -> f64 {
        self.batches_before(steps) as f64 / self.per_epoch as f64
    }

    /// Whether step `step`, counted from 0, is the last of its epoch.
    pub(crate) fn ends_epoch(&self, step: usize) -> bool {
        (step + 1).is_multiple_of(self.steps_per_epoch())
    }

    /// Numbers of the samples of micro-batch `index`.
    pub fn rows(&mut self, index: usize) -> Vec<usize> {
        let (epoch, batch) = (index / self.per_epoch, index % self.per_epoch);
        if self.current.as_ref().is_none_or(|(known, _)| *known != epoch) {
            self.current = Some((epoch, self.order(epoch)));
        }
        let (_, order) = self.current.as_ref().expect("just filled");
        let start = batch * self.batch_size;
        order[start..(start + self.batch_size).min(order.len())].to_vec()
    }

    fn order(&self, epoch: usize) -> Vec<usize> {
        let n = self.lengths.len();
        if self.sampling == Sampling::Sequential {
            return (0..n).collect();
        }
        let mut order = rng::permutation(&mut rng::stream(self.seed, "shuffle", &[&epoch]), n);
        if self.sampling == Sampling::GroupByLength {
            // transformers' `get_length_grouped_indices`: sort within mega-batches, the longest sample first of all, so
            // that a run that does not fit in memory fails at once.
            let batch = self.batch_size * self.accumulation;
            let mega = (n / (4 * batch)).clamp(1, 50) * batch;
            for part in order.chunks_mut(mega) {
                part.sort_by_key(|i| std::cmp::Reverse(self.lengths[*i]));
            }
            let starts: Vec<usize> = (0..n).step_by(mega).collect();
            let longest = starts.into_iter().max_by_key(|i| (self.lengths[order[*i]], std::cmp::Reverse(*i)));
            order.swap(0, longest.unwrap_or(0));
        }
        order
    }
}

fn positive(name: &'static str, value: usize) -> Result<(), TrainError> {
    if value > 0 {
        return Ok(());
    }
    Err(TrainError::BadOption { name, value: value.to_string(), expected: "it must be at least 1" })
}
