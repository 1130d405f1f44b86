//! What became of evaluations, in words that pages and terminals share.

use crate::format::real;
use olive_engine::{EvaluatedModel, EvaluationOutcome, GoalOutcome};

pub fn model_name(model: &EvaluatedModel) -> &str {
    match model {
        EvaluatedModel::Input => "input model",
        EvaluatedModel::Result => "result",
        EvaluatedModel::Pass(name) | EvaluatedModel::Named(name) => name,
    }
}

/// What became of a goal of a model.
pub fn goal_text(model: &EvaluatedModel, goal: &GoalOutcome) -> String {
    let limit = goal
        .limit
        .map_or_else(|| "no limit is known".into(), |limit| format!("the limit is {}", real(limit)));
    let value = goal.value.map_or_else(|| "it was not measured".into(), real);
    let fate = match goal.missed_by() {
        Some(by) => format!("missed by {}", real(by)),
        None if goal.met => "met".into(),
        None => "missed".into(),
    };
    format!("{}: goal for {} {fate}: {value}; {limit}", model_name(model), goal.metric)
}

/// Tasks that were asked for and not evaluated; `None`: there are none.
pub fn not_evaluated_text(evaluation: &EvaluationOutcome) -> Option<String> {
    let tasks = &evaluation.not_evaluated;
    (!tasks.is_empty())
        .then(|| format!("{}: not evaluated: {}", model_name(&evaluation.model), tasks.join(", ")))
}
