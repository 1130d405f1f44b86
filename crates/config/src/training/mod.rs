//! Options of training: transformers' `TrainingArguments`, and the layers that are trained.

mod options;
mod read;
mod table;
mod targets;

pub use options::*;
pub use read::{TrainingRead, read};
pub use table::TRAINING_ARGS;
pub use targets::{EvalSize, Targets};
