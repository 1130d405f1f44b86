//! A model of the hub in a folder of its own, beside the cache that all tools share.

use super::hub;
use super::source::is_hub_id;
use super::source_options::SourceOptions;
use super::{ModelError, ModelFolder};
use olive_core::error::IoContext;
use olive_core::event::EventSink;
use olive_core::{Result, file};
use std::fs::DirEntry;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What becomes of files in the folder that are not those of the hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OtherFiles {
    /// They stop the download, before anything is written.
    Refuse,
    /// Those of the same names are replaced.
    Replace,
}

/// A model that lies in the folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Downloaded {
    /// The commit that the files are of.
    pub commit: String,
    pub files: usize,
    pub bytes: u64,
    /// Files that were put there; the others were there already.
    pub written: usize,
}

/// Fetches the model `id` of the hub into `folder`: what [`resolve`](super::resolve) takes of it, by way of the cache, where a
/// download that broke off goes on. Weights are links to the files of the cache where both lie on one file system; the other files can be
/// changed without harm to it. A folder that lacks files gets them.
///
/// # Errors
/// No id; as [`resolve`](super::resolve); [`ModelError::OtherFiles`]; the folder cannot be written.
pub fn download(
    id: &str,
    revision: &str,
    folder: &Path,
    others: OtherFiles,
    options: &SourceOptions,
    events: &dyn EventSink,
) -> Result<Downloaded> {
    if !is_hub_id(id) {
        return Err(ModelError::NoHubId { text: id.to_owned() }.into());
    }
    let snapshot = hub::snapshot(id, revision, options, events)?;
    let commit = snapshot.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let files = model_files(&snapshot)?;
    let mut states = Vec::with_capacity(files.len());
    for file in &files {
        options.cancel.check()?;
        states.push(FileState::of(&folder.join(&file.name), &file.source)?);
    }
    let other = files.iter().zip(&states).find(|(_, state)| **state == FileState::Other);
    if let (Some((other, _)), OtherFiles::Refuse) = (other, others) {
        return Err(ModelError::OtherFiles { path: folder.join(&other.name), id: id.to_owned() }.into());
    }
    std::fs::create_dir_all(folder).at("create", folder)?;
    let missing = files.iter().zip(&states).filter(|(_, state)| **state != FileState::Same);
    let mut written = 0;
    for (file, _) in missing {
        options.cancel.check()?;
        file.put_into(folder)?;
        written += 1;
    }
    let bytes = files.iter().map(|file| file.bytes).sum();
    Ok(Downloaded { commit, files: files.len(), bytes, written })
}

/// A file of the snapshot.
struct ModelFile {
    name: PathBuf,
    /// In the cache, without links.
    source: PathBuf,
    bytes: u64,
}

fn model_files(snapshot: &Path) -> Result<Vec<ModelFile>> {
    let mut files = Vec::new();
    for entry in file::entries(snapshot).at("read", snapshot)? {
        let entry: DirEntry = entry.at("read", snapshot)?;
        let name = entry.file_name();
        if !name.to_str().is_some_and(ModelFolder::is_model_file) {
            continue;
        }
        let source = entry.path().canonicalize().at("read", &entry.path())?;
        let bytes = source.metadata().at("read", &source)?.len();
        files.push(ModelFile { name: name.into(), source, bytes });
    }
    // What makes a folder look like a model comes last.
    files.sort_by_key(|file| (file.name == Path::new("config.json"), file.name.clone()));
    Ok(files)
}

/// What the folder has under the name of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FileState {
    Absent,
    Same,
    Other,
}

impl FileState {
    fn of(path: &Path, source: &Path) -> Result<FileState> {
        let (here, there) = match (path.metadata(), source.metadata().at("read", source)?) {
            (Ok(here), there) => (here, there),
            (Err(error), _) if error.kind() == std::io::ErrorKind::NotFound => return Ok(FileState::Absent),
            (Err(error), _) => return Err(error).at("read", path),
        };
        let is_link = (here.dev(), here.ino()) == (there.dev(), there.ino());
        let may_be = here.is_file() && here.len() == there.len();
        let is_same = is_link || may_be && file::have_same_bytes(path, source).at("read", path)?;
        Ok(if is_same { FileState::Same } else { FileState::Other })
    }
}

impl ModelFile {
    /// Puts the file into the folder by way of another name.
    fn put_into(&self, folder: &Path) -> Result<()> {
        let to = folder.join(&self.name);
        let on_its_way = file::partial_path(&to);
        let _ = std::fs::remove_file(&on_its_way); // Of a download that was killed.
        let is_weights = self.name.extension().is_some_and(|ending| ending == "safetensors");
        if !is_weights || std::fs::hard_link(&self.source, &on_its_way).is_err() {
            file::copy(&self.source, &on_its_way).at("write", &to)?;
        }
        std::fs::rename(&on_its_way, &to).at("write", &to)
    }
}
