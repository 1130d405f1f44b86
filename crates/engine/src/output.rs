//! The user's output folder, in the layout of today's Olive: ONNX files lie directly in it, a Hugging Face model in
//! `model/`, an adapter in `adapter/`; `model_config.json` says which it is, `run_history.json` how it came to be. Beside
//! them lies what the steps before the last made: an adapter with its curves in `adapter/`, a merged model in `merged/`.

use super::plan::Step;
use super::{EngineError, StepOutcome, record};
use crate::cache::manifest::{FileEntry, are_as_listed, list_files};
use crate::cache::store::remove_if_there;
use crate::stages::Stage;
use olive_core::event::{Event, EventSink};
use olive_core::handle::{ModelHandle, ModelKind};
use olive_core::{Result, error::IoContext};
use olive_model::{HubModel, MODEL_CONFIG, adapter, adapter_config};
use olive_onnx::ModelBuilderOptions;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::path::{Component, Path, PathBuf};

/// Files at least this large are linked, not copied, where the file system can: weights are not edited in place, a
/// `genai_config.json` is.
const LINK_FROM: u64 = 1 << 20;

/// Files of an earlier step that cannot be linked are copied below this size; of others there is a symbolic link.
const COPY_BELOW: u64 = 1_000_000_000;

const HISTORY: &str = "run_history.json";

#[derive(Serialize, Deserialize)]
struct History {
    /// Key of the last step: the folder is current while it is the same.
    key: String,
    files: Vec<FileEntry>,
    steps: serde_json::Value,
    /// The record of the run that wrote the files, relative to the folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    record: Option<PathBuf>,
}

/// Where in the output folder a model lies.
fn below(kind: ModelKind) -> &'static str {
    match kind {
        ModelKind::Onnx => "",
        ModelKind::Hf => "model",
        ModelKind::HfWithAdapter => "adapter",
    }
}

/// Finds out whether the result would take the place of the model that it is made from. `last` is the last step.
///
/// # Errors
/// [`EngineError::OverInput`].
pub fn check_input(output_dir: &Path, input: &ModelHandle, last: &Step) -> Result<()> {
    let target = output_dir.join(below(last.output));
    if target.canonicalize().is_ok_and(|folder| folders(input).contains(&folder)) {
        return Err(EngineError::OverInput { path: target }.into());
    }
    Ok(())
}

/// Finds out whether the result would take the place of `config`, or of a file in the working folder that no run made.
///
/// # Errors
/// [`EngineError::OverConfiguration`] or [`EngineError::OverFile`].
pub fn check_files(output_dir: &Path, config: &Path, last: &Step) -> Result<()> {
    match in_the_way(output_dir, config, last) {
        Some(path) if same(&path, config) => Err(EngineError::OverConfiguration { path }.into()),
        Some(path) => Err(EngineError::OverFile { path }.into()),
        None => Ok(()),
    }
}

/// Makes the folder and finds out, before the work begins, whether its result can be put there. `config` is the
/// configuration of the run, `last` its last step.
///
/// # Errors
/// As [`check_files`]. Or the folder cannot be made or written to.
pub fn prepare(output_dir: &Path, config: &Path, last: &Step) -> Result<()> {
    check_files(output_dir, config, last)?;
    std::fs::create_dir_all(output_dir).at("create", output_dir)?;
    tempfile::NamedTempFile::new_in(output_dir).map(drop).at("write into", output_dir)
}

/// The record of the run that wrote this folder, if it is known.
pub fn record_of(output_dir: &Path) -> Option<PathBuf> {
    read_history(&output_dir.join(HISTORY))?.record
}

/// Whether both are the same file or folder.
fn same(a: &Path, b: &Path) -> bool {
    a.canonicalize().is_ok_and(|a| b.canonicalize().is_ok_and(|b| a == b))
}

