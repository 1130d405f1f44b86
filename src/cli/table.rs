//! The closing table of a run.

use crate::report::number;
use olive_engine::WorkflowOutcome;

/// Letters of a key that `olive cache explain` needs: the whole would not fit into a line.
const KEY: usize = 12;

/// One row per pass, in columns: pass, type, time, cached or run, size, key.
pub(crate) fn render(outcome: &WorkflowOutcome) -> String {
    let mut rows = vec![["pass", "type", "time", "", "size", "key"].map(str::to_owned)];
    for step in outcome.steps() {
        rows.push([
            step.pass.clone(),
            step.r#type.to_owned(),
            number::duration(step.seconds),
            if step.cached { "cached" } else { "run" }.to_owned(),
            number::bytes(step.bytes),
            step.key.chars().take(KEY).collect(),
        ]);
    }
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..6).map(width).collect();
    let lines: Vec<String> = rows
        .iter()
        .map(|[pass, kind, time, state, size, key]| {
            format!(
                "{pass:<0$}  {kind:<1$}  {time:>2$}  {state:<3$}  {size:>4$}  {key}",
                widths[0], widths[1], widths[2], widths[3], widths[4]
            )
        })
        .collect();
    lines.join("\n")
}
