//! What became of a search, for reports and for the next program.

use crate::evaluated::GoalOutcome;
use olive_evaluate::Metrics;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;

/// A search as far as it has come.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SearchOutcome {
    /// How it goes through its points: `joint, sequential`.
    pub strategy: String,
    /// Points of the space of all passes.
    pub points: u64,
    /// Options with several values, `pass.option`, and passes with alternatives.
    pub varied: Vec<String>,
    /// What results are compared by, the first counting most.
    pub objectives: Vec<Objective>,
    /// In the order in which they were tried.
    pub trials: Vec<TrialOutcome>,
}

/// A value by which results are compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Objective {
    /// Name of the value.
    pub metric: String,
    pub higher_is_better: bool,
}

/// A point that was tried.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrialOutcome {
    /// As Olive writes a point: its number, and of every pass the alternative and the values.
    pub point: Value,
    /// The values of what is varied, in the order of [`SearchOutcome::varied`]; `None` for what the point does not have.
    pub values: Vec<Option<Value>>,
    /// The model, by the first letters of its last step's key; `None` where no step was reached.
    pub model_id: Option<String>,
    /// Ids of the models before it, from the first step on.
    pub ancestors: Vec<String>,
    #[serde(flatten)]
    pub state: TrialState,
    /// Time spent now: next to nothing for what is in the cache.
    pub seconds: f64,
    #[serde(default)]
    pub metrics: Metrics,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub goals: Vec<GoalOutcome>,
    /// Tasks of the evaluator that are not measured here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_evaluated: Vec<String>,
    /// 1 is the best; `None`: it is no candidate.
    pub rank: Option<usize>,
    /// No candidate is better in one objective and as good in all others.
    pub is_on_frontier: bool,
}

/// How far a trial came.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum TrialState {
    Measured,
    Failed {
        error: String,
    },
    /// Its training was stopped: the loss on held-out rows was higher than that of others.
    StoppedEarly {
        step: usize,
        loss: f64,
    },
}

impl TrialOutcome {
    /// Whether it was measured and meets all goals.
    pub fn is_candidate(&self) -> bool {
        self.state == TrialState::Measured && self.meets_goals()
    }

    pub fn meets_goals(&self) -> bool {
        self.goals.iter().all(|goal| goal.met)
    }

    /// Why it gave no result, or none that counts; `None`: it is a candidate.
    pub fn fate(&self) -> Option<String> {
        match &self.state {
            TrialState::Measured => {
                let missed = self.goals.iter().filter(|goal| !goal.met).map(|goal| goal.metric.as_str());
                let missed: Vec<&str> = missed.collect();
                (!missed.is_empty()).then(|| format!("goals missed: {}", missed.join(", ")))
            }
            TrialState::Failed { .. } => Some(format!("failed: {}", self.state)),
            TrialState::StoppedEarly { .. } => Some(self.state.to_string()),
        }
    }
}

impl fmt::Display for TrialState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TrialState::Measured => f.write_str("measured"),
            TrialState::Failed { error } => f.write_str(error),
            TrialState::StoppedEarly { step, loss } => {
                write!(f, "stopped after step {step} with a held-out loss of {loss:.4}")
            }
        }
    }
}

impl SearchOutcome {
    /// The best first; those without a rank last, in the order in which they were tried.
    pub fn best_first(&self) -> Vec<&TrialOutcome> {
        let mut trials: Vec<&TrialOutcome> = self.trials.iter().collect();
        trials.sort_by_key(|trial| trial.rank.unwrap_or(usize::MAX));
        trials
    }

    /// Names of what was measured, objectives first.
    pub fn metrics(&self) -> Vec<&str> {
        let mut names: Vec<&str> =
            self.objectives.iter().map(|objective| objective.metric.as_str()).collect();
        for (name, _) in self.trials.iter().flat_map(|trial| trial.metrics.iter()) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }
}
