//! Which results are better: by objectives, one after the other, as in Olive; a value that is missing is the worst.

use crate::searched::{Objective, SearchOutcome, TrialOutcome, TrialState};
use olive_evaluate::Metrics;
use std::cmp::Ordering;

/// What results are compared by: the values with a priority, in its order and then by name. Where evaluators differ, the
/// last word counts.
pub(super) fn objectives(trials: &[TrialOutcome]) -> Vec<Objective> {
    let mut found: Vec<(i32, Objective)> = Vec::new();
    for (name, value) in trials.iter().flat_map(|trial| trial.metrics.iter()) {
        found.retain(|(_, known)| known.metric != name);
        if value.priority > 0 {
            let objective = Objective { metric: name.to_owned(), higher_is_better: value.higher_is_better };
            found.push((value.priority, objective));
        }
    }
    found.sort_by(|(p, a), (q, b)| (p, &a.metric).cmp(&(q, &b.metric)));
    found.into_iter().map(|(_, objective)| objective).collect()
}

/// `Less` if the first result is the better one.
pub(super) fn compare(one: &Metrics, other: &Metrics, objectives: &[Objective]) -> Ordering {
    let each = objectives.iter().map(|objective| by(one, other, objective));
    each.fold(Ordering::Equal, Ordering::then)
}

fn by(one: &Metrics, other: &Metrics, objective: &Objective) -> Ordering {
    let value = |metrics: &Metrics| {
        let value = metrics.get(&objective.metric)?.value.as_f64();
        // Comparable: smaller is better.
        (!value.is_nan()).then_some(if objective.higher_is_better { -value } else { value })
    };
    match (value(one), value(other)) {
        (Some(one), Some(other)) => one.total_cmp(&other),
        (one, other) => one.is_none().cmp(&other.is_none()),
    }
}

/// Trials from the best to the worst: those that meet their goals, those that do not, and the rest, in the order of the trials
/// where they are equal. Gives their places in `trials`.
pub(super) fn sorted(trials: &[TrialOutcome], objectives: &[Objective]) -> Vec<usize> {
    let class = |trial: &TrialOutcome| match trial.state {
        TrialState::Measured => u8::from(!trial.meets_goals()),
        TrialState::StoppedEarly { .. } => 2,
        TrialState::Failed { .. } => 3,
    };
    let mut places: Vec<usize> = (0..trials.len()).collect();
    places.sort_by(|one, other| {
        let (one, other) = (&trials[*one], &trials[*other]);
        class(one).cmp(&class(other)).then_with(|| compare(&one.metrics, &other.metrics, objectives))
    });
    places
}

/// Gives the candidates their ranks, and finds those on the frontier.
pub(super) fn rank(search: &mut SearchOutcome) {
    search.objectives = objectives(&search.trials);
    let (objectives, trials) = (&search.objectives, &mut search.trials);
    let sorted = sorted(trials, objectives);
    let candidates: Vec<usize> = sorted.into_iter().filter(|place| trials[*place].is_candidate()).collect();
    for trial in trials.iter_mut() {
        (trial.rank, trial.is_on_frontier) = (None, false);
    }
    // What dominates a candidate ranks before it, or is dominated by one on the frontier that does.
    let mut frontier: Vec<usize> = Vec::new();
    for (rank, place) in (1..).zip(candidates) {
        let metrics = &trials[place].metrics;
        let is_dominated =
            frontier.iter().any(|other| dominates(&trials[*other].metrics, metrics, objectives));
        if !is_dominated {
            frontier.push(place);
        }
        let trial = &mut trials[place];
        (trial.rank, trial.is_on_frontier) = (Some(rank), !is_dominated);
    }
}

/// Whether the first result is at least as good in all objectives and better in one.
fn dominates(one: &Metrics, other: &Metrics, objectives: &[Objective]) -> bool {
    let compared: Vec<Ordering> = objectives.iter().map(|objective| by(one, other, objective)).collect();
    compared.iter().all(|ordering| ordering.is_le()) && compared.iter().any(|ordering| ordering.is_lt())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluated::GoalOutcome;
    use olive_config::GoalKind;
    use olive_evaluate::{MetricValue, Number};

    /// A measured trial with values of `loss` (first, lower is better) and `speed` (second, higher is better).
    fn trial(loss: Option<f64>, speed: f64) -> TrialOutcome {
        let mut metrics = Metrics::default();
        let value = |value, priority, higher_is_better| MetricValue {
            value: Number::Real(value),
            priority,
            higher_is_better,
        };
        if let Some(loss) = loss {
            metrics.insert("a", "loss", value(loss, 1, false));
        }
        metrics.insert("b", "speed", value(speed, 2, true));
        metrics.insert("c", "size", value(1.0, -1, false));
        TrialOutcome {
            point: serde_json::Value::Null,
            values: Vec::new(),
            model_id: None,
            ancestors: Vec::new(),
            state: TrialState::Measured,
            seconds: 0.0,
            metrics,
            goals: Vec::new(),
            not_evaluated: Vec::new(),
            rank: None,
            is_on_frontier: false,
        }
    }

    fn ranked(trials: Vec<TrialOutcome>) -> Vec<(Option<usize>, bool)> {
        let mut search = SearchOutcome {
            strategy: String::new(),
            points: 0,
            varied: Vec::new(),
            objectives: Vec::new(),
            trials,
        };
        rank(&mut search);
        let names: Vec<&str> = search.objectives.iter().map(|objective| objective.metric.as_str()).collect();
        assert_eq!(names, ["a-loss", "b-speed"]);
        search.trials.iter().map(|trial| (trial.rank, trial.is_on_frontier)).collect()
    }

    #[test]
    fn the_first_objective_decides_and_what_is_missing_is_the_worst() {
        let trials = vec![
            trial(Some(2.0), 9.0),
            trial(None, 99.0),
            trial(Some(1.0), 5.0),
            trial(Some(1.0), 7.0),
            trial(Some(f64::NAN), 1.0),
        ];
        let expected =
            [(Some(3), true), (Some(4), true), (Some(2), false), (Some(1), true), (Some(5), false)];
        assert_eq!(ranked(trials), expected);
    }

    #[test]
    fn only_what_was_measured_and_meets_its_goals_is_a_candidate() {
        let missed = |met| GoalOutcome {
            metric: "a-loss".into(),
            kind: GoalKind::Threshold,
            limit: Some(0.5),
            value: Some(1.0),
            met,
        };
        let failed =
            TrialOutcome { state: TrialState::Failed { error: "e".into() }, ..trial(Some(0.0), 1.0) };
        let goal = |met| TrialOutcome { goals: vec![missed(met)], ..trial(Some(1.0), 1.0) };
        let trials = vec![failed, goal(false), goal(true), goal(true)];
        let expected = [(None, false), (None, false), (Some(1), true), (Some(2), true)];
        assert_eq!(ranked(trials), expected, "equals keep their order, and both are on the frontier");
    }
}
