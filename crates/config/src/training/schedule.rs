//! The course of the learning rate.

use crate::option::{BELOW_ONE, Block, Kind, NOT_NEGATIVE, POSITIVE, SHARE, at_least};
use crate::statement::OptionValue;
use crate::values::Setting;
use crate::{choice, options};
use serde::{Deserialize, Serialize};

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

choice!(Scheduler: "constant",
    "constant_with_warmup",
    "linear",
    "cosine",
    "cosine_with_restarts",
    "cosine_with_min_lr",
    "cosine_warmup_with_min_lr",
    "polynomial",
    "inverse_sqrt",
    "warmup_stable_decay",
    "reduce_lr_on_plateau");

options! {
    /// `lr_scheduler_kwargs`, by the names of transformers' and torch's functions; what is `None` has the default of the
    /// scheduler.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
    #[serde(default)]
    pub struct SchedulerOptions {
        SCHEDULER_OPTIONS {
            /// Waves of a cosine (0.5), or its restarts (1).
            pub num_cycles: Option<f64> = NOT_NEGATIVE;
            /// Power of `polynomial` (1).
            pub power: Option<f64> = NOT_NEGATIVE;
            /// Last rate of `polynomial` (1e-7).
            pub lr_end: Option<f64> = NOT_NEGATIVE;
            /// Lowest rate of the cosines with one and of `reduce_lr_on_plateau`.
            pub min_lr: Option<f64> = NOT_NEGATIVE;
            /// The same as a share of the learning rate.
            pub min_lr_rate: Option<f64> = SHARE;
            /// First rate of `cosine_warmup_with_min_lr`, as a share.
            pub warmup_lr_rate: Option<f64> = SHARE;
            /// Of `inverse_sqrt`, in steps (the warm-up, or 10000).
            pub timescale: Option<f64> = POSITIVE;
            /// Of `warmup_stable_decay` (whatever the others leave).
            pub num_stable_steps: Option<usize> = at_least(0);
            /// Of `warmup_stable_decay`, which needs it.
            pub num_decay_steps: Option<usize> = at_least(0);
            /// Rise of `warmup_stable_decay` (linear).
            pub warmup_type: Option<Ramp>;
            /// Fall of `warmup_stable_decay` (cosine).
            pub decay_type: Option<Ramp>;
            /// Lowest rate of `warmup_stable_decay` as a share (0).
            pub min_lr_ratio: Option<f64> = SHARE;
            /// What a plateau multiplies the rate with (0.1).
            pub factor: Option<f64> = BELOW_ONE;
            /// Evaluations without progress before the rate falls (10).
            pub patience: Option<usize> = at_least(0);
            /// Relative progress that counts (1e-4).
            pub threshold: Option<f64> = NOT_NEGATIVE;
            /// Evaluations after a fall that do not count (0).
            pub cooldown: Option<usize> = at_least(0);
            /// A smaller fall than this is none (1e-8).
            pub eps: Option<f64> = NOT_NEGATIVE;
            /// Less is better.
            - "mode" = Kind::Choice(&["min"]);
            /// Progress is relative.
            - "threshold_mode" = Kind::Choice(&["rel"]);
        }
    }
}

pub(super) static SCHEDULER: Block = Block {
    name: "lr_scheduler_kwargs",
    doc: "Arguments of the scheduler; what is left out has the default of transformers.",
    wrapper: None,
    outer: &[],
    parts: &[SCHEDULER_OPTIONS],
    open: None,
};

// The reader of the training arguments attaches what the object holds.
impl OptionValue for SchedulerOptions {
    const KIND: Kind = Kind::Block(&SCHEDULER);

    fn read(setting: &Setting) -> Option<SchedulerOptions> {
        setting.object()
    }
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

choice!(Ramp: "linear", "cosine", "1-sqrt");
