//! What a job is told: `job.json`.

use crate::SystemError;
use olive_core::handle::ModelKind;
use olive_core::{InnerPath, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Version of the description; a program refuses others.
pub const FORMAT: u32 = 1;

/// Consecutive passes of a configuration, for another machine. It names no path of this one, and no time: the same work has
/// the same description.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobDescription {
    /// [`FORMAT`].
    pub format: u32,
    /// The configuration as it was written, with what the command line set.
    pub config: Value,
    /// Names of the passes, in order.
    pub passes: Vec<String>,
    pub model: JobModel,
    /// Datasets that do not lie where the configuration says, by the name of their data config.
    pub data: BTreeMap<String, JobData>,
    /// What is in inputs that an earlier job left, by their names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub contents: BTreeMap<String, Contents>,
}

/// The files of a folder: blake3 of each, in hex, by its path there.
pub type Contents = BTreeMap<String, String>;

/// What the first pass works on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobModel {
    pub kind: ModelKind,
    /// The folder of the model, or of the adapter's base. `None`: the job fetches what the configuration names.
    pub base: Option<Place>,
    pub adapter: Option<Place>,
}

/// The rows of a dataset, and the reader that reads them; an empty name for one that is found in the names of the files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobData {
    pub reader: String,
    pub files: JobFiles,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobFiles {
    /// The files of every split that is used, in order.
    Splits(Vec<(String, Vec<Place>)>),
    /// A folder, from whose names the splits follow.
    Folder(Place),
}

/// A file or folder that a job finds below one of its inputs, wherever the system puts that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// Name of the input.
    pub input: String,
    /// Below it; empty for the input itself.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub below: String,
}

impl Place {
    /// The input itself.
    pub fn input(name: &str) -> Place {
        Place { input: name.to_owned(), below: String::new() }
    }

    /// Something in the input.
    pub fn below(name: &str, below: &str) -> Place {
        Place { input: name.to_owned(), below: below.to_owned() }
    }

    /// The path, given where the inputs are.
    ///
    /// # Errors
    /// [`SystemError::NoInput`], or a name that leads out of the input.
    pub fn path(&self, inputs: &BTreeMap<String, PathBuf>) -> Result<PathBuf> {
        let input =
            inputs.get(&self.input).ok_or_else(|| SystemError::NoInput { name: self.input.clone() })?;
        if self.below.is_empty() {
            return Ok(input.clone());
        }
        let below = InnerPath::parse(&self.below).map_err(|source| SystemError::Name { source })?;
        Ok(below.below(input))
    }
}
