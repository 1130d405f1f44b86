//! Which states of the adapter are written, and which of them is the result.

use crate::option::{Kind, NOT_NEGATIVE, POSITIVE, TEXT, at_least};
use crate::values::Setting;
use crate::{choice, options};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

options! {
    /// Which states of the adapter are written while training goes on. The result does not depend on it.
    #[derive(Debug, Clone, PartialEq, Serialize, Default)]
    pub struct Saving {
        SAVING {
            /// When to write `checkpoints/checkpoint-N`, an adapter of its own; null: `steps` if `save_steps` is given.
            pub strategy as "save_strategy": SaveStrategy;
            /// Steps between checkpoints; below 1, a share of all steps.
            pub steps as "save_steps": f64 = POSITIVE, default("500");
            /// How many checkpoints to keep: the newest, and the best.
            pub total_limit as "save_total_limit": Option<usize> = at_least(1);
            /// Folder of checkpoints; null is `checkpoints` beside the adapter.
            #[serde(skip)]
            pub output_dir: Option<PathBuf> = TEXT => folder;
        }
    }
}

fn folder(setting: &Setting) -> Option<Option<PathBuf>> {
    Some(setting.json.as_str().filter(|dir| !dir.is_empty()).map(PathBuf::from))
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

choice!(SaveStrategy: "no", "steps", "epoch", "best");

options! {
    /// What evaluations decide.
    #[derive(Debug, Clone, PartialEq, Serialize, Default)]
    pub struct Selection {
        SELECTION {
            /// Keep the state with the lowest evaluation loss, not the last.
            pub load_best_model_at_end: bool, default("false");
            /// What the best state is.
            - "metric_for_best_model" = Kind::Choice(&["eval_loss|loss"]);
            /// Stop after so many evaluations in a row without a lower loss.
            pub early_stopping_patience: Option<usize> = at_least(1);
            /// By how much the loss must fall to count as lower.
            pub early_stopping_threshold: f64 = NOT_NEGATIVE, default("0.0");
        }
    }
}
