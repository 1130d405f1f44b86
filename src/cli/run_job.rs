//! `olive run-job`: the other side of passes that run elsewhere.

use super::session::Session;
use super::{Globals, environment, output};
use clap::Args;
use olive_core::Result;
use olive_engine::Mlflow;
use olive_engine::passes::MemoryPolicy;
use olive_systems::azureml::{self, OnInterrupt};
use olive_systems::{JobDescription, JobFolders, work};
use std::path::PathBuf;

#[derive(Args)]
pub(crate) struct RunJobArgs {
    /// What is to be done.
    #[arg(long, value_name = "FILE")]
    description: PathBuf,
    /// A folder that the job was given. May be repeated.
    #[arg(long = "input", value_name = "NAME=FOLDER", value_parser = input)]
    inputs: Vec<(String, PathBuf)>,
    /// Folder for what was made.
    #[arg(long, value_name = "FOLDER")]
    outputs: PathBuf,
    /// Folder that outlives this machine, for what another attempt can go on from.
    #[arg(long, value_name = "FOLDER")]
    kept: Option<PathBuf>,
    /// Key vault whose secret `hf-token` the job logs in to the Hugging Face Hub with.
    #[arg(long, value_name = "NAME")]
    hf_token_vault: Option<String>,
    /// Folder on this machine's own disk.
    #[arg(long, value_name = "FOLDER")]
    scratch: PathBuf,
}

fn input(text: &str) -> Result<(String, PathBuf), String> {
    let (name, folder) = text.split_once('=').ok_or("expected NAME=FOLDER")?;
    Ok((name.to_owned(), folder.into()))
}

pub(crate) fn run(args: &RunJobArgs, globals: &Globals) -> Result<()> {
    let description = JobDescription::read(&args.description)?;
    let session = Session::start(globals, 2)?;
    let mut environment = session.environment(globals, MemoryPolicy::Refuse);
    environment.tracking.mlflow = Mlflow::Off;
    if let Some(vault) = &args.hf_token_vault {
        let settings = environment::azure_ml(globals, None, OnInterrupt::GoesOn);
        environment.source.token = Some(azureml::hf_token(&settings, vault)?);
    }
    let folders = JobFolders {
        inputs: args.inputs.iter().cloned().collect(),
        scratch: args.scratch.clone(),
        outputs: args.outputs.clone(),
        kept: args.kept.clone(),
    };
    let result = work(&description, &folders, &environment);
    drop(session);
    let steps = result?.steps;
    output::result(&format!("{} steps done: {}", steps.len(), args.outputs.display()))
}
