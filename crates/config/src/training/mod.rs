//! Options of training: transformers' `TrainingArguments`, and the layers that are trained.

mod args;
mod logging;
mod read;
mod saving;
mod schedule;
mod targets;
mod unused;

pub use args::{EvalStrategy, Sampling, TRAINING_ARGS, TrainingArgs};
pub use logging::{Logging, ReportTo, Wanted};
pub use read::{TrainingRead, read};
pub use saving::{SaveStrategy, Saving, Selection};
pub use schedule::{Ramp, Scheduler, SchedulerOptions};
pub use targets::{EvalSize, Targets};
