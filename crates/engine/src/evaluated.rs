//! What became of evaluations, for reports and for the next program.

use olive_config::GoalKind;
use olive_evaluate::{Metrics, MetricsDetail};
use serde::{Deserialize, Serialize};

/// One model, measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EvaluationOutcome {
    pub model: EvaluatedModel,
    /// Its key in `evaluators`.
    pub evaluator: String,
    pub cached: bool,
    /// Time spent now: next to nothing for a hit.
    pub seconds: f64,
    pub metrics: Metrics,
    pub detail: MetricsDetail,
    pub goals: Vec<GoalOutcome>,
    /// Tasks of the evaluator that are not measured here.
    pub not_evaluated: Vec<String>,
}

/// Which of a flow's models.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EvaluatedModel {
    Input,
    /// What the pass of this name made, by an evaluator of its own.
    Pass(String),
    /// What the last pass made.
    Result,
    /// A model of no flow, as the user called it.
    Named(String),
}

/// What became of the goal of a value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GoalOutcome {
    /// Name of the value.
    pub metric: String,
    pub kind: GoalKind,
    /// The value that is to be reached; `None`: the value of the input model is needed for that, and is not known.
    pub limit: Option<f64>,
    /// `None`: it was not measured.
    pub value: Option<f64>,
    pub met: bool,
}

impl GoalOutcome {
    /// By how much the limit is missed, as far as both are known.
    pub fn missed_by(&self) -> Option<f64> {
        let (limit, value) = self.limit.zip(self.value)?;
        (!self.met).then_some((value - limit).abs())
    }
}

impl EvaluatedModel {
    /// The file of the output folder that has the metrics.
    pub fn file_name(&self) -> String {
        match self {
            EvaluatedModel::Input => "input_model_metrics.json".into(),
            EvaluatedModel::Pass(name) => format!("metrics_{}.json", name.replace('/', "_")),
            EvaluatedModel::Result | EvaluatedModel::Named(_) => Metrics::FILE.into(),
        }
    }
}
