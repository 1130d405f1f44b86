//! What was measured of the models of a run, for people.

use super::table::align;
use olive_engine::EvaluationOutcome;
use olive_report::{goal_text, model_name, not_evaluated_text, value_text};

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
        let value = |name: &&str| {
            evaluation.metrics.get(name).map_or("-".into(), |found| value_text(name, found.value))
        };
        let model = model_name(&evaluation.model).to_owned();
        rows.push(std::iter::once(model).chain(names.iter().map(value)).collect());
    }
    let mut lines = align(&rows);
    for evaluation in evaluations {
        lines.extend(evaluation.goals.iter().map(|goal| goal_text(&evaluation.model, goal)));
        lines.extend(not_evaluated_text(evaluation));
    }
    Some(lines.join("\n"))
}

/// Whether a goal is missed, or a value that was asked for is not there.
pub(crate) fn misses(evaluations: &[EvaluationOutcome]) -> impl Iterator<Item = String> {
    evaluations.iter().flat_map(|evaluation| {
        let missed = evaluation.goals.iter().filter(|goal| !goal.met);
        missed.map(|goal| goal_text(&evaluation.model, goal)).chain(not_evaluated_text(evaluation))
    })
}
