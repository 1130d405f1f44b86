//! Cache keys: blake3 over named fields, each with its length, so that no two inputs can run together.

use crate::{Result, error::IoContext};
use serde::Serialize;
use std::path::Path;

/// Collects what a result depends on.
pub struct KeyHasher(blake3::Hasher);

impl Default for KeyHasher {
    fn default() -> KeyHasher {
        KeyHasher(blake3::Hasher::new())
    }
}

impl KeyHasher {
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
        let hash = blake3::Hasher::new().update_mmap_rayon(path).at("read", path)?.finalize();
        self.bytes(name.as_bytes());
        self.bytes(hash.as_bytes());
        Ok(())
    }

    pub fn finish(self) -> String {
        self.0.finalize().to_hex().to_string()
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.0.update(&(bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }
}
