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
    let (metrics, trials) = (search.metrics(), search.best_first());
    let tells_fates = trials.iter().any(|trial| trial.fate().is_some());
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
            @if let Some(fate) = trial.fate() { td.fate.missed { (fate) } }
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
