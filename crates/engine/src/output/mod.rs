//! The user's output folder, in the layout of today's Olive: ONNX files lie directly in it, a Hugging Face model in
//! `model/`, an adapter in `adapter/`; `model_config.json` says which it is, `run_history.json` how it came to be. Beside
//! them lies what the steps before the last made: an adapter with its curves in `adapter/`, a merged model in `merged/`.

mod history;
mod lock;
mod place;

pub use history::ForeignFiles;

use super::plan::Step;
use super::{EngineError, StepOutcome, record};
use crate::cache::folder::remove_if_there;
use crate::cache::manifest::{FileEntry, are_as_listed, list_files};
use crate::stages::Stage;
use history::{HISTORY, History, Ownership, UNFINISHED, write_json};
use olive_core::cancel::CancelFlag;
use olive_core::content::ContentHashes;
use olive_core::event::{Event, EventSink};
use olive_core::handle::{ModelHandle, ModelKind};
use olive_core::{Result, error::IoContext, file, shown};
use olive_model::{HubModel, MODEL_CONFIG, adapter, adapter_config};
use olive_onnx::ModelBuilderOptions;
use serde_json::json;
use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Files at least this large are linked, not copied, where the file system can: weights are not edited in place, a
/// `genai_config.json` is.
const LINK_FROM: u64 = 1 << 20;

/// Files of an earlier step that cannot be linked are copied below this size; of others there is a symbolic link.
const COPY_BELOW: u64 = 1_000_000_000;

/// Where in the output folder a model lies.
fn below(kind: ModelKind) -> &'static str {
    match kind {
        ModelKind::Onnx => "",
        ModelKind::Hf => "model",
        ModelKind::HfWithAdapter => "adapter",
        ModelKind::HfWithNote => "note",
    }
}

/// Where the result of a flow is to go.
pub struct Destination<'a> {
    pub output_dir: &'a Path,
    /// The configuration of the run.
    pub config: &'a Path,
    pub cache_dir: &'a Path,
    /// The user's folder.
    pub home: Option<&'a Path>,
    pub foreign: ForeignFiles,
    /// The last step of the flow; without one there is no result, only what was measured.
    pub last: Option<&'a Step>,
}

impl Destination<'_> {
    /// Finds out whether the result would take the place of the model that it is made from.
    ///
    /// # Errors
    /// [`EngineError::OverInput`].
    pub fn check_input(&self, input: &ModelHandle) -> Result<()> {
        let target = self.target();
        if target.canonicalize().is_ok_and(|folder| folders(input).contains(&folder)) {
            return Err(EngineError::OverInput { path: target }.into());
        }
        Ok(())
    }

    /// Finds out whether the result may go there, as far as names tell: it takes the place of no file that no run made, nor
    /// of the configuration.
    ///
    /// # Errors
    /// [`EngineError::OutputPlace`], [`EngineError::OutputLink`], [`EngineError::OverConfiguration`] or [`EngineError::OverFile`].
    pub fn check_files(&self) -> Result<()> {
        place::check(self.output_dir, self.cache_dir, self.home)?;
        let folders =
            [self.target(), self.output_dir.join(olive_core::RECORDS), record::runs_dir(self.output_dir)];
        if let Some(link) =
            folders.into_iter().find(|folder| folder != self.output_dir && folder.is_symlink())
        {
            return Err(EngineError::OutputLink { path: link }.into());
        }
        match self.in_the_way() {
            Some(path) if same(&path, self.config) => Err(EngineError::OverConfiguration { path }.into()),
            Some(path) => Err(EngineError::OverFile { path }.into()),
            None => Ok(()),
        }
    }

    /// Makes the folder and finds out, before the work begins, whether its result can be put there.
    ///
    /// # Errors
    /// As [`Self::check_files`]. Or the folder cannot be made or written to.
    pub fn prepare(&self) -> Result<()> {
        self.check_files()?;
        std::fs::create_dir_all(self.output_dir).at("create", self.output_dir)?;
        file::partial(self.output_dir).map(drop).at("write into", self.output_dir)
    }

    fn below(&self) -> &'static str {
        self.last.map_or("", |last| below(last.output))
    }

    /// The folder of the model itself.
    fn target(&self) -> PathBuf {
        let below = self.below();
        if below.is_empty() { self.output_dir.to_owned() } else { self.output_dir.join(below) }
    }

    /// A file that the result would overwrite, though it is nobody's to overwrite.
    fn in_the_way(&self) -> Option<PathBuf> {
        let names = |dir: PathBuf, wanted: &dyn Fn(&str) -> bool| {
            let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
            let mut names: Vec<_> = entries.map(|entry| entry.file_name()).collect();
            names.retain(|name| wanted(&name.to_string_lossy()));
            names.sort();
            names
        };
        let below = Path::new(self.below());
        let of_the_model = names(self.target(), &|name| self.last.is_some_and(|last| last.pass.writes(name)));
        let beside = names(self.output_dir.to_owned(), &|name| [MODEL_CONFIG, HISTORY].contains(&name));
        let all = of_the_model.iter().map(|name| below.join(name)).chain(beside.iter().map(PathBuf::from));
        // Another run may be writing: it lists a file before it puts it in place, and removes it before it lists it no
        // longer. So whose files they are is read after they were seen, and then whether they are still there.
        let ownership = Ownership::of(self.output_dir, self.foreign);
        let is_in_the_way = |lies: &Path, path: &Path| {
            same(lies, self.config)
                || !(lies.is_dir() || ownership.allows(path) || lies.symlink_metadata().is_err())
        };
        all.map(|path| (self.output_dir.join(&path), path))
            .find(|(lies, path)| is_in_the_way(lies, path))
            .map(|(lies, _)| lies)
    }
}

