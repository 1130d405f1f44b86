//! `olive jobs`.

use super::problem::print_document;
use super::session::Session;
use super::{Globals, environment, output};
use clap::{Args, Subcommand};
use olive_config::LoadOptions;
use olive_core::Result;
use olive_engine::{REGISTRY, RunConfig};
use olive_systems::SystemError;
use olive_systems::azureml::{JobPlaces, JobSummary, Jobs, OnInterrupt};
use serde_json::json;
use std::path::{Path, PathBuf};

#[derive(Args)]
pub(crate) struct JobsArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// List the jobs of passes, newest first.
    List {
        #[command(flatten)]
        places: PlaceArgs,
        /// Print one JSON object instead of a table.
        #[arg(long)]
        json: bool,
    },
    /// Show how a job goes on, until it ends.
    Follow {
        /// Name of the job.
        name: String,
        #[command(flatten)]
        places: PlaceArgs,
    },
    /// End a job, and wait until it is cancelled.
    Cancel {
        /// Name of the job.
        name: String,
        #[command(flatten)]
        places: PlaceArgs,
    },
}

/// Where the jobs are.
#[derive(Args)]
#[group(multiple = false)]
struct PlaceArgs {
    /// The workspaces of the systems of this configuration, or its `azureml_client`.
    #[arg(long, alias = "run-config", value_name = "FILE")]
    config: Option<PathBuf>,
    /// This workspace.
    #[arg(long, value_name = "SUBSCRIPTION/GROUP/NAME")]
    workspace: Option<String>,
    /// The jobs that the runs of this output folder sent. [default: .]
    #[arg(long, value_name = "DIR")]
    output_dir: Option<PathBuf>,
}

impl PlaceArgs {
    fn places(&self) -> Result<JobPlaces> {
        if let Some(file) = &self.config {
            return JobPlaces::of_configuration(&RunConfig::load(file, &LoadOptions::default(), &REGISTRY)?);
        }
        match &self.workspace {
            Some(workspace) => JobPlaces::of_workspace(workspace),
            None => Ok(JobPlaces::of_output(self.output_dir.as_deref().unwrap_or(Path::new(".")))),
        }
    }
}

pub(crate) fn run(args: &JobsArgs, globals: &Globals) -> Result<()> {
    match &args.action {
        Action::List { places, json: false } => table(&list(places, globals)?),
        Action::List { places, json: true } => {
            print_document(list(places, globals).map(|jobs| json!({"jobs": jobs, "errors": []})))
        }
        Action::Follow { name, places } => with_jobs(places, globals, |jobs| jobs.follow(name)),
        Action::Cancel { name, places } => {
            with_jobs(places, globals, |jobs| jobs.cancel(name))?;
            output::result(&format!("job {name} is cancelled"))
        }
    }
}

fn list(places: &PlaceArgs, globals: &Globals) -> Result<Vec<JobSummary>> {
    with_jobs(places, globals, |jobs| jobs.list())
}

/// Does something with the jobs of these places; when it is done, nothing more is told of progress.
fn with_jobs<T>(args: &PlaceArgs, globals: &Globals, work: impl FnOnce(&Jobs) -> Result<T>) -> Result<T> {
    if environment::is_offline(globals) {
        return Err(SystemError::Offline.into());
    }
    let places = args.places()?;
    let session = Session::start(globals, 2)?;
    let settings = environment::azure_ml(globals, None, OnInterrupt::GoesOn);
    let (cancel, events) = (session.cancel(), session.events());
    work(&Jobs { places: &places, settings: &settings, cancel, events })
}

fn table(jobs: &[JobSummary]) -> Result<()> {
    let mut rows =
        vec![["job", "passes", "status", "compute", "experiment", "created (UTC)"].map(str::to_owned)];
    let shown = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".into());
    rows.extend(jobs.iter().map(|job| {
        [
            job.name.clone(),
            job.passes.join(","),
            job.status.clone(),
            shown(&job.compute),
            shown(&job.experiment),
            job.created.as_deref().map_or_else(|| "-".into(), to_the_second),
        ]
    }));
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 6] = std::array::from_fn(width);
    for row in &rows {
        let cells: Vec<String> =
            row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        output::result(cells.join("  ").trim_end())?;
    }
    Ok(())
}

/// `2026-11-24T08:30:00.123Z` for people.
fn to_the_second(time: &str) -> String {
    time.chars().take("2026-11-24T08:30:00".len()).collect::<String>().replace('T', " ")
}
