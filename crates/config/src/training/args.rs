//! `training_args`: transformers' `TrainingArguments`, as far as they change what is computed here.

use super::logging::{LOGGING, Logging};
use super::saving::{SAVING, SELECTION, Saving, Selection};
use super::schedule::{Scheduler, SchedulerOptions};
use super::unused::UNUSED;
use crate::option::DefaultValue::{Json, Null};
use crate::option::{BELOW_ONE, BOOL, Block, Kind, NOT_NEGATIVE, POSITIVE, SHARE, at_least};
use crate::statement::OptionValue;
use crate::values::Setting;
use crate::{choice, options};
use serde::{Deserialize, Serialize, Serializer};

/// All of these mean AdamW with decoupled weight decay; state is kept in float32.
const OPTIMISERS: Kind = Kind::Choice(&[
    "adamw_torch",
    "adamw_torch_fused",
    "adamw_hf",
    "adamw_bnb_8bit",
    "adamw_8bit",
    "adamw",
    "paged_adamw",
    "paged_adamw_32bit",
    "paged_adamw_8bit",
    "adamw_torch_xla",
    "adamw_torch_npu_fused",
    "adamw_apex_fused",
]);

options! {
    /// transformers' `TrainingArguments`, as far as they change what is computed here.
    #[derive(Debug, Clone, PartialEq, Serialize)]
    pub struct TrainingArgs {
        STEPS {
            /// Seed of initialisation, dropout and shuffling.
            pub seed: u64 = at_least(0), default("42");
            /// Seed of the hold-out split.
            pub data_seed: u64 = at_least(0), default("42");
            /// The optimiser: AdamW in any of its spellings.
            pub optim: String = OPTIMISERS, defaults(Json("\"paged_adamw_32bit\""), Json("\"adamw_torch\""));
            /// Blocks per forward pass.
            pub per_device_train_batch_size: usize = at_least(1), defaults(Json("1"), Json("8")), searchable();
            /// Blocks per forward pass of an evaluation.
            pub per_device_eval_batch_size: usize = at_least(1), defaults(Json("1"), Json("8"));
            /// Forward passes per optimiser step.
            pub gradient_accumulation_steps: usize = at_least(1), defaults(Json("16"), Json("1")), searchable();
            /// Recompute activations to save memory.
            pub gradient_checkpointing: bool, default("true");
            /// The same by its name since transformers 5.23, which wins.
            - "activation_checkpointing" = BOOL;
            /// Peak learning rate.
            pub learning_rate: f64 = NOT_NEGATIVE, default("0.0002"), searchable();
            /// Decoupled weight decay.
            pub weight_decay: f64 = NOT_NEGATIVE, default("0.0"), searchable();
            /// Decay of AdamW's first moment.
            pub adam_beta1: f64 = BELOW_ONE, default("0.9"), searchable();
            /// Decay of AdamW's second moment.
            pub adam_beta2: f64 = BELOW_ONE, default("0.999"), searchable();
            /// AdamW's epsilon.
            pub adam_epsilon: f64 = NOT_NEGATIVE, default("1e-8");
            /// Gradients are clipped to this norm; 0 for no clipping.
            pub max_grad_norm: f64 = NOT_NEGATIVE, default("1.0");
            /// Passes over the data.
            pub num_train_epochs: f64 = POSITIVE, default("3.0"), searchable();
            /// Optimiser steps; if positive, it overrides the epochs.
            pub max_steps: Option<usize> = at_least(-1), defaults(Json("10000"), Json("-1")), searchable() => positive;
            /// Course of the learning rate.
            pub lr_scheduler_type: Scheduler, default("\"constant\""), searchable();
            /// Arguments of the scheduler.
            pub lr_scheduler_kwargs: SchedulerOptions;
        }
        VARIANTS {
            /// LoRA+: learning rate of B (and of magnitudes) relative to that of A; 16 is usual.
            pub loraplus_lr_ratio: Option<f64> = POSITIVE, searchable();
            /// NEFTune: uniform noise of ±alpha/√(tokens · width) on embeddings in training; 5 is usual.
            pub neftune_noise_alpha: Option<f64> = NOT_NEGATIVE, searchable() => above_zero;
        }
        COURSE {
            /// Share of the steps over which the learning rate rises.
            pub warmup_ratio: f64 = SHARE, default("0.03"), searchable();
            /// Steps over which the learning rate rises, below 1 a share of all; overrides the ratio.
            pub warmup_steps: usize = NOT_NEGATIVE, default("0"), searchable() => whole_steps;
            /// A loss line every so many steps; below 1, a share of all steps.
            #[serde(skip)]
            pub logging_steps: f64 = POSITIVE, defaults(Json("10"), Json("500"));
            /// When to evaluate.
            pub eval_strategy: EvalStrategy, was(&["evaluation_strategy"]), any_era(),
                defaults(Json("\"no\""), Null);
            /// Steps between evaluations, below 1 a share of all; null: `logging_steps`.
            pub eval_steps: Option<f64> = POSITIVE;
            /// Put blocks of like length together: `train_sampling_strategy` in transformers 5.
            - "group_by_length" = BOOL, defaults(Json("true"), Json("false"));
            /// Order of the blocks; null is what `group_by_length` says.
            #[serde(rename = "group_by_length")]
            pub sampling as "train_sampling_strategy": Sampling;
            /// Drop an incomplete last batch.
            pub dataloader_drop_last: bool, default("false");
            /// Which states are written.
            nested saving: Saving;
            /// Which state is the result.
            nested selection: Selection;
            /// Where the log goes.
            #[serde(skip)]
            nested logging: Logging;
        }
    }
}

