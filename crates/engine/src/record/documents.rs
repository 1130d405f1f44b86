//! The JSON documents of a run record.

use crate::Plan;
use crate::plan::StepKey;
use olive_config::{Era, Origin, ResolvedOption};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::PathBuf;

/// Raised whenever a reader of the earlier form would misunderstand a record; new fields do not raise it.
pub const FORMAT: u32 = 1;

/// `run.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunDocument {
    pub format: u32,
    pub olive_version: String,
    /// The name of the record's folder.
    pub id: String,
    pub state: RunState,
    /// The configuration's file, absolute; `None` if it was made of values.
    pub config: Option<String>,
    pub workflow_id: String,
    /// As `--device` takes it.
    pub device: String,
    /// The name of the machine, where it is known.
    pub host: Option<String>,
    pub pid: u32,
    /// Seconds since 1970, as all times of a record.
    pub started: f64,
    /// `None` while it runs.
    pub ended: Option<f64>,
    /// What stopped it.
    pub error: Option<RunError>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    Running,
    Succeeded,
    Failed,
    Interrupted,
}

/// As the command line prints it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunError {
    pub message: String,
    pub hint: Option<String>,
    pub exit_code: u8,
}

impl From<&olive_core::Error> for RunError {
    fn from(error: &olive_core::Error) -> RunError {
        RunError { message: error.with_causes(), hint: error.hint(), exit_code: error.exit_code() }
    }
}

/// `plan.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlanDocument {
    /// The input model, as the configuration means it.
    pub input_model: Value,
    pub flows: Vec<FlowDocument>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FlowDocument {
    pub output_dir: PathBuf,
    pub steps: Vec<StepDocument>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepDocument {
    pub pass: String,
    /// The pass type in Olive's spelling.
    pub r#type: String,
    pub version: u32,
    /// Name in `systems`; `None` is the machine of the run.
    pub host: Option<String>,
    /// Resolved, defaults filled in.
    pub options: Value,
    /// The same as the configuration has them, and where each comes from.
    #[serde(default)]
    pub resolved: Vec<OptionDocument>,
    /// Key of what the step works on, and its own. `None` until the input model is there.
    pub input_key: Option<String>,
    pub key: Option<String>,
}

/// An option of a step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OptionDocument {
    /// With dots for nesting.
    pub name: String,
    pub value: Value,
    /// `line 12`, `--set`, or whose default it is.
    pub origin: String,
}

impl OptionDocument {
    fn new(option: &ResolvedOption) -> OptionDocument {
        let origin = match option.origin {
            Origin::File { line } => format!("line {line}"),
            Origin::CommandLine => "--set".into(),
            Origin::Default(Era::Old) => "default of Olive up to 0.6".into(),
            Origin::Default(Era::New) => "default".into(),
        };
        OptionDocument { name: option.name.clone(), value: option.value.clone(), origin }
    }
}

impl PlanDocument {
    /// `output_dirs` has one folder for each flow, `keys` one list, once they are known.
    pub(crate) fn new(
        input_model: &olive_config::InputModel,
        plan: &Plan,
        output_dirs: &[PathBuf],
        keys: Option<&[Vec<StepKey>]>,
    ) -> PlanDocument {
        let flows = plan.flows.iter().zip(output_dirs).enumerate().map(|(number, (flow, dir))| {
            let steps = flow.steps.iter().enumerate().map(|(index, step)| {
                let key = keys.map(|keys| &keys[number][index]);
                StepDocument {
                    pass: step.config.name.clone(),
                    r#type: step.pass.name().to_owned(),
                    version: step.pass.version(),
                    host: step.host.name().map(str::to_owned),
                    options: step.options(),
                    resolved: step.config.resolved.iter().map(OptionDocument::new).collect(),
                    input_key: key.map(|key| key.input.clone()),
                    key: key.map(|key| key.key.clone()),
                }
            });
            FlowDocument { output_dir: dir.clone(), steps: steps.collect() }
        });
        let input_model = serde_json::to_value(input_model).expect("plain data");
        PlanDocument { input_model, flows: flows.collect() }
    }
}

/// A line of `metrics.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Metric {
    /// An optimiser step.
    Train {
        time: f64,
        pass: String,
        step: usize,
        total_steps: usize,
        epoch: f64,
        #[serde(deserialize_with = "olive_train::metrics::finite_or_nan")]
        loss: f64,
        learning_rate: f64,
        #[serde(deserialize_with = "olive_train::metrics::finite_or_nan")]
        grad_norm: f64,
        #[serde(deserialize_with = "olive_train::metrics::finite_or_nan")]
        tokens_per_second: f64,
    },
    /// The held-out rows after `step` optimiser steps.
    Eval {
        time: f64,
        pass: String,
        step: usize,
        #[serde(deserialize_with = "olive_train::metrics::finite_or_nan")]
        loss: f64,
        tokens: usize,
        seconds: f64,
    },
}
