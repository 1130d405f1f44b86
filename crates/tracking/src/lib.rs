//! Services that keep the logs of trainings: MLflow's tracking server, by its REST API (version 2.0).
//!
//! A [`RunLog`] is one run there. It takes values without waiting, sends them from a thread of its own, and keeps what
//! the server does not take, so that neither a slow nor a broken server stops or slows what it logs.

mod client;
mod error;
mod note;
mod open_run;
mod run;
mod run_log;
mod settings;

pub use error::TrackingError;
pub use run::{RunStart, Status};
pub use run_log::RunLog;
pub use settings::MlflowSettings;