/// A file that the result would overwrite, though it is nobody's to overwrite. A folder that is given for results may be
/// filled anew; the working folder, which is the default, is full of other things.
fn in_the_way(output_dir: &Path, config: &Path, last: &Step) -> Option<PathBuf> {
    let history = read_history(&output_dir.join(HISTORY));
    let free = match &history {
        _ if !same(output_dir, Path::new(".")) => true,
        // Without its history, a folder of results is still told by what describes them.
        None => output_dir.join(MODEL_CONFIG).is_file(),
        Some(_) => false,
    };
    let ours = |path: &Path| {
        free || history
            .iter()
            .flat_map(|history| &history.files)
            .any(|file| output_dir.join(&file.path) == path)
    };
    let target = output_dir.join(below(last.output));
    let mut names: Vec<_> = std::fs::read_dir(target).into_iter().flatten().flatten().collect();
    names.sort_by_key(std::fs::DirEntry::file_name);
    names
        .iter()
        .filter(|entry| writes(last, &entry.file_name().to_string_lossy()))
        .map(|entry| output_dir.join(below(last.output)).join(entry.file_name()))
        .find(|path| same(path, config) || !ours(path))
}

/// Whether a file of this name comes into the folder of the last step's result.
fn writes(last: &Step, name: &str) -> bool {
    last.pass.writes(name) || (below(last.output).is_empty() && name == MODEL_CONFIG)
}

/// The folders of a model, as the file system knows them.
fn folders(model: &ModelHandle) -> Vec<PathBuf> {
    let dirs = match model {
        ModelHandle::Hf { dir } | ModelHandle::Onnx { dir } => vec![dir],
        ModelHandle::HfWithAdapter { base, adapter } => vec![base, adapter],
    };
    dirs.into_iter().filter_map(|dir| dir.canonicalize().ok()).collect()
}

/// The result of a flow on its way into the user's folder.
pub struct Publication<'a> {
    pub output_dir: &'a Path,
    /// What the run began with, and its name on the hub, if the user gave that.
    pub input: &'a ModelHandle,
    pub name: Option<&'a HubModel>,
    pub model: &'a ModelHandle,
    pub steps: &'a [StepOutcome],
    pub history: HistoryFile,
    pub events: &'a dyn EventSink,
}

/// What is left of how the folder came to be.
pub enum HistoryFile {
    /// Nothing (`no_artifacts`).
    Absent,
    /// `run_history.json`, which leads to the record of the run, by a path relative to the folder, and the results of the
    /// steps before the last.
    Written { record: PathBuf, stages: Vec<Stage> },
}

/// What becomes of a large file that cannot be linked.
#[derive(Clone, Copy)]
enum Unlinked {
    Copied,
    /// A symbolic link leads to it.
    PointedTo,
}

