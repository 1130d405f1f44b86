//! What became of a workflow, for reports and for the next program.

use std::path::PathBuf;

/// What became of one step.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct StepOutcome {
    pub pass: String,
    pub r#type: &'static str,
    pub cached: bool,
    /// Time spent now: next to nothing for a hit.
    pub seconds: f64,
    pub bytes: u64,
    /// The artefact in the cache.
    pub path: PathBuf,
    pub key: String,
}

/// What became of one flow.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct FlowOutcome {
    /// Where its result lies.
    pub output_dir: PathBuf,
    /// Whether the folder was brought up to date, or was so already.
    pub changed: bool,
    pub steps: Vec<StepOutcome>,
}

/// What became of all flows of a configuration.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct WorkflowOutcome {
    /// The folder of the configuration; several flows have folders of their own in it.
    pub output_dir: PathBuf,
    pub flows: Vec<FlowOutcome>,
}

impl WorkflowOutcome {
    /// The steps of all flows, in order.
    pub fn steps(&self) -> impl Iterator<Item = &StepOutcome> {
        self.flows.iter().flat_map(|flow| &flow.steps)
    }
}
