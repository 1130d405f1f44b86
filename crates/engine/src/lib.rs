//! From a configuration to artefacts: plan, runner, output folder.

pub mod cache;
pub mod error;
pub mod input;
pub mod output;
pub mod passes;
pub mod plan;
mod presence;
pub mod runner;

pub use error::EngineError;
pub use passes::{REGISTRY, RunConfig};
pub use plan::{Plan, Step};
pub use presence::missing_inputs;
pub use runner::{StepOutcome, run};