impl Publication<'_> {
    /// Brings the output folder up to date. Gives false if it already was. Files of an earlier run of ours that are no
    /// longer part of the result are removed, unless they belong to the model that this run began with; other files are
    /// left alone.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn write(&self) -> Result<bool> {
        let key = self.steps.last().map_or("input", |step| step.key.as_str());
        let history = self.output_dir.join(HISTORY);
        let earlier = read_history(&history);
        let ours = earlier.as_ref().map_or(&[][..], |earlier| &earlier.files);
        let stages = self.free_stages(ours)?;
        let has = |stage: &&Stage| ours.iter().any(|file| file.path.starts_with(&stage.folder));
        if let Some(earlier) = &earlier
            && matches!(self.history, HistoryFile::Written { .. })
            && earlier.key == key
            && stages.iter().all(has)
            && are_as_listed(&earlier.files, self.output_dir, &history)
        {
            return Ok(false);
        }
        std::fs::create_dir_all(self.output_dir).at("create", self.output_dir)?;
        let mut files = self.place_model(self.model, below(self.model.kind()), Unlinked::Copied)?;
        for stage in stages {
            files.extend(self.place_model(&stage.model, &stage.folder, Unlinked::PointedTo)?);
        }
        let config = model_config(self.model, below(self.model.kind()));
        let config_path = PathBuf::from(MODEL_CONFIG);
        let bytes = write_json(&self.output_dir.join(&config_path), &config)?;
        files.push(FileEntry::new(config_path, bytes));
        if let Some(earlier) = &earlier {
            self.remove_stale(&earlier.files, &files)?;
        }
        match &self.history {
            HistoryFile::Absent => remove_if_there(&history)?,
            HistoryFile::Written { record, .. } => {
                let steps = serde_json::to_value(self.steps).expect("plain data");
                let value = History { key: key.into(), files, steps, record: Some(record.clone()) };
                write_json(&history, &serde_json::to_value(value).expect("plain data"))?;
            }
        }
        Ok(true)
    }

    /// The stages that can be put into the folder without taking the place of the input model, or of a file that no run
    /// of `ours` wrote; says where the others are.
    fn free_stages(&self, ours: &[FileEntry]) -> Result<Vec<&Stage>> {
        let HistoryFile::Written { stages, .. } = &self.history else { return Ok(Vec::new()) };
        let inputs = folders(self.input);
        let mut free = Vec::new();
        for stage in stages {
            let target = self.output_dir.join(&stage.folder);
            let holds_input =
                target.canonicalize().is_ok_and(|target| inputs.iter().any(|dir| dir.starts_with(&target)));
            let overwrites = |file: &FileEntry| {
                let path = Path::new(&stage.folder).join(&file.path);
                self.output_dir.join(&path).exists() && !ours.iter().any(|file| file.path == path)
            };
            if holds_input || list_files(stage.model.dir())?.iter().any(overwrites) {
                let (target, dir) = (target.display(), stage.model.dir().display());
                let message =
                    format!("`{target}` is not of an earlier run, and stays as it is; this run's is {dir}");
                self.events.emit(Event::Info { message });
            } else {
                free.push(stage);
            }
        }
        Ok(free)
    }

    /// Puts a model's files in place, in the folder `below`, and gives them as they lie in the output folder.
    fn place_model(&self, model: &ModelHandle, below: &str, unlinked: Unlinked) -> Result<Vec<FileEntry>> {
        let below = Path::new(below);
        let mut files = Vec::new();
        for file in list_files(model.dir())? {
            // An input model may lie in an output folder of ours, with its records.
            if file.path.starts_with(record::FOLDER) {
                continue;
            }
            let target = below.join(&file.path);
            let (from, to) = (model.dir().join(&file.path), self.output_dir.join(&target));
            place(&from, &to, file.bytes, unlinked)?;
            files.push(FileEntry::new(target, file.bytes));
        }
        if let ModelHandle::HfWithAdapter { base, .. } = model {
            self.name_base(base, &below.join(adapter_config::CONFIG), &mut files)?;
        }
        Ok(files)
    }

    /// Says in an adapter's configuration where its base lies now: the cached adapter may have been trained when it lay
    /// elsewhere, or had another name.
    fn name_base(&self, base: &Path, config: &Path, files: &mut [FileEntry]) -> Result<()> {
        let name = self.name.filter(|_| base == self.input.base());
        let lies = absolute(base);
        let (base, revision) =
            name.map_or((lies.as_str(), None), |name| (name.id.as_str(), name.revision.as_deref()));
        for file in files.iter_mut().filter(|file| file.path == config) {
            file.bytes = adapter::name_base(&self.output_dir.join(&file.path), base, revision)?;
        }
        Ok(())
    }

    /// Removes what an earlier run wrote and this one did not.
    fn remove_stale(&self, earlier: &[FileEntry], files: &[FileEntry]) -> Result<()> {
        let inputs = folders(self.input);
        for old in earlier {
            let path = self.output_dir.join(&old.path);
            let inside = old.path.components().all(|part| matches!(part, Component::Normal(_)));
            let is_input =
                path.canonicalize().is_ok_and(|path| inputs.iter().any(|dir| path.starts_with(dir)));
            if inside && !is_input && !files.iter().any(|file| file.path == old.path) {
                remove_if_there(&path)?;
                // The folders that this leaves empty; others stay, as they cannot be removed.
                let below = old.path.ancestors().skip(1).filter(|folder| !folder.as_os_str().is_empty());
                let _ = below
                    .into_iter()
                    .try_for_each(|folder| std::fs::remove_dir(self.output_dir.join(folder)));
            }
        }
        Ok(())
    }
}

