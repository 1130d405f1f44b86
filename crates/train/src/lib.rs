//! Fitting an adapter: loop, optimiser, schedule, evaluation, checkpoints.
//!
//! [`Trainer`] does single steps on explicit micro-batches; [`fit()`] drives it over a dataset.

mod batches;
mod checkpoint;
mod error;
pub mod evaluate;
mod fit;
mod init;
mod interval;
pub mod memory;
pub mod metrics;
mod optimiser;
mod pace;
pub mod plateau;
mod rng;
mod saving;
mod schedule;
pub mod selection;
pub mod targets;
pub mod tensorboard;
mod trainer;
pub mod wandb;

pub use batches::BatchPlan;
pub use checkpoint::Checkpoints;
pub use error::{Paused, TrainError};
pub use fit::{Fit, Fitted, fit};
pub use init::{LoraShape, begin_with, fresh_adapter};
pub use memory::{MemoryEstimate, MemoryNeed, MemoryShortage, Workload};
pub use optimiser::{AdamW, AdamWOptions};
pub use saving::Saver;
pub use schedule::Schedule;
pub use trainer::{StepReport, Trainer, TrainerOptions};
