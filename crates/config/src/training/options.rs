//! Options of training that stand in groups: the course of the learning rate, saving, the choice of the best state.

use super::table::TRAINING_ARGS;
use crate::option::Kind;
use crate::statement::OptionValue;
use crate::values::Setting;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// transformers' `TrainingArguments`, as far as they change what is computed here.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TrainingArgs {
    pub seed: u64,
    /// Seed of the hold-out split.
    pub data_seed: u64,
    /// As written, for example `paged_adamw_32bit`; all AdamW spellings mean AdamW with f32 state.
    pub optim: String,
    pub per_device_train_batch_size: usize,
    pub per_device_eval_batch_size: usize,
    pub gradient_accumulation_steps: usize,
    pub gradient_checkpointing: bool,
    pub learning_rate: f64,
    pub weight_decay: f64,
    pub adam_beta1: f64,
    pub adam_beta2: f64,
    pub adam_epsilon: f64,
    pub max_grad_norm: f64,
    pub num_train_epochs: f64,
    /// Positive: overrides the epochs.
    pub max_steps: Option<usize>,
    pub lr_scheduler_type: Scheduler,
    pub lr_scheduler_kwargs: SchedulerOptions,
    /// Learning rate of B relative to that of A (LoRA+).
    pub loraplus_lr_ratio: Option<f64>,
    /// Strength of the noise on embeddings (NEFTune).
    pub neftune_noise_alpha: Option<f64>,
    pub warmup_ratio: f64,
    /// Positive: overrides the ratio.
    pub warmup_steps: usize,
    #[serde(skip)]
    pub logging_steps: usize,
    pub eval_strategy: EvalStrategy,
    /// Optimiser steps between evaluations; in (0, 1) a share of all steps. `None`: `logging_steps`.
    pub eval_steps: Option<f64>,
    pub group_by_length: bool,
    pub dataloader_drop_last: bool,
    pub saving: Saving,
    pub selection: Selection,
}

// The reader of the pass attaches what the object holds.
impl OptionValue for TrainingArgs {
    const KIND: Kind = Kind::Block(&TRAINING_ARGS);

    fn read(setting: &Setting) -> Option<TrainingArgs> {
        setting.object()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EvalStrategy {
    No,
    Steps,
    Epoch,
}

/// `lr_scheduler_type`, by transformers' names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Scheduler {
    Constant,
    ConstantWithWarmup,
    Linear,
    Cosine,
    CosineWithRestarts,
    CosineWithMinLr,
    CosineWarmupWithMinLr,
    Polynomial,
    InverseSqrt,
    WarmupStableDecay,
    ReduceLrOnPlateau,
}

/// `lr_scheduler_kwargs`; what is `None` has the default of the scheduler.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct SchedulerOptions {
    /// Waves of a cosine; restarts of `cosine_with_restarts`.
    pub num_cycles: Option<f64>,
    /// Of `polynomial`.
    pub power: Option<f64>,
    /// Rate at the end of `polynomial`.
    pub lr_end: Option<f64>,
    /// Lowest rate.
    pub min_lr: Option<f64>,
    /// Lowest rate as a share of the peak.
    pub min_lr_rate: Option<f64>,
    /// First rate of `cosine_warmup_with_min_lr` as a share of the peak.
    pub warmup_lr_rate: Option<f64>,
    /// Of `inverse_sqrt`, in steps.
    pub timescale: Option<f64>,
    pub num_stable_steps: Option<usize>,
    pub num_decay_steps: Option<usize>,
    pub warmup_type: Option<Ramp>,
    pub decay_type: Option<Ramp>,
    pub min_lr_ratio: Option<f64>,
    /// On the rate at a plateau.
    pub factor: Option<f64>,
    /// Evaluations without progress before the rate falls.
    pub patience: Option<usize>,
    pub threshold: Option<f64>,
    /// Evaluations after a fall that do not count.
    pub cooldown: Option<usize>,
    pub eps: Option<f64>,
}

/// Shape of a rise or fall of `warmup_stable_decay`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
pub enum Ramp {
    #[serde(rename = "linear")]
    Linear,
    #[serde(rename = "cosine")]
    Cosine,
    #[serde(rename = "1-sqrt")]
    OneMinusSqrt,
}

/// Which states of the adapter are written while training goes on. The result does not depend on it.
#[derive(Debug, Clone, PartialEq, Serialize, Default)]
pub struct Saving {
    pub strategy: SaveStrategy,
    /// Optimiser steps between two; in (0, 1) a share of all steps.
    pub steps: f64,
    /// How many are kept.
    pub total_limit: Option<usize>,
    /// `None`: `checkpoints/` beside the adapter.
    #[serde(skip)]
    pub output_dir: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum SaveStrategy {
    #[default]
    No,
    Steps,
    Epoch,
    /// Whenever an evaluation is better than all before.
    Best,
}

/// What evaluations decide.
#[derive(Debug, Clone, PartialEq, Serialize, Default)]
pub struct Selection {
    /// Keep the state with the lowest evaluation loss instead of the last.
    pub load_best_model_at_end: bool,
    /// Evaluations without progress after which training stops.
    pub early_stopping_patience: Option<usize>,
    /// By how much the loss must fall to count as progress.
    pub early_stopping_threshold: f64,
}
