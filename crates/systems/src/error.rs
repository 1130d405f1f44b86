//! What goes wrong with jobs, whichever system runs them.

use olive_core::error::Fault;
use olive_core::inner_path::NotInside;
use olive_core::shown;
use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum SystemError {
    #[error(
        "the note of SelectiveMixedPrecision is on this machine, and the weights that it is about are elsewhere"
    )]
    NoteElsewhere,
    #[error("the job has no input `{name}`")]
    NoInput { name: String },
    #[error("the name {source}")]
    Name { source: NotInside },
    #[error("`{}` is not what a job leaves: {reason}", path.display())]
    Result { path: PathBuf, reason: String },
    #[error("the job was described by another version of olive (format {found}, this one reads {known})")]
    Format { found: u32, known: u32 },
    #[error("`{}` is no job description: {reason}", path.display())]
    Description { path: PathBuf, reason: String },
    #[error("the job is to run `{pass}`, which its configuration does not have")]
    NoPass { pass: String },
    #[error(transparent)]
    Azure(#[from] olive_azureml::Error),
    #[error("`{address}` cannot be brought here")]
    Resource { address: String, source: olive_azureml::Error },
    #[error("job {name} ended as {status}: {message}")]
    JobFailed { name: String, status: String, message: String, hint: Option<String> },
    #[error("there is no job `{name}` in {places}")]
    NoJob { name: String, places: String },
    #[error("job {name} ended as {status} before it could be cancelled")]
    NotCancelled { name: String, status: String },
    #[error("`{}` names no workspace of Azure ML", path.display())]
    NoWorkspace { path: PathBuf },
    #[error("`{text}` is no workspace: expected SUBSCRIPTION/GROUP/NAME")]
    WorkspaceName { text: String },
    #[error("jobs of Azure ML are elsewhere, and the network is not to be used")]
    Offline,
    #[error("`{}` of the input `{input}` is not what the job wrote that made it", shown(path))]
    Damaged { input: String, path: PathBuf },
    #[error("job {name} is not there any more: somebody deleted it")]
    JobGone { name: String },
    #[error("`{}` cannot be the program of a job: {reason}", path.display())]
    Program { path: PathBuf, reason: String },
    #[error("requests cannot be sent")]
    Runtime { source: std::io::Error },
    #[error("the rows of `{name}` cannot be sent to another machine: {reason}")]
    Data { name: String, reason: String },
}

impl Fault for SystemError {
    fn hint(&self) -> Option<String> {
        let hint = match self {
            SystemError::Format { .. } => {
                "run the job with the binary that described it; `olive run` sends itself"
            }
            SystemError::Result { .. } => {
                "the job may have been stopped while it wrote; run the same command again"
            }
            SystemError::Azure(error) | SystemError::Resource { source: error, .. } => return error.hint(),
            SystemError::JobFailed { hint, .. } => return hint.clone(),
            SystemError::Damaged { .. } => "run the same command again: it is made again",
            SystemError::JobGone { .. } => "run the same command again: it sends the job again",
            SystemError::Program { .. } => {
                "give one for Linux on x86-64 as `binary` of the system; `scripts/build-portable` makes it"
            }
            SystemError::NoJob { .. } => "`olive jobs list` has the names, of the same places",
            SystemError::NotCancelled { .. } => "nothing is left to cancel",
            SystemError::NoWorkspace { .. } => {
                "give `azureml_client` there, or --workspace SUBSCRIPTION/GROUP/NAME instead of the file"
            }
            SystemError::WorkspaceName { .. } => {
                "the overview of the workspace in the portal has the three names"
            }
            SystemError::Offline => "leave out --offline and --sandbox",
            _ => return None,
        };
        Some(hint.to_owned())
    }

    fn exit_code(&self) -> u8 {
        match self {
            SystemError::NoWorkspace { .. } | SystemError::WorkspaceName { .. } | SystemError::Offline => 2,
            _ => 1,
        }
    }
}
