//! The tiny checkpoints of `tests/fixtures`.

use super::binary::root;
use super::shared::folders;
use olive_model::ModelFolder;
use std::path::{Path, PathBuf};

/// A file or folder of the fixtures.
pub fn fixture(name: &str) -> PathBuf {
    root().join("tests/fixtures").join(name)
}

/// All families that have something special, in the order of their names; `tests/fixtures/models/make.py` made them.
pub fn families() -> Vec<PathBuf> {
    let all = folders(&fixture("models"));
    assert_eq!(all.len(), 16);
    all
}

/// One of them. Their vocabulary is 128 tokens, their context 256, and they have no tokenizer.
pub fn family(name: &str) -> ModelFolder {
    ModelFolder::open(&fixture("models").join(name)).expect("a model folder")
}

pub fn name(folder: &Path) -> String {
    folder.file_name().expect("a name").display().to_string()
}

pub fn read_json(path: &Path) -> serde_json::Value {
    let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}
