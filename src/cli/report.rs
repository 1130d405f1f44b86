//! `olive report` and `olive compare`.

use super::output;
use clap::Args;
use olive_core::{Error, Result, error::IoContext, file, shown};
use olive_engine::ForeignFiles;
use olive_engine::record::{RunRecord, RunState};
use olive_report::{CARD, Comparison, FILE, Run, card, compare_page, is_card, is_page, run_page};
use std::path::{Path, PathBuf};

#[derive(Args)]
pub(crate) struct ReportArgs {
    /// What `olive run` wrote, or the record of a run in its `.olive/runs`.
    run: PathBuf,
    /// Where the page goes; `report.html` of the output folder if it is not given.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct CompareArgs {
    /// Output folders, or records of runs in their `.olive/runs`.
    #[arg(required = true, num_args = 2..)]
    runs: Vec<PathBuf>,
    /// Write a page as well.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// Writes the page of a run again, also of one that was interrupted.
pub(crate) fn report(args: &ReportArgs) -> Result<()> {
    let run = Run::open(&args.run)?;
    let path = args.output.clone().unwrap_or_else(|| args.run.join(FILE));
    write(&path, &run_page(&run))
}

/// Writes the page of the run that has just ended into its output folder, and a model card if it made a model, unless a file of
/// somebody else is in the way. What keeps them from being written does not make the run a failed one.
pub(crate) fn write_of_run(output_dir: &Path, foreign: ForeignFiles) {
    let Some(record) = RunRecord::list(output_dir).into_iter().next() else { return };
    let run = match RunRecord::open(&record) {
        Ok(record) => Run::new(record, shown(output_dir).to_string()),
        Err(error) => return output::note(&not_written(&error)),
    };
    put(&output_dir.join(FILE), &run_page(&run), is_page, foreign);
    let card = (run.record.state() == RunState::Succeeded).then(|| card(&run)).flatten();
    if let Some(card) = card {
        put(&output_dir.join(CARD), &card, is_card, foreign);
    }
}

fn put(path: &Path, text: &str, is_ours: impl Fn(&Path) -> bool, foreign: ForeignFiles) {
    if path.symlink_metadata().is_ok() && foreign == ForeignFiles::Kept && !is_ours(path) {
        output::note(&format!("{} is not of an earlier run, and stays as it is", shown(path)));
        return;
    }
    if let Err(error) = file::replace(path, text.as_bytes()).at("write", path) {
        output::note(&not_written(&error));
    }
}

fn not_written(error: &Error) -> String {
    format!("the report of this run was not written: {}", error.with_causes())
}

/// Sets runs side by side.
pub(crate) fn compare(args: &CompareArgs) -> Result<()> {
    let runs = args.runs.iter().map(|run| Run::open(run)).collect::<Result<Vec<_>>>()?;
    output::result(&text(&Comparison::of(&runs)))?;
    args.html.as_ref().map_or(Ok(()), |path| write(path, &compare_page(&runs)))
}

fn write(path: &Path, page: &str) -> Result<()> {
    file::replace(path, page.as_bytes()).at("write", path)?;
    output::note(&format!("wrote {}", shown(path)));
    Ok(())
}

/// The table, with a line for the title of every group.
fn text(comparison: &Comparison) -> String {
    let head = std::iter::once(String::new()).chain(comparison.runs.iter().cloned()).collect();
    let mut rows: Vec<Vec<String>> = vec![head];
    let mut group = "";
    for row in &comparison.rows {
        if row.group != group {
            group = row.group;
            rows.push(vec![group.to_owned()]);
        }
        let values = row.values.iter().map(|value| value.clone().unwrap_or_else(|| "-".into()));
        rows.push(std::iter::once(format!("  {}", row.name)).chain(values).collect());
    }
    super::table::align(&rows).join("\n")
}
