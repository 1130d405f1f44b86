//! What was measured of the models of a run, for people.

use super::table::align;
use crate::report::number::real;
use olive_engine::{EvaluatedModel, EvaluationOutcome, GoalOutcome};
use olive_evaluate::Number;

/// One row per model, one column per value, and a line for every goal and for what was not measured. `None`: nothing was to
/// be measured.
pub(crate) fn render(evaluations: &[EvaluationOutcome]) -> Option<String> {
    if evaluations.is_empty() {
        return None;
    }
    let mut names: Vec<&str> = Vec::new();
    for (name, _) in evaluations.iter().flat_map(|evaluation| evaluation.metrics.iter()) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let head = std::iter::once("model").chain(names.iter().copied()).map(str::to_owned).collect();
    let mut rows: Vec<Vec<String>> = vec![head];
    for evaluation in evaluations {
        let value =
            |name: &&str| evaluation.metrics.get(name).map_or("-".into(), |found| number(found.value));
        rows.push(std::iter::once(model(&evaluation.model)).chain(names.iter().map(value)).collect());
    }
    let mut lines = align(&rows);
    for evaluation in evaluations {
        lines.extend(evaluation.goals.iter().map(|goal| line(evaluation, goal)));
        if !evaluation.not_evaluated.is_empty() {
            let tasks = evaluation.not_evaluated.join(", ");
            lines.push(format!("{}: not evaluated: {tasks}", model(&evaluation.model)));
        }
    }
    Some(lines.join("\n"))
}

/// Whether a goal is missed, or a value that was asked for is not there.
pub(crate) fn misses(evaluations: &[EvaluationOutcome]) -> impl Iterator<Item = String> {
    evaluations.iter().flat_map(|evaluation| {
        let missed = evaluation.goals.iter().filter(|goal| !goal.met).map(|goal| line(evaluation, goal));
        let tasks = evaluation.not_evaluated.iter();
        missed.chain(tasks.map(|task| format!("{}: not evaluated: {task}", model(&evaluation.model))))
    })
}

fn model(model: &EvaluatedModel) -> String {
    match model {
        EvaluatedModel::Input => "input".into(),
        EvaluatedModel::Pass(name) => name.clone(),
        EvaluatedModel::Result => "result".into(),
        EvaluatedModel::Named(name) => name.clone(),
    }
}

fn line(evaluation: &EvaluationOutcome, goal: &GoalOutcome) -> String {
    let (model, metric) = (model(&evaluation.model), &goal.metric);
    let limit =
        goal.limit.map_or("no limit is known".into(), |limit| format!("the limit is {}", real(limit)));
    match (goal.value, goal.missed_by()) {
        (None, _) => format!("{model}: goal for {metric} missed: it was not measured; {limit}"),
        (Some(value), _) if goal.met => format!("{model}: goal for {metric} met: {}; {limit}", real(value)),
        (Some(value), Some(by)) => {
            format!("{model}: goal for {metric} missed by {}: {}; {limit}", real(by), real(value))
        }
        (Some(value), None) => format!("{model}: goal for {metric} missed: {}; {limit}", real(value)),
    }
}

pub(crate) fn number(number: Number) -> String {
    match number {
        Number::Count(count) => count.to_string(),
        Number::Real(value) => real(value),
    }
}