/// The record of the run that wrote this folder, if it is known.
pub fn record_of(output_dir: &Path) -> Option<PathBuf> {
    History::read(output_dir)?.record
}

/// Removes what runs wrote into this folder, and the folder if it is empty then.
///
/// # Errors
/// A file cannot be removed, or the run is to stop while another one writes there.
pub(crate) fn withdraw(output_dir: &Path, cancel: &CancelFlag, events: &dyn EventSink) -> Result<()> {
    let _lock = lock::take(output_dir, cancel, events)?;
    let Some(history) = History::read(output_dir) else { return Ok(()) };
    remove_listed(&history.files, output_dir, |_| true)?;
    remove_if_there(&output_dir.join(HISTORY))?;
    let _ = std::fs::remove_dir(output_dir);
    Ok(())
}

/// Removes these files of a folder as far as they are `wanted`, and the folders that this leaves empty.
fn remove_listed(files: &[FileEntry], output_dir: &Path, wanted: impl Fn(&FileEntry) -> bool) -> Result<()> {
    for old in files.iter().filter(|old| wanted(old)) {
        let Some(path) = old.below(output_dir) else { continue };
        remove_if_there(&path)?;
        // Others stay, as they cannot be removed.
        let below = old.path.ancestors().skip(1).filter(|folder| !folder.as_os_str().is_empty());
        let _ = below.into_iter().try_for_each(|folder| std::fs::remove_dir(output_dir.join(folder)));
    }
    Ok(())
}

/// Whether both are the same file or folder.
fn same(a: &Path, b: &Path) -> bool {
    a.canonicalize().is_ok_and(|a| b.canonicalize().is_ok_and(|b| a == b))
}

