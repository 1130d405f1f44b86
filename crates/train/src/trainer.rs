//! Single optimiser steps on explicit micro-batches.

use crate::error::TrainError;
use crate::optimiser::{AdamW, AdamWOptions};
use crate::rng;
use candle_core::Tensor;
use olive_core::Result;
use olive_core::cancel::CancelFlag;
use olive_data::MicroBatch;
use olive_decoder::training_mode::{DropoutKey, NoiseKey};
use olive_decoder::{Decoder, LoraGradients, TrainingMode};

/// What a step depends on beside its data and its learning rate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrainerOptions {
    pub adamw: AdamWOptions,
    /// Gradients are scaled down to this Euclidean norm; 0 switches that off.
    pub max_grad_norm: f64,
    /// Share of the values that are zeroed at the inputs of the adapter branches, in [0, 1).
    pub dropout: f64,
    pub gradient_checkpointing: bool,
    /// Strength of NEFTune's noise on embeddings; 0 switches that off.
    pub neftune_noise_alpha: f64,
    pub seed: u64,
}

/// A decoder with an adapter under training.
pub struct Trainer {
    pub decoder: Decoder,
    pub optimiser: AdamW,
    pub options: TrainerOptions,
    /// Loss of the first step, against which a later one counts as diverged.
    pub(crate) first_loss: Option<f64>,
    /// The parameters as they were at the best evaluation, in the order of `Decoder::parameters`.
    pub(crate) best: Option<Vec<Tensor>>,
}

/// What happened in one step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepReport {
    /// Mean cross-entropy over the labels of the step, by their weights.
    pub loss: f64,
    /// Euclidean norm of all gradients, before clipping.
    pub grad_norm: f64,
    /// Tokens that went through, padding not counted.
    pub tokens: usize,
    /// Labels that counted.
    pub labels: usize,
}

impl Trainer {
    /// `decoder` carries the adapter to train.
    ///
    /// # Errors
    /// The device has no room for the optimiser's state.
    pub fn new(decoder: Decoder, options: TrainerOptions) -> Result<Trainer> {
        let optimiser = AdamW::new(options.adamw, &decoder)?;
        Ok(Trainer { decoder, optimiser, options, first_loss: None, best: None })
    }

    /// Remembers the present parameters as the best ones. No values are copied: the optimiser replaces tensors.
    pub(crate) fn keep_as_best(&mut self) {
        self.best = Some(self.decoder.parameters().map(|(_, value)| value.clone()).collect());
    }

    /// Replaces the present parameters by the best ones, if some were remembered.
    ///
    /// # Errors
    /// A device error.
    pub(crate) fn restore_best(&mut self) -> Result<()> {
        let Some(best) = self.best.take() else { return Ok(()) };
        self.decoder.parameters_mut(None).zip(best).for_each(|(parameter, best)| *parameter.value = best);
        self.decoder.refresh()
    }

    /// Steps done.
    pub fn steps(&self) -> usize {
        self.optimiser.steps
    }

    /// Mean loss over all labels of the micro-batches, and its gradients: a token weighs as its sample says, however the
    /// batch is cut.
    ///
    /// # Errors
    /// No label that counts, a raised `cancel`, or a device error.
    pub fn gradients(&self, batches: &[MicroBatch], cancel: &CancelFlag) -> Result<(f64, LoraGradients)> {
        let labels: usize = batches.iter().map(|b| b.labels).sum();
        if labels == 0 {
            return Err(TrainError::NoLabels { rows: rows(batches) }.into());
        }
        let factor = 1.0 / batches.iter().map(|b| b.weight).sum::<f64>();
        let mut gradients = LoraGradients::new(self.decoder.lora().len());
        let mut sum = 0.0;
        for (index, batch) in batches.iter().enumerate().filter(|(_, b)| b.labels > 0) {
            cancel.check()?;
            let dropout = (self.options.dropout > 0.0).then(|| DropoutKey {
                rate: self.options.dropout,
                key: rng::key(self.options.seed, "dropout", &[&self.steps(), &index]),
            });
            let alpha = self.options.neftune_noise_alpha;
            let noise = (alpha > 0.0).then(|| NoiseKey {
                alpha,
                key: rng::key(self.options.seed, "neftune", &[&self.steps(), &index]),
            });
            let checkpointing = self.options.gradient_checkpointing;
            let mode = TrainingMode { checkpointing, dropout, noise };
            let loss = self.decoder.loss_and_gradients(
                &batch.tokens,
                batch.loss_targets(),
                factor,
                mode,
                &mut gradients,
            )?;
            sum += loss.sum;
        }
        Ok((sum * factor, gradients))
    }

