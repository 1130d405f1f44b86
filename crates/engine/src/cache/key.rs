//! Cache keys: blake3 over named fields, each with its length, so that no two inputs can run together.

use olive_core::content::ContentHashes;
use olive_core::handle::ModelHandle;
use olive_core::{Result, error::IoContext, file};
use olive_model::ModelFolder;
use serde::Serialize;
use std::path::Path;

/// Version of the cache layout and of what enters a key; part of every key.
pub const LAYOUT: u32 = 1;

/// Length of a key.
pub(crate) const KEY_LENGTH: usize = 2 * blake3::OUT_LEN;

/// Collects what a result depends on. Never feed it paths, times or log levels.
pub struct KeyHasher<'a> {
    hasher: blake3::Hasher,
    contents: &'a ContentHashes,
}

impl<'a> KeyHasher<'a> {
    pub fn new(contents: &'a ContentHashes) -> KeyHasher<'a> {
        let mut key = KeyHasher { hasher: blake3::Hasher::new(), contents };
        key.field("layout", &LAYOUT);
        key
    }

    /// A named value, as canonical JSON.
    pub fn field(&mut self, name: &str, value: &impl Serialize) {
        let json = serde_json::to_vec(value).expect("keys are plain data");
        self.bytes(name.as_bytes());
        self.bytes(&json);
    }

    /// A named file, by its content.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn file(&mut self, name: &str, path: &Path) -> Result<()> {
        let hash = self.contents.file(path)?;
        self.field(name, &hash);
        Ok(())
    }

    /// A model that no pass of ours wrote: every file that belongs to it, by name and content.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn model(&mut self, model: &ModelHandle) -> Result<()> {
        match model {
            ModelHandle::Hf { dir } => self.folder("hf", dir, ModelFolder::is_model_file),
            ModelHandle::Onnx { dir } => self.folder("onnx", dir, |_| true),
            ModelHandle::HfWithAdapter { base, adapter } => {
                self.folder("hf", base, ModelFolder::is_model_file)?;
                self.adapter(adapter)
            }
            ModelHandle::HfWithNote { base, note } => {
                self.folder("hf", base, ModelFolder::is_model_file)?;
                self.folder("note", note, |_| true)
            }
        }
    }

    /// The files of an adapter.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn adapter(&mut self, dir: &Path) -> Result<()> {
        self.folder("adapter", dir, ModelFolder::is_adapter_file)
    }

    fn folder(&mut self, label: &str, dir: &Path, belongs: impl Fn(&str) -> bool) -> Result<()> {
        self.bytes(label.as_bytes());
        let mut names = Vec::new();
        for entry in file::entries(dir).at("read", dir)? {
            let entry = entry.at("read", dir)?;
            let name = entry.file_name();
            if belongs(&name.to_string_lossy()) && entry.path().is_file() {
                names.push(name);
            }
        }
        names.sort();
        names.iter().try_for_each(|name| self.file(&name.to_string_lossy(), &dir.join(name)))
    }

    /// The key: 64 hex digits.
    pub fn finish(self) -> String {
        self.hasher.finalize().to_hex().to_string()
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.hasher.update(&(bytes.len() as u64).to_le_bytes());
        self.hasher.update(bytes);
    }
}
