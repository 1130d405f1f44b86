//! From a configuration to artefacts: plan, runner, output folder.

pub mod error;
pub mod input;
pub mod output;
pub mod plan;
pub mod runner;

pub use error::EngineError;
pub use plan::{Plan, Step};
pub use runner::{StepOutcome, run};
