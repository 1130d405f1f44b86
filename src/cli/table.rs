//! The closing table of a run.

use crate::report::number;
use olive_engine::{StepOutcome, WorkflowOutcome};

/// Letters of a key that `olive cache explain` needs: the whole would not fit into a line.
const KEY: usize = 12;

fn state(step: &StepOutcome) -> &'static str {
    match step {
        StepOutcome { elsewhere: Some(_), .. } => "left in the datastore",
        StepOutcome { cached: true, .. } => "cached",
        StepOutcome { cached: false, .. } => "run",
    }
}

/// One row per pass, in columns: pass, type, time, how it came about, size, key.
pub(crate) fn render(outcome: &WorkflowOutcome) -> String {
    let mut rows = vec![["pass", "type", "time", "", "size", "key"].map(str::to_owned)];
    for step in outcome.steps() {
        rows.push([
            step.pass.clone(),
            step.r#type.clone(),
            number::duration(step.seconds),
            state(step).to_owned(),
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

/// The lines of a table whose first column stands on the left and all others on the right.
pub(crate) fn align(rows: &[Vec<String>]) -> Vec<String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| match column {
            0 => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use olive_engine::record::{
        FORMAT, PlanDocument, RunDocument, RunRecord, RunRecorder, RunState, runs_dir,
    };
    use olive_engine::{FlowOutcome, OutputState};

    fn outcome(dir: &std::path::Path) -> WorkflowOutcome {
        let step = |pass: &str, cached, seconds, bytes| StepOutcome {
            pass: pass.into(),
            r#type: "LoRA".into(),
            cached,
            seconds,
            bytes,
            path: dir.join(pass),
            key: format!("{pass}0123456789abcdef"),
            elsewhere: None,
        };
        let steps = vec![step("tune", false, 12.5, 1_400_000), step("again", true, 0.012, 812)];
        let flow = FlowOutcome {
            output_dir: dir.to_owned(),
            output: OutputState::Written,
            steps,
            evaluations: Vec::new(),
            search: None,
        };
        WorkflowOutcome { output_dir: dir.to_owned(), flows: vec![flow] }
    }

    fn run() -> RunDocument {
        RunDocument {
            format: FORMAT,
            olive_version: "1".into(),
            id: String::new(),
            state: RunState::Running,
            config: None,
            workflow_id: "w".into(),
            device: "cpu".into(),
            host: None,
            pid: 1,
            started: 1.0,
            ended: None,
            error: None,
        }
    }

    #[test]
    fn the_table_of_a_record_is_that_of_its_run() {
        let dir = tempfile::tempdir().unwrap();
        let outcome = outcome(dir.path());
        let table = render(&outcome);
        assert_eq!(
            table,
            "pass   type    time            size  key\n\
             tune   LoRA  12.5 s  run     1.4 MB  tune01234567\n\
             again  LoRA   12 ms  cached   812 B  again0123456"
        );

        let recorder = RunRecorder::default();
        let plan = PlanDocument { input_model: serde_json::Value::Null, flows: Vec::new() };
        let id = recorder.begin(dir.path(), run(), &plan, &[]).unwrap();
        recorder.outcome(&outcome);
        assert!(recorder.finish(None).is_none());
        let record = RunRecord::open(&runs_dir(dir.path()).join(id)).unwrap();
        assert_eq!(render(&record.outcome().unwrap()), table);
    }
}
