//! What can go wrong in training.

use olive_core::shown;
use std::path::PathBuf;

/// A fault of a training or of its options.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    #[error("no linear layer of the model matches the target module `{target}`")]
    NoSuchTarget { target: String, existing: Vec<String> },
    #[error("`{target}` cannot carry an adapter")]
    NotALinearLayer { target: String, existing: Vec<String> },
    #[error("the target module pattern `{pattern}` is not a regular expression: {reason}")]
    BadPattern { pattern: String, reason: String },
    #[error("`{module}` cannot be trained whole")]
    NotWhole { module: String, existing: Vec<String> },
    #[error("`{module}` cannot be trained whole: the model uses one matrix as embedding and as head")]
    Tied { module: String },
    #[error("{what} is not supported yet")]
    Unsupported { what: &'static str, hint: &'static str },
    #[error("`{name}` is {value}, but {expected}")]
    BadOption { name: &'static str, value: String, expected: &'static str },
    #[error("there is nothing to train on: {samples} samples make no batch of {batch_size}")]
    NoBatches { samples: usize, batch_size: usize },
    #[error("no token of {} counts in the loss: every label is masked", rows_of(.rows))]
    NoLabels { rows: Vec<usize> },
    #[error("training diverged in step {step} on {}: {what} is {value}", rows_of(.rows))]
    Diverged { step: usize, rows: Vec<usize>, what: &'static str, value: f64 },
    #[error("the state in `{}` cannot be resumed: {reason}", shown(path))]
    Resume { path: PathBuf, reason: String },
}

impl olive_core::Fault for TrainError {
    fn hint(&self) -> Option<String> {
        match self {
            TrainError::NoSuchTarget { target, existing } | TrainError::NotALinearLayer { target, existing } => {
                let meant = nearest(target, existing).map(|name| format!("did you mean `{name}`? "));
                Some(format!(
                    "{}`target_modules` can name {}, or be \"all-linear\"",
                    meant.unwrap_or_default(),
                    existing.join(", ")
                ))
            }
            TrainError::NotWhole { existing, .. } => Some(format!(
                "`modules_to_save` can name {}; linear layers belong into `target_modules`",
                existing.join(", ")
            )),
            TrainError::Tied { .. } => {
                Some("remove it from `modules_to_save`; adapters on more layers learn more, too".into())
            }
            TrainError::Unsupported { hint, .. } => Some((*hint).into()),
            TrainError::NoBatches { .. } => {
                Some("add data, or lower `per_device_train_batch_size` or `dataloader_drop_last`".into())
            }
            TrainError::NoLabels { .. } => {
                Some("look at these samples: they may be empty, padding only, or a single token long".into())
            }
            TrainError::Diverged { .. } => Some(
                "lower `learning_rate`, add `warmup_steps`, set `max_grad_norm` to 1 or less, or look at these rows; no \
                 adapter was written"
                    .into(),
            ),
            TrainError::Resume { path, .. } => {
                Some(format!("delete `{}` to start this training again", shown(path)))
            }
            TrainError::BadPattern { .. } | TrainError::BadOption { .. } => None,
        }
    }
}

/// A training stopped where it was asked to pause; its state is saved.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("training paused after step {step}")]
pub struct Paused {
    /// Optimiser steps done.
    pub step: usize,
    /// Mean cross-entropy in nats on the evaluation data, if there is some.
    pub loss: Option<f64>,
}

impl olive_core::Fault for Paused {}

/// The name that `name` was likely meant to be.
fn nearest<'a>(name: &str, existing: &'a [String]) -> Option<&'a String> {
    let distance = |other: &String| strsim::damerau_levenshtein(name, other);
    existing.iter().min_by_key(|other| distance(other)).filter(|other| distance(other) <= name.len() / 3)
}

/// "row 3", "rows 3, 8 and 9", "rows 1, 2, 3, 4, 5, 6 and 26 more".
fn rows_of(rows: &[usize]) -> String {
    const SHOWN: usize = 6;
    let shown = |rows: &[usize]| rows.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    match rows {
        [] => "the evaluation samples".into(),
        [row] => format!("training sample {row}"),
        [first @ .., last] if rows.len() <= SHOWN + 1 => {
            format!("training samples {} and {last}", shown(first))
        }
        _ => format!("training samples {} and {} more", shown(&rows[..SHOWN]), rows.len() - SHOWN),
    }
}