/// Paths are relative to the folder, so that it can be moved; only a base model outside of it is named as it lies.
fn model_config(model: &ModelHandle, below: &str) -> serde_json::Value {
    match model {
        ModelHandle::Onnx { dir } => json!({
            "type": "ONNXModel",
            "config": {"model_path": ".", "onnx_file_name": onnx_file_name(dir)},
        }),
        ModelHandle::Hf { .. } => json!({"type": "HfModel", "config": {"model_path": below}}),
        ModelHandle::HfWithAdapter { base, .. } => {
            json!({"type": "HfModel", "config": {"model_path": absolute(base), "adapter_path": below}})
        }
    }
}

/// The name that genai_config.json gives the graph.
fn onnx_file_name(dir: &Path) -> String {
    let text = std::fs::read(dir.join("genai_config.json")).unwrap_or_default();
    let config: serde_json::Value = serde_json::from_slice(&text).unwrap_or_default();
    config["model"]["decoder"]["filename"].as_str().unwrap_or(ModelBuilderOptions::FILE_NAME).to_owned()
}

fn absolute(dir: &Path) -> String {
    dir.canonicalize().unwrap_or_else(|_| dir.to_owned()).to_string_lossy().into_owned()
}

fn read_history(path: &Path) -> Option<History> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

/// Puts a file in place under a temporary name and renames it, so that a reader never sees half of it.
fn place(from: &Path, to: &Path, bytes: u64, unlinked: Unlinked) -> Result<()> {
    let folder = to.parent().expect("a file in a folder");
    std::fs::create_dir_all(folder).at("create", folder)?;
    let temporary = to.with_extension("olive-partial");
    remove_if_there(&temporary)?;
    let linked = bytes >= LINK_FROM && std::fs::hard_link(from, &temporary).is_ok();
    match unlinked {
        _ if linked => {}
        Unlinked::PointedTo if bytes >= COPY_BELOW => {
            std::os::unix::fs::symlink(absolute(from), &temporary).at("link", from)?;
        }
        _ => std::fs::copy(from, &temporary).at("copy", from).map(drop)?,
    }
    std::fs::rename(&temporary, to).at("write", to)?;
    // Renaming one link of a file over another does nothing.
    remove_if_there(&temporary)
}

fn write_json(path: &Path, value: &serde_json::Value) -> Result<u64> {
    let text = serde_json::to_string_pretty(value).expect("plain data") + "\n";
    std::fs::write(path, &text).at("write", path)?;
    Ok(text.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Only where memory is mounted as a second file system.
    #[test]
    fn what_cannot_be_linked_is_copied_or_pointed_to() {
        let here = tempfile::tempdir().unwrap();
        let Ok(elsewhere) = tempfile::tempdir_in("/dev/shm") else { return };
        let (from, to) = (here.path().join("weights"), elsewhere.path().join("weights"));
        let file = std::fs::File::create(&from).unwrap();
        file.set_len(COPY_BELOW).unwrap();
        if std::fs::hard_link(&from, &to).is_ok() {
            return;
        }
        place(&from, &to, COPY_BELOW, Unlinked::PointedTo).unwrap();
        assert_eq!(std::fs::read_link(&to).unwrap(), from.canonicalize().unwrap());
        file.set_len(2 * LINK_FROM).unwrap();
        for unlinked in [Unlinked::PointedTo, Unlinked::Copied] {
            place(&from, &to, 2 * LINK_FROM, unlinked).unwrap();
            assert!(to.symlink_metadata().unwrap().is_file());
        }
    }
}
