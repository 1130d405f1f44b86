//! The files that go along when a model's weights are written anew: copies, but for what would not be true of the new
//! folder.

use super::{ModelError, ModelFolder};
use jsonc_parser::ParseOptions;
use jsonc_parser::cst::{CstInputValue, CstRootNode};
use olive_core::{Result, error::IoContext};
use std::path::Path;

/// Says that the head is the embedding matrix.
const TIED: &str = "tie_word_embeddings";

impl ModelFolder {
    /// Copies one of the [`ModelFolder::SIDE_FILES`] into another folder, if it is there. The content only: a copy of
    /// a read-only file can be replaced.
    ///
    /// # Errors
    /// The file cannot be read or the copy not written.
    pub fn copy_side_file(&self, name: &str, to: &Path) -> Result<()> {
        let from = self.dir.join(name);
        if !from.is_file() {
            return Ok(());
        }
        let mut content = std::fs::read(&from).at("read", &from)?;
        if name == "config.json" && self.contradicts_tie()? {
            content = edited(&from, &content, |config| {
                let untied = CstInputValue::Bool(false);
                match config.get(TIED) {
                    Some(flag) => flag.set_value(untied),
                    None => drop(config.append(TIED, untied)),
                }
            })?;
        }
        let target = to.join(name);
        std::fs::write(&target, content).at("write", &target)
    }
}

/// A JSON object with some of its keys changed, and all else as it is written.
fn edited(path: &Path, content: &[u8], edit: impl FnOnce(&jsonc_parser::cst::CstObject)) -> Result<Vec<u8>> {
    let damaged = |reason: String| ModelError::Damaged { path: path.to_owned(), reason };
    let text = std::str::from_utf8(content).map_err(|e| damaged(e.to_string()))?;
    let root = CstRootNode::parse(text, &ParseOptions::default()).map_err(|e| damaged(e.to_string()))?;
    let object = root.object_value().ok_or_else(|| damaged("it is not an object".into()))?;
    edit(&object);
    Ok(root.to_string().into_bytes())
}
