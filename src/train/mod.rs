//! Fitting an adapter: loop, optimiser, schedule, evaluation, checkpoints.

pub mod error;

pub use error::TrainError;
