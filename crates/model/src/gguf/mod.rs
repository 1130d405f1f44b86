//! GGUF files, converted once into a Hugging Face folder that every pass reads like any other model.

mod config;
mod file;
mod header;
mod import;
mod names;
mod rope;
mod tokenizer;
mod value;

pub use file::Gguf;
pub use import::import;

use super::ModelError;
use super::tokenizer::Found;
use std::path::Path;

/// Whether `path` names a GGUF file, by its ending.
pub fn is_gguf(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("gguf"))
}

fn refuse(path: &Path, reason: String) -> olive_core::Error {
    ModelError::Gguf { path: path.to_owned(), reason }.into()
}
