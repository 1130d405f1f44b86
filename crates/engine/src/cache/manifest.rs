//! `manifest.json`: what an artefact of the cache is and how it came to be, for people and for the next run.

use olive_core::content::ContentHashes;
use olive_core::handle::ModelKind;
use olive_core::{InnerPath, Result, error::IoContext, file};
use serde::{Deserialize, Serialize};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    pub olive_version: String,
    /// The pass type in Olive's spelling.
    pub pass_type: String,
    pub pass_version: u32,
    /// Name of the pass in the configuration that made it.
    pub pass_name: String,
    pub key: String,
    /// Key of the artefact, or of the model, that it was made from.
    pub input_key: String,
    /// Where that input lay.
    pub input: PathBuf,
    /// Resolved options, defaults filled in.
    pub options: serde_json::Value,
    /// The data whose content entered the key; older manifests do not say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub data: Vec<DataEntry>,
    pub output: ModelKind,
    /// Seconds since 1970 at the start.
    pub started: u64,
    pub seconds: f64,
    /// The files below `output/`: a hit is only a hit while they are there, with the same content.
    pub files: Vec<FileEntry>,
}

/// A dataset that an artefact was made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataEntry {
    /// Name in `data_configs`.
    pub name: String,
    /// `training`, `evaluation` or `calibration`.
    pub purpose: String,
    /// Rows that were used, after slicing and filtering.
    pub rows: usize,
    pub files: Vec<DataFile>,
}

/// A file of a dataset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataFile {
    pub split: String,
    /// Where it lay, for people.
    pub path: String,
    /// blake3 of the content, in hex.
    pub hash: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    pub path: PathBuf,
    pub bytes: u64,
    /// Known of the files of an artefact, unless an older version made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Content>,
}

/// What is in a file, and when that was known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// blake3, in hex.
    hash: String,
    /// Time of the last change, in nanoseconds since 1970: a file that has it is not read again.
    modified: i64,
}

/// What became of a file since it was listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FileState {
    Same,
    /// The same content, with this time: it is a copy.
    Copied {
        modified: i64,
    },
    /// Missing, or another content.
    Changed,
}

impl FileEntry {
    pub fn new(path: PathBuf, bytes: u64) -> FileEntry {
        FileEntry { path, bytes, content: None }
    }

    /// blake3 of the content, in hex; `None` in lists of older versions.
    pub fn hash(&self) -> Option<&str> {
        self.content.as_ref().map(|content| content.hash.as_str())
    }

    /// Where the file lies in `dir`. A list may have been written by anybody: nothing outside is touched for it.
    pub fn below(&self, dir: &Path) -> Option<PathBuf> {
        InnerPath::parse(self.path.to_str()?).ok()?.below_without_links(dir)
    }

    /// Compares the file below `dir` with the entry. Contents decide; times say whether they must be looked at. An entry
    /// without content only has the time of its list: a file that was written to later may have changed.
    fn state(&self, dir: &Path, listed: Option<SystemTime>) -> FileState {
        let Some(path) = self.below(dir) else { return FileState::Changed };
        let whole = |meta: &Metadata| meta.is_file() && meta.len() == self.bytes;
        let Some(meta) = path.metadata().ok().filter(whole) else { return FileState::Changed };
        let modified = modified(&meta);
        match &self.content {
            None if meta.modified().ok() > listed => FileState::Changed,
            None => FileState::Same,
            Some(content) if content.modified == modified => FileState::Same,
            Some(content) => match ContentHashes::default().file(&path) {
                Ok(hash) if hash == content.hash => FileState::Copied { modified },
                _ => FileState::Changed,
            },
        }
    }
}

fn modified(meta: &Metadata) -> i64 {
    meta.mtime() * 1_000_000_000 + meta.mtime_nsec()
}

impl Manifest {
    pub const NAME: &'static str = "manifest.json";

    /// `None` if there is none, or if it cannot be understood: both mean "not cached".
    pub fn read(dir: &Path) -> Option<Manifest> {
        let bytes = file::read(&dir.join(Self::NAME)).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, dir: &Path) -> Result<()> {
        let path = dir.join(Self::NAME);
        let text = serde_json::to_string_pretty(self).expect("plain data") + "\n";
        file::replace(&path, text.as_bytes()).at("write", &path)
    }

    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// The first file in `output` that is not as this manifest, which lies in `dir`, lists it. The times of files that
    /// were copied with their content are noted, so that the next look need not read them.
    pub fn first_changed(&mut self, dir: &Path, output: &Path) -> Option<PathBuf> {
        let listed = time_of(&dir.join(Self::NAME));
        let mut copied = false;
        for file in &mut self.files {
            match (file.state(output, listed), &mut file.content) {
                (FileState::Changed, _) => return Some(output.join(&file.path)),
                (FileState::Copied { modified }, Some(content)) => {
                    content.modified = modified;
                    copied = true;
                }
                (FileState::Same | FileState::Copied { .. }, _) => {}
            }
        }
        if copied && let Err(error) = self.write(dir) {
            // It only saves time; a cache that may be read but not written is a cache.
            tracing::debug!("the times of copied files are not noted: {error}");
        }
        None
    }
}

/// Whether all of `files`, below `dir`, are as `list`, the file that lists them, says. The cache and the output folder share
/// large files: one that is edited in place changes in both, and often keeps its size.
pub fn are_as_listed(files: &[FileEntry], dir: &Path, list: &Path) -> bool {
    let listed = time_of(list);
    files.iter().all(|file| file.state(dir, listed) != FileState::Changed)
}

fn time_of(path: &Path) -> Option<SystemTime> {
    path.metadata().and_then(|meta| meta.modified()).ok()
}

/// All files below `dir` whose relative paths are `wanted`, sorted, with their contents.
///
/// # Errors
/// A file cannot be read.
pub fn list_contents(dir: &Path, wanted: impl Fn(&Path) -> bool) -> Result<Vec<FileEntry>> {
    let hashes = ContentHashes::default();
    let mut files = list_files(dir)?;
    files.retain(|file| wanted(&file.path));
    for file in &mut files {
        let path = dir.join(&file.path);
        let modified = modified(&path.metadata().at("read", &path)?);
        file.content = Some(Content { hash: hashes.file(&path)?, modified });
    }
    Ok(files)
}

/// All files below `dir`, sorted, relative to it.
///
/// # Errors
/// The folder cannot be read.
pub fn list_files(dir: &Path) -> Result<Vec<FileEntry>> {
    let mut files = Vec::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in file::entries(&folder).at("read", &folder)? {
            let path = entry.at("read", &folder)?.path();
            let meta = path.metadata().at("read", &path)?;
            if meta.is_dir() {
                folders.push(path);
            } else {
                let relative = path.strip_prefix(dir).expect("below it").to_owned();
                files.push(FileEntry::new(relative, meta.len()));
            }
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}
