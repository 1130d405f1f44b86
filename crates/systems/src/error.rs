//! What goes wrong with jobs, whichever system runs them.

use olive_core::error::Fault;
use olive_core::inner_path::NotInside;
use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum SystemError {
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
            _ => return None,
        };
        Some(hint.to_owned())
    }
}