/// The folders of a model, as the file system knows them.
fn folders(model: &ModelHandle) -> Vec<PathBuf> {
    let dirs = match model {
        ModelHandle::Hf { dir } | ModelHandle::Onnx { dir } => vec![dir],
        ModelHandle::HfWithAdapter { base, adapter } => vec![base, adapter],
        ModelHandle::HfWithNote { base, note } => vec![base, note],
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
    pub documents: Documents,
    pub foreign: ForeignFiles,
    pub cancel: &'a CancelFlag,
    pub events: &'a dyn EventSink,
}

/// A file on its way from a model into the output folder.
struct Placement {
    from: PathBuf,
    /// As it will lie in the output folder.
    entry: FileEntry,
    unlinked: Unlinked,
}

/// What is left of how the folder came to be.
pub enum HistoryFile {
    /// Nothing (`no_artifacts`).
    Absent,
    /// `run_history.json`, which leads to the record of the run, by a path relative to the folder, and the results of the
    /// steps before the last.
    Written { record: PathBuf, stages: Vec<Stage> },
}

/// What lies beside a result and says something about it.
pub enum Documents {
    /// Those of an earlier run that had the same result stay: they are not known yet.
    AsTheyAre,
    Are(Vec<Document>),
}

/// A file for the output folder that is no part of the model.
pub struct Document {
    pub name: String,
    pub content: Content,
}

/// What is in a [`Document`].
pub enum Content {
    Text(String),
    /// That of a file of the cache.
    File {
        path: PathBuf,
        bytes: u64,
    },
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
    /// left alone. Another run that writes into the folder is waited for.
    ///
    /// # Errors
    /// A file cannot be written, or takes the place of one that no run wrote.
    pub fn write(&self) -> Result<bool> {
        let _lock = lock::take(self.output_dir, self.cancel, self.events)?;
        let key = self.steps.last().map_or("input", |step| step.key.as_str());
        let earlier = History::read(self.output_dir);
        let ours = earlier.as_ref().map_or(&[][..], |earlier| &earlier.files);
        remove_partial(self.output_dir, ours);
        let stages = self.free_stages(ours)?;
        let has = |stage: &&Stage| ours.iter().any(|file| file.path.starts_with(&stage.folder));
        if let Some(earlier) = &earlier
            && matches!(self.history, HistoryFile::Written { .. })
            && earlier.key == key
            && stages.iter().all(has)
            && are_as_listed(&earlier.files, self.output_dir, &self.output_dir.join(HISTORY))
        {
            return self.write_documents(earlier);
        }
        let mut placements = placements(self.model, below(self.model.kind()), Unlinked::Copied)?;
        for stage in stages {
            placements.extend(self::placements(&stage.model, &stage.folder, Unlinked::PointedTo)?);
        }
        self.check(&placements)?;
        let record = match &self.history {
            HistoryFile::Absent => None,
            HistoryFile::Written { record, .. } => Some(record.clone()),
        };
        // Whatever happens from here on, the next run knows which files are ours.
        let on_their_way = placements.iter().map(|placement| placement.entry.clone());
        let description = (!self.steps.is_empty()).then(|| described(0));
        let on_their_way =
            on_their_way.chain(self.documents().iter().map(Document::entry)).chain(description);
        let files: Vec<FileEntry> = ours.iter().cloned().chain(on_their_way).collect();
        let (steps, documents) = (serde_json::Value::Null, Vec::new());
        History { key: UNFINISHED.into(), files, steps, documents, record: record.clone() }
            .write(self.output_dir)?;
        let mut files = self.place(placements)?;
        for document in self.documents() {
            files.push(document.write(self.output_dir)?);
        }
        self.remove_stale(ours, &files)?;
        match record {
            None => remove_if_there(&self.output_dir.join(HISTORY))?,
            record => {
                let steps = serde_json::to_value(self.steps).expect("plain data");
                let documents = self.documents().iter().map(Document::path).collect();
                History { key: key.into(), files, steps, documents, record }.write(self.output_dir)?;
            }
        }
        Ok(true)
    }

    /// The documents that are known.
    fn documents(&self) -> &[Document] {
        match &self.documents {
            Documents::Are(documents) => documents,
            Documents::AsTheyAre => &[],
        }
    }

    /// Brings the documents of a folder up to date that has the result. Gives false if they already were.
    fn write_documents(&self, earlier: &History) -> Result<bool> {
        let Documents::Are(documents) = &self.documents else { return Ok(false) };
        let is_there = |document: &Document| {
            earlier.documents.contains(&document.path())
                && document.is_at(&self.output_dir.join(&document.name))
        };
        if documents.len() == earlier.documents.len() && documents.iter().all(is_there) {
            return Ok(false);
        }
        self.check_free(documents.iter().map(Document::path))?;
        let (stale, mut files): (Vec<_>, Vec<_>) =
            earlier.files.iter().cloned().partition(|file| earlier.documents.contains(&file.path));
        // Whatever happens from here on, the next run knows which files are ours.
        let history = |files: Vec<FileEntry>, documents: &[Document]| History {
            key: earlier.key.clone(),
            files,
            steps: earlier.steps.clone(),
            documents: documents.iter().map(Document::path).collect(),
            record: earlier.record.clone(),
        };
        let on_their_way = documents.iter().map(Document::entry);
        let all = files.iter().chain(&stale).cloned().chain(on_their_way).collect();
        History { key: UNFINISHED.into(), ..history(all, &[]) }.write(self.output_dir)?;
        for document in documents {
            files.push(document.write(self.output_dir)?);
        }
        self.remove_stale(&stale, &files)?;
        history(files, documents).write(self.output_dir)?;
        Ok(true)
    }

    /// Refuses to take the place of files that no run wrote, and to go through links, which may lead anywhere.
    fn check(&self, placements: &[Placement]) -> Result<()> {
        let placed = placements.iter().map(|placement| placement.entry.path.clone());
        let beside = [MODEL_CONFIG, HISTORY].map(PathBuf::from);
        self.check_free(placed.chain(beside).chain(self.documents().iter().map(Document::path)))
    }

    fn check_free(&self, paths: impl Iterator<Item = PathBuf>) -> Result<()> {
        let ownership = Ownership::of(self.output_dir, self.foreign);
        for path in paths {
            let lies = self.output_dir.join(&path);
            if FileEntry::new(path.clone(), 0).below(self.output_dir).is_none() {
                return Err(EngineError::OutputLink { path: lies }.into());
            }
            if lies.symlink_metadata().is_ok() && !ownership.allows(&path) {
                return Err(EngineError::OverFile { path: lies }.into());
            }
        }
        Ok(())
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
                self.output_dir.join(&path).symlink_metadata().is_ok()
                    && !ours.iter().any(|file| file.path == path)
            };
            if holds_input || target.is_symlink() || list_files(stage.model.dir())?.iter().any(overwrites) {
                let (target, dir) = (shown(&target), shown(stage.model.dir()));
                let message =
                    format!("`{target}` is not of an earlier run, and stays as it is; this run's is {dir}");
                self.events.emit(Event::Info { message });
            } else {
                free.push(stage);
            }
        }
        Ok(free)
    }

    /// Puts files and what describes them in place, and gives them as they lie in the output folder.
    fn place(&self, placements: Vec<Placement>) -> Result<Vec<FileEntry>> {
        let mut files = Vec::with_capacity(placements.len() + 1);
        for Placement { from, entry, unlinked } in placements {
            place(&from, &self.output_dir.join(&entry.path), entry.bytes, unlinked)?;
            files.push(entry);
        }
        let HistoryFile::Written { stages, .. } = &self.history else {
            return self.describe(files);
        };
        for stage in stages {
            self.name_base(&stage.model, &stage.folder, &mut files)?;
        }
        self.describe(files)
    }

    /// Says in the adapter's configuration where its base lies, and in a file of its own what the result is.
    fn describe(&self, mut files: Vec<FileEntry>) -> Result<Vec<FileEntry>> {
        if self.steps.is_empty() {
            return Ok(files);
        }
        let below = below(self.model.kind());
        self.name_base(self.model, below, &mut files)?;
        let config = model_config(self.model, below);
        files.push(described(write_json(&self.output_dir.join(MODEL_CONFIG), &config)?));
        Ok(files)
    }

    /// Says in an adapter's configuration where its base lies now: the cached adapter may have been trained when it lay
    /// elsewhere, or had another name.
    fn name_base(&self, model: &ModelHandle, below: &str, files: &mut [FileEntry]) -> Result<()> {
        let ModelHandle::HfWithAdapter { base, .. } = model else { return Ok(()) };
        let config = Path::new(below).join(adapter_config::CONFIG);
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
        remove_listed(earlier, self.output_dir, |old| {
            let path = old.below(self.output_dir).and_then(|path| path.canonicalize().ok());
            let is_input = path.is_some_and(|path| inputs.iter().any(|dir| path.starts_with(dir)));
            !is_input && !files.iter().any(|file| file.path == old.path)
        })
    }
}

