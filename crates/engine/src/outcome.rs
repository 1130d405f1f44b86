//! What became of a workflow, for reports and for the next program.

use crate::evaluated::EvaluationOutcome;
use crate::searched::SearchOutcome;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What became of one step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepOutcome {
    pub pass: String,
    pub r#type: String,
    pub cached: bool,
    /// Time spent now: next to nothing for a hit.
    pub seconds: f64,
    pub bytes: u64,
    /// The artefact in the cache.
    pub path: PathBuf,
    pub key: String,
    /// Address of the artefact where it did not come here: then there is nothing under `path`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub elsewhere: Option<String>,
}

/// What became of one flow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FlowOutcome {
    /// Where its result lies.
    pub output_dir: PathBuf,
    pub output: OutputState,
    pub steps: Vec<StepOutcome>,
    /// What was measured, in the order of the models.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evaluations: Vec<EvaluationOutcome>,
    /// The search that the result is the best of; its steps and evaluations are those of that point.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub search: Option<SearchOutcome>,
}

/// What became of the folder of a flow's result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutputState {
    /// The flow is not at its end.
    Pending,
    Written,
    /// It held this result already.
    UpToDate,
}

/// What became of all flows of a configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
