//! What a search tried: a table of its points, and a plot of the two first objectives.

use crate::chart::{self, Dot};
use crate::format::{duration, number, option};
use crate::run::Run;
use maud::{Markup, html};
use olive_engine::{Objective, SearchOutcome, TrialOutcome, TrialState};

/// The searches of a run's flows.
pub(crate) fn searches(run: &Run) -> Markup {
    let flows = run.outcome.iter().flat_map(|outcome| &outcome.flows);
    html! {
        @for search in flows.filter_map(|flow| flow.search.as_ref()) { (section(search)) }
    }
}

fn section(search: &SearchOutcome) -> Markup {
    let metrics = metrics(search);
    let tells_fates = search.trials.iter().any(|trial| !fate(trial).is_empty());
    let mut trials: Vec<&TrialOutcome> = search.trials.iter().collect();
    // Those without a rank last, in the order in which they were tried.
    trials.sort_by_key(|trial| trial.rank.unwrap_or(usize::MAX));
    html! {
        section {
            h2 { "Search" }
            p.facts {
                span { (search.strategy) }
                span { (search.trials.len()) " of " (search.points) " points" }
                span { (duration(search.trials.iter().map(|trial| trial.seconds).sum())) }
            }
            @if let Some(plot) = frontier(search) {
                div.charts.one { figure { figcaption { (caption(&search.objectives)) } (plot) } }
            }
            div.scroll {
                table.points {
                    thead {
                        tr {
                            th { "rank" }
                            @for name in &search.varied { th { (breakable(name)) } }
                            @for name in &metrics { th { (breakable(name)) } }
                            th { "time" } th.text { "model" }
                            @if tells_fates { th.text { "" } }
                        }
                    }
                    tbody { @for trial in trials { (row(search, &metrics, trial)) } }
                }
            }
        }
    }
}

/// A name that may go on in the next line after a dot or a dash.
fn breakable(name: &str) -> Markup {
    let parts = name.split_inclusive(['.', '-', '_']);
    html! { @for part in parts { (part) wbr; } }
}

/// Names of what was measured, objectives first.
fn metrics(search: &SearchOutcome) -> Vec<&str> {
    let mut names: Vec<&str> = search.objectives.iter().map(|objective| objective.metric.as_str()).collect();
    for (name, _) in search.trials.iter().flat_map(|trial| trial.metrics.iter()) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

fn row(search: &SearchOutcome, metrics: &[&str], trial: &TrialOutcome) -> Markup {
    let rank = trial.rank.map_or_else(|| "–".into(), |rank| rank.to_string());
    html! {
        tr {
            th { (rank) @if trial.is_on_frontier && search.objectives.len() > 1 { " ●" } }
            @for value in &trial.values { td { (value.as_ref().map_or_else(|| "–".into(), option)) } }
            @for name in metrics {
                td { (trial.metrics.get(name).map_or_else(|| "–".into(), |found| number(name, found.value))) }
            }
            td { (duration(trial.seconds)) }
            td.text { (trial.model_id.as_deref().unwrap_or("–")) }
            @let fate = fate(trial);
            @if !fate.is_empty() { td.fate.missed { (fate) } }
        }
    }
}

/// Why a point gave no result, or none that counts.
fn fate(trial: &TrialOutcome) -> String {
    match &trial.state {
        TrialState::Failed { error } => format!("failed: {error}"),
        TrialState::StoppedEarly { step, loss } => {
            format!("stopped after step {step}, held-out loss {loss:.4}")
        }
        TrialState::Measured => {
            let missed = trial.goals.iter().filter(|goal| !goal.met).map(|goal| goal.metric.as_str());
            let missed = missed.collect::<Vec<_>>().join(", ");
            if missed.is_empty() { String::new() } else { format!("goals missed: {missed}") }
        }
    }
}

/// The candidates in the plane of the two first objectives.
fn frontier(search: &SearchOutcome) -> Option<Markup> {
    let [x, y, ..] = search.objectives.as_slice() else { return None };
    let dots = search.trials.iter().filter(|trial| trial.state == TrialState::Measured).filter_map(|trial| {
        let value = |objective: &Objective| Some(trial.metrics.get(&objective.metric)?.value.as_f64());
        Some(Dot { at: (value(x)?, value(y)?), is_marked: trial.is_on_frontier })
    });
    chart::plane(&dots.collect::<Vec<_>>(), &x.metric, &y.metric)
}

fn caption(objectives: &[Objective]) -> String {
    let better = |objective: &Objective| {
        format!(
            "{} ({} is better)",
            objective.metric,
            if objective.higher_is_better { "more" } else { "less" }
        )
    };
    let [x, y, ..] = objectives else { return String::new() };
    format!("{} over {}; filled: no other is better in one and as good in the other", better(y), better(x))
}
