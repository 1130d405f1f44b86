//! Fitting an adapter: loop, optimiser, schedule, evaluation, checkpoints.
//!
//! [`Trainer`] does single steps on explicit micro-batches; [`fit`] drives it over a dataset.

pub mod batches;
pub mod checkpoint;
pub mod error;
pub mod evaluate;
pub mod fit;
pub mod init;
mod interval;
pub mod memory;
pub mod metrics;
pub mod optimiser;
mod pace;
pub mod plateau;
pub mod rng;
pub mod saving;
pub mod schedule;
pub mod selection;
pub mod targets;
pub mod tensorboard;
pub mod trainer;

pub use batches::BatchPlan;
pub use checkpoint::Checkpoints;
pub use error::TrainError;
pub use fit::{Fit, Fitted, fit};
pub use init::{LoraShape, begin_with, fresh_adapter};
pub use memory::{MemoryEstimate, MemoryShortage, Workload};
pub use optimiser::{AdamW, AdamWOptions};
pub use saving::Saver;
pub use schedule::Schedule;
pub use trainer::{StepReport, Trainer, TrainerOptions};
