//! `manifest.json`: what an artefact of the cache is and how it came to be, for people and for the next run.

use olive_core::handle::ModelKind;
use olive_core::{Result, error::IoContext};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

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
    pub output: ModelKind,
    /// Seconds since 1970 at the start.
    pub started: u64,
    pub seconds: f64,
    /// The files below `output/`, with their sizes: a hit is only a hit while they are there.
    pub files: Vec<FileEntry>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    pub path: PathBuf,
    pub bytes: u64,
}

impl Manifest {
    pub const NAME: &'static str = "manifest.json";

    /// `None` if there is none, or if it cannot be understood: both mean "not cached".
    pub fn read(dir: &Path) -> Option<Manifest> {
        let bytes = std::fs::read(dir.join(Self::NAME)).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, dir: &Path) -> Result<()> {
        let path = dir.join(Self::NAME);
        let text = serde_json::to_string_pretty(self).expect("plain data");
        std::fs::write(&path, text + "\n").at("write", &path)
    }

    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// The first file that is not as it was when this manifest was written to `dir`.
    pub fn first_damaged<'a>(&'a self, dir: &Path, output: &Path) -> Option<&'a FileEntry> {
        first_changed(&self.files, output, &dir.join(Self::NAME))
    }
}

/// The first of `files`, below `dir`, that is missing, has another size, or was written to after `list`, the file that
/// lists them. The cache and the output folder share large files: one that is edited in place changes in both, and
/// often keeps its size.
pub fn first_changed<'a>(files: &'a [FileEntry], dir: &Path, list: &Path) -> Option<&'a FileEntry> {
    let modified = |path: &Path| path.metadata().and_then(|meta| meta.modified()).ok();
    let listed = modified(list);
    files.iter().find(|file| {
        let path = dir.join(&file.path);
        path.metadata().map_or(true, |meta| meta.len() != file.bytes) || modified(&path) > listed
    })
}

/// All files below `dir`, sorted, relative to it.
///
/// # Errors
/// The folder cannot be read.
pub fn list_files(dir: &Path) -> Result<Vec<FileEntry>> {
    let mut files = Vec::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).at("read", &folder)? {
            let path = entry.at("read", &folder)?.path();
            let meta = path.metadata().at("read", &path)?;
            if meta.is_dir() {
                folders.push(path);
            } else {
                let relative = path.strip_prefix(dir).expect("below it").to_owned();
                files.push(FileEntry { path: relative, bytes: meta.len() });
            }
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}
