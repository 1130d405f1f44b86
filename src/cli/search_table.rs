//! What became of the points of a search, for people.

use super::plan_text::text;
use super::table::align;
use crate::report::number::duration;
use olive_engine::{SearchOutcome, TrialOutcome};
use olive_report::value_text;

/// One row per point, the best first, with a line for every one that gave no result.
pub(crate) fn render(search: &SearchOutcome) -> String {
    let (metrics, trials) = (search.metrics(), search.best_first());
    let head = ["rank"].into_iter().chain(short(&search.varied)).chain(metrics.iter().copied());
    let mut rows: Vec<Vec<String>> = vec![head.chain(["time", "model"]).map(str::to_owned).collect()];
    for trial in &trials {
        let values = trial.values.iter().map(|value| value.as_ref().map_or("-".into(), text));
        let measured = metrics
            .iter()
            .map(|name| trial.metrics.get(name).map_or("-".into(), |found| value_text(name, found.value)));
        let mut row = vec![rank(trial)];
        row.extend(values.chain(measured));
        row.push(duration(trial.seconds));
        row.push(trial.model_id.clone().unwrap_or_else(|| "-".into()));
        rows.push(row);
    }
    let mut lines =
        vec![format!("search: {}, {} of {} points", search.strategy, trials.len(), search.points)];
    lines.extend(align(&rows));
    if trials.iter().any(|trial| trial.is_on_frontier) && search.objectives.len() > 1 {
        lines.push("* no other is better in one objective and as good in the others".into());
    }
    lines.extend(trials.iter().filter_map(|trial| why_not(search, trial)));
    lines.join("\n")
}

/// The last part of every name, where it tells them apart: `learning_rate`.
fn short(varied: &[String]) -> Vec<&str> {
    let last: Vec<&str> = varied.iter().map(|name| name.rsplit('.').next().unwrap_or(name)).collect();
    let is_clear = |name: &&str| last.iter().filter(|other| *other == name).count() == 1;
    std::iter::zip(varied, &last)
        .map(|(whole, last)| if is_clear(last) { last } else { whole.as_str() })
        .collect()
}

fn rank(trial: &TrialOutcome) -> String {
    let rank = trial.rank.map_or("-".into(), |rank| rank.to_string());
    if trial.is_on_frontier { format!("{rank} *") } else { rank }
}

/// Why a point gave no result, or none that counts.
fn why_not(search: &SearchOutcome, trial: &TrialOutcome) -> Option<String> {
    let fate = trial.fate()?;
    let values = short(&search.varied).into_iter().zip(&trial.values);
    let values = values.filter_map(|(name, value)| Some(format!("{name} {}", text(value.as_ref()?))));
    Some(format!("{}: {fate}", values.collect::<Vec<_>>().join(", ")))
}