impl Document {
    pub(crate) fn text(name: impl Into<String>, text: String) -> Document {
        Document { name: name.into(), content: Content::Text(text) }
    }

    fn path(&self) -> PathBuf {
        PathBuf::from(&self.name)
    }

    fn entry(&self) -> FileEntry {
        let bytes = match &self.content {
            Content::Text(text) => text.len() as u64,
            Content::File { bytes, .. } => *bytes,
        };
        FileEntry::new(self.path(), bytes)
    }

    /// Whether a file has this content.
    fn is_at(&self, path: &Path) -> bool {
        match &self.content {
            Content::Text(text) => file::read(path).is_ok_and(|read| read == text.as_bytes()),
            Content::File { path: from, .. } => same_content(from, path).unwrap_or(false),
        }
    }

    /// Writes the file into `dir`.
    fn write(&self, dir: &Path) -> Result<FileEntry> {
        let path = dir.join(&self.name);
        match &self.content {
            Content::Text(text) => file::replace(&path, text.as_bytes()).at("write", &path)?,
            Content::File { path: from, bytes } => place(from, &path, *bytes, Unlinked::Copied)?,
        }
        Ok(self.entry())
    }
}

/// Whether two files are one, or have the same bytes.
fn same_content(one: &Path, other: &Path) -> Result<bool> {
    let meta = |path: &Path| path.metadata().at("read", path);
    let (a, b) = (meta(one)?, meta(other)?);
    if (a.dev(), a.ino()) == (b.dev(), b.ino()) {
        return Ok(true);
    }
    let contents = ContentHashes::default();
    Ok(a.len() == b.len() && contents.file(one)? == contents.file(other)?)
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
        ModelHandle::HfWithNote { base, .. } => {
            json!({"type": "HfModel", "config": {"model_path": absolute(base)}})
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

/// The files of a model, for the folder `below`.
fn placements(model: &ModelHandle, below: &str, unlinked: Unlinked) -> Result<Vec<Placement>> {
    let mut files = list_files(model.dir())?;
    // An input model may lie in an output folder of ours, with its records.
    files.retain(|file| !file.path.starts_with(olive_core::RECORDS));
    let placement = |file: FileEntry| Placement {
        from: model.dir().join(&file.path),
        entry: FileEntry::new(Path::new(below).join(&file.path), file.bytes),
        unlinked,
    };
    Ok(files.into_iter().map(placement).collect())
}

/// The entry of the file that says what the result is.
fn described(bytes: u64) -> FileEntry {
    FileEntry::new(MODEL_CONFIG.into(), bytes)
}

/// Removes what killed runs left on its way into the folder and beside these files. The folder's lock keeps those away that
/// are at work.
fn remove_partial(output_dir: &Path, files: &[FileEntry]) {
    let paths = files.iter().filter_map(|file| file.below(output_dir));
    let mut folders: BTreeSet<PathBuf> = paths.filter_map(|path| path.parent().map(Path::to_owned)).collect();
    folders.insert(output_dir.to_owned());
    folders.iter().for_each(|folder| file::remove_partial(folder));
}

/// Puts a file in place under a temporary name and renames it, so that a reader never sees half of it.
fn place(from: &Path, to: &Path, bytes: u64, unlinked: Unlinked) -> Result<()> {
    let folder = to.parent().expect("a file in a folder");
    std::fs::create_dir_all(folder).at("create", folder)?;
    let temporary = file::partial_path(to);
    remove_if_there(&temporary)?;
    let linked = bytes >= LINK_FROM && std::fs::hard_link(from, &temporary).is_ok();
    match unlinked {
        _ if linked => {}
        Unlinked::PointedTo if bytes >= COPY_BELOW => {
            std::os::unix::fs::symlink(absolute(from), &temporary).at("link", from)?;
        }
        _ => file::copy(from, &temporary).at("copy", from).map(drop)?,
    }
    std::fs::rename(&temporary, to).at("write", to)?;
    // Renaming one link of a file over another does nothing.
    remove_if_there(&temporary)
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