/// Order of the blocks in an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sampling {
    Random,
    /// As in the data.
    Sequential,
    /// At random, with blocks of like length side by side.
    GroupByLength,
}

// transformers' `batch_rebalance` moves rows within an optimiser step only, whose loss is the mean over all of them.
choice!(Sampling: "random|batch_rebalance", "sequential", "group_by_length");

/// In cache keys it is the option that it once was.
impl Serialize for Sampling {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Sampling::Random => serializer.serialize_bool(false),
            Sampling::GroupByLength => serializer.serialize_bool(true),
            Sampling::Sequential => serializer.serialize_str("sequential"),
        }
    }
}

/// A number of steps that is no share; what transformers does with a fraction.
fn whole_steps(setting: &Setting) -> Option<usize> {
    Some(setting.json.as_f64().unwrap_or_default() as usize)
}

/// Zero and less are `None`, as -1 in transformers.
fn positive(setting: &Setting) -> Option<Option<usize>> {
    let steps = setting.json.as_u64().filter(|steps| *steps > 0);
    Some(steps.and_then(|steps| steps.try_into().ok()))
}

fn above_zero(setting: &Setting) -> Option<Option<f64>> {
    Some(setting.json.as_f64().filter(|value| *value > 0.0))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EvalStrategy {
    No,
    Steps,
    Epoch,
}

choice!(EvalStrategy: "no", "steps", "epoch");

pub static TRAINING_ARGS: Block = Block {
    name: "training_args",
    doc: "How to train: transformers' TrainingArguments. The defaults up to Olive 0.6 are Olive's own, later ones are \
          those of transformers.",
    wrapper: Some("extra_args"),
    outer: &[],
    parts: &[STEPS, COURSE, VARIANTS, SAVING, SELECTION, LOGGING, UNUSED],
    open: None,
};

// The reader of the pass attaches what the object holds.
impl OptionValue for TrainingArgs {
    const KIND: Kind = Kind::Block(&TRAINING_ARGS);

    fn read(setting: &Setting) -> Option<TrainingArgs> {
        setting.object()
    }
}