    /// Whether a loss is finite and at most three times the first one, or three times ln(vocab), the loss of a uniform
    /// prediction, where that is more.
    fn is_sane(&self, loss: f64) -> bool {
        let start = self.first_loss.unwrap_or(loss).max((self.decoder.spec.vocab_size as f64).ln());
        loss.is_finite() && loss <= 3.0 * start
    }

    /// Checks the loss of an evaluation: a step checks the loss before its update only.
    ///
    /// # Errors
    /// [`TrainError::Diverged`].
    pub(crate) fn check_evaluation(&self, loss: f64) -> Result<(), TrainError> {
        let diverged = || TrainError::Diverged {
            step: self.steps(),
            rows: Vec::new(),
            what: "the evaluation loss",
            value: loss,
        };
        if self.steps() == 0 || self.is_sane(loss) { Ok(()) } else { Err(diverged()) }
    }

    /// Checks the loss on the first micro-batch with labels after the last step, for a training without evaluation.
    ///
    /// # Errors
    /// [`TrainError::Diverged`], a raised `cancel`, or a device error.
    pub(crate) fn check_last_step(&self, batches: &[MicroBatch], cancel: &CancelFlag) -> Result<()> {
        for batch in batches.iter().filter(|b| b.labels > 0).take(1) {
            cancel.check()?;
            let loss = self.decoder.loss(&batch.tokens, batch.loss_targets())?;
            let mean = loss.sum / batch.weight;
            if !self.is_sane(mean) {
                let (step, what, value) = (self.steps(), "the loss after it", mean);
                return Err(TrainError::Diverged { step, rows: batch.rows.clone(), what, value }.into());
            }
        }
        Ok(())
    }

    /// One optimiser step.
    ///
    /// # Errors
    /// As [`Trainer::gradients`], and [`TrainError::Diverged`]; the adapter is then as before.
    pub fn step(
        &mut self,
        batches: &[MicroBatch],
        learning_rate: f64,
        cancel: &CancelFlag,
    ) -> Result<StepReport> {
        let (loss, gradients) = self.gradients(batches, cancel)?;
        let grad_norm = gradients.norm()?;
        let diverged =
            |what, value| TrainError::Diverged { step: self.steps() + 1, rows: rows(batches), what, value };
        if !self.is_sane(loss) {
            return Err(diverged("the loss", loss).into());
        }
        // Where activations overflow, norms give zeros: the loss looks sound, but nothing depends on the parameters any more.
        if !grad_norm.is_finite() || (grad_norm == 0.0 && loss > 0.1) {
            return Err(diverged("the gradient norm", grad_norm).into());
        }
        self.first_loss.get_or_insert(loss);
        let limit = self.options.max_grad_norm;
        // torch's `clip_grad_norm_`.
        let clip = if limit > 0.0 { (limit / (grad_norm + 1e-6)).min(1.0) } else { 1.0 };
        self.optimiser.step(&mut self.decoder, &gradients, clip, learning_rate)?;
        Ok(StepReport {
            loss,
            grad_norm,
            tokens: batches.iter().map(|b| b.real_tokens).sum(),
            labels: batches.iter().map(|b| b.labels).sum(),
        })
    }
}

fn rows(batches: &[MicroBatch]) -> Vec<usize> {
    batches.iter().flat_map(|b| b.rows.iter().copied()).collect()
}
