//! What can be wrong with a run record.

use super::FORMAT;
use olive_core::shown;
use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    #[error("`{}` is not part of a run record: {reason}", shown(path))]
    Unreadable { path: PathBuf, reason: String },
    #[error("the run record `{}` has format {found}; this program knows them up to {FORMAT}", shown(dir))]
    Format { dir: PathBuf, found: u32 },
}

impl olive_core::Fault for RecordError {
    fn hint(&self) -> Option<String> {
        match self {
            RecordError::Unreadable { .. } => {
                Some("give a folder of `.olive/runs` in an output folder".into())
            }
            RecordError::Format { .. } => Some("use the program that wrote it, or a later one".into()),
        }
    }
}
