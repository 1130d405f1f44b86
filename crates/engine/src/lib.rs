//! From a configuration to artefacts: plan, cache, passes, workflow, output folder.

pub mod cache;
mod environment;
pub mod error;
mod evaluated;
mod evaluation;
pub mod executor;
mod flow_input;
mod host;
pub mod input;
mod memory;
mod outcome;
pub mod output;
pub mod passes;
pub mod plan;
mod prospects;
pub mod record;
mod resource_reader;
mod resources;
mod stages;
mod workflow;

pub use environment::Environment;
pub use error::EngineError;
pub use evaluated::{EvaluatedModel, EvaluationOutcome, GoalOutcome};
pub use evaluation::evaluate_models;
pub use flow_input::FlowInput;
pub use host::Host;
pub use outcome::{FlowOutcome, OutputState, StepOutcome, WorkflowOutcome};
pub use output::ForeignFiles;
pub use passes::{REGISTRY, RunConfig};
pub use plan::{Plan, Step};
pub use prospects::{Obstacle, Prospects, StepState, prospects};
pub use resource_reader::ResourceReader;
pub use workflow::run_workflow;
