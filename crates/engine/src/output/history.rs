//! `run_history.json`: what a run wrote into an output folder. It tells our files from those of others.

use crate::cache::manifest::FileEntry;
use olive_core::{Result, error::IoContext, file};
use olive_model::MODEL_CONFIG;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

pub(super) const HISTORY: &str = "run_history.json";

/// Stands for the key while files are put in place: a folder that a killed run left is never current.
pub(super) const UNFINISHED: &str = "unfinished";

#[derive(Serialize, Deserialize)]
pub(super) struct History {
    /// Key of the last step: the folder is current while it is the same.
    pub(super) key: String,
    pub(super) files: Vec<FileEntry>,
    pub(super) steps: serde_json::Value,
    /// Those of the files that say something about the result, and may be written after it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) documents: Vec<PathBuf>,
    /// The record of the run that wrote the files, relative to the folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) record: Option<PathBuf>,
}

impl History {
    /// `None` if there is none, or none of ours.
    pub(super) fn read(output_dir: &Path) -> Option<History> {
        serde_json::from_slice(&file::read(&output_dir.join(HISTORY)).ok()?).ok()
    }

    /// # Errors
    /// The folder cannot be written.
    pub(super) fn write(&self, output_dir: &Path) -> Result<()> {
        write_json(&output_dir.join(HISTORY), &serde_json::to_value(self).expect("plain data")).map(drop)
    }
}

/// Whose the files of an output folder are.
pub(super) enum Ownership {
    /// Ours as far as the history lists them.
    Listed(Option<History>),
    /// All may be replaced: what describes a result says that this is a folder of results, or the user did.
    Free,
}

impl Ownership {
    pub(super) fn of(output_dir: &Path, foreign: ForeignFiles) -> Ownership {
        match (foreign, History::read(output_dir)) {
            (ForeignFiles::Replaced, _) => Ownership::Free,
            (ForeignFiles::Kept, None) if describes_a_result(&output_dir.join(MODEL_CONFIG)) => {
                Ownership::Free
            }
            (ForeignFiles::Kept, history) => Ownership::Listed(history),
        }
    }

    /// Whether a run may replace this file, given relative to the folder.
    pub(super) fn allows(&self, path: &Path) -> bool {
        match self {
            Ownership::Free => true,
            Ownership::Listed(None) => false,
            Ownership::Listed(Some(history)) => {
                path == Path::new(HISTORY) || history.files.iter().any(|file| file.path == path)
            }
        }
    }
}

/// What becomes of files in an output folder that no run wrote.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ForeignFiles {
    /// They stay, and a result that would take their place is refused.
    #[default]
    Kept,
    Replaced,
}

fn describes_a_result(path: &Path) -> bool {
    let text = file::read(path).unwrap_or_default();
    let value: serde_json::Value = serde_json::from_slice(&text).unwrap_or_default();
    value["type"].is_string() && value["config"].is_object()
}

/// Writes a document and gives its size.
pub(super) fn write_json(path: &Path, value: &serde_json::Value) -> Result<u64> {
    let text = serde_json::to_string_pretty(value).expect("plain data") + "\n";
    file::replace(path, text.as_bytes()).at("write", path)?;
    Ok(text.len() as u64)
}
