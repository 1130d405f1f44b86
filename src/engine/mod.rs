//! From a configuration to artefacts: plan, cache, runner, output folder.

pub mod artefacts;
pub mod error;
pub mod input;
pub mod key;
pub mod manifest;
pub mod output;
pub mod plan;
pub mod runner;
pub mod store;

pub use artefacts::Artefacts;
pub use error::EngineError;
pub use key::KeyHasher;
pub use manifest::Manifest;
pub use plan::{Plan, Step};
pub use runner::{StepOutcome, run};
pub use store::Store;
