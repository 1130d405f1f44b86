//! What a job leaves, and how it comes into the cache here:
//!
//! ```text
//! result.json                 the steps that are done
//! artefacts/<PassType>-<key>/manifest.json
//!                           └ output/
//! ```

use crate::SystemError;
use olive_core::{InnerPath, Result, error::IoContext, file};
use olive_engine::cache::{Manifest, OUTPUT, Store};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Name of the list of what is there, which is written last.
pub const RESULT: &str = "result.json";
const ARTEFACTS: &str = "artefacts";

/// `result.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobResult {
    pub format: u32,
    pub olive_version: String,
    /// In the order in which they ran.
    pub steps: Vec<StepResult>,
    /// Inputs that are not what the job wrote that made them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub damaged: Vec<String>,
}

/// The artefact of a step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepResult {
    /// Name of the pass.
    pub pass: String,
    /// Folder below the one that holds `result.json`, with `manifest.json` and `output`.
    pub folder: String,
    pub manifest: Manifest,
}

impl JobResult {
    /// Reads `result.json` of a folder.
    ///
    /// # Errors
    /// It is not there, [`SystemError::Result`] or [`SystemError::Format`].
    pub fn read(dir: &Path) -> Result<JobResult> {
        let path = dir.join(RESULT);
        let bytes = file::read(&path).at("read", &path)?;
        let wrong = |reason: String| SystemError::Result { path: path.clone(), reason };
        let result: JobResult = serde_json::from_slice(&bytes).map_err(|error| wrong(error.to_string()))?;
        if result.format != crate::FORMAT {
            return Err(SystemError::Format { found: result.format, known: crate::FORMAT }.into());
        }
        for step in &result.steps {
            InnerPath::parse(&step.folder).map_err(|source| SystemError::Name { source })?;
        }
        Ok(result)
    }

    /// Writes `result.json` of steps of this program into a folder, which is made if need be.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn write(steps: Vec<StepResult>, damaged: Vec<String>, to: &Path) -> Result<JobResult> {
        let olive_version = env!("CARGO_PKG_VERSION").to_owned();
        let result = JobResult { format: crate::FORMAT, olive_version, steps, damaged };
        let path = to.join(RESULT);
        let text = serde_json::to_string_pretty(&result).expect("plain data") + "\n";
        std::fs::create_dir_all(to).at("create", to)?;
        file::replace(&path, text.as_bytes()).at("write", &path)?;
        Ok(result)
    }
}

impl StepResult {
    /// The folder with the manifest, given where the result is.
    pub fn dir(&self, result: &Path) -> PathBuf {
        result.join(&self.folder)
    }
}

/// Lays out the artefacts that the passes of these names left in `store`, which was empty before, for somebody to fetch.
///
/// # Errors
/// A file cannot be written.
pub fn lay_out(store: &Store, passes: &[String], to: &Path) -> Result<JobResult> {
    let made = store.list();
    let mut steps = Vec::new();
    for pass in passes {
        let Some((dir, manifest)) = made.iter().find(|(_, manifest)| manifest.pass_name == *pass) else {
            break;
        };
        let folder = format!("{ARTEFACTS}/{}-{}", manifest.pass_type, manifest.key);
        let target = to.join(&folder);
        for name in manifest.files.iter().map(|file| Path::new(OUTPUT).join(&file.path)) {
            copy(&dir.join(&name), &target.join(&name))?;
        }
        copy(&dir.join(Manifest::NAME), &target.join(Manifest::NAME))?;
        steps.push(StepResult { pass: pass.clone(), folder, manifest: manifest.clone() });
    }
    JobResult::write(steps, Vec::new(), to)
}

/// Copies a file, unless it is there already: an earlier attempt may have come that far.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<()> {
    let bytes = |path: &Path| path.metadata().map(|meta| meta.len()).ok();
    if bytes(to).is_some() && bytes(to) == bytes(from) {
        return Ok(());
    }
    let folder = to.parent().expect("below a folder");
    std::fs::create_dir_all(folder).at("create", folder)?;
    let partial = file::partial_path(to);
    file::copy(from, &partial).at("copy", from)?;
    std::fs::rename(&partial, to).at("write", to)
}
