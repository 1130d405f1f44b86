//! Reading files that may not be what their names say.

use super::ModelError;
use olive_core::{Result, error::IoContext, file};
use serde_json::Value;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// How a pointer begins, <https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md>.
const LFS_VERSION: &[u8] = b"version https://git-lfs.github.com/spec/";

/// Refuses what a repository holds in place of a large file until `git lfs pull` fetches it.
///
/// # Errors
/// [`ModelError::LfsPointer`].
pub(crate) fn refuse_pointer(path: &Path, content: &[u8]) -> Result<()> {
    if content.starts_with(LFS_VERSION) {
        return Err(ModelError::LfsPointer { path: path.to_owned() }.into());
    }
    Ok(())
}

/// As [`refuse_pointer`], of an open file.
///
/// # Errors
/// [`ModelError::LfsPointer`], or the file cannot be read.
pub(crate) fn refuse_pointer_in(path: &Path, file: &File) -> Result<()> {
    let mut start = Vec::new();
    file.take(LFS_VERSION.len() as u64).read_to_end(&mut start).at("read", path)?;
    refuse_pointer(path, &start)
}

/// The file with PyTorch's pickled weights in a folder, if there is one.
///
/// # Errors
/// The folder cannot be read.
pub(crate) fn pickle(dir: &Path) -> Result<Option<String>> {
    let is_pickle = |name: &str| {
        let (stem, extension) = name.rsplit_once('.').unwrap_or((name, ""));
        match extension {
            "bin" => {
                ["pytorch_model", "adapter_model", "consolidated"].iter().any(|known| stem.starts_with(known))
            }
            "pt" | "pth" | "ckpt" => true,
            _ => false,
        }
    };
    let mut names = Vec::new();
    for entry in file::entries(dir).at("read", dir)? {
        names.push(entry.at("read", dir)?.file_name().to_string_lossy().into_owned());
    }
    names.sort_unstable();
    Ok(names.into_iter().find(|name| is_pickle(name)))
}

/// A JSON file of a model, all of which hold an object. `None` when it does not exist.
///
/// # Errors
/// It cannot be read, or is not JSON, or no object.
pub fn read_json(path: &Path) -> Result<Option<Value>> {
    let text = match file::read_to_string(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        other => other.at("read", path)?,
    };
    refuse_pointer(path, text.as_bytes())?;
    let damaged = |reason: String| ModelError::Damaged { path: path.to_owned(), reason };
    let value: Value = serde_json::from_str(&text).map_err(|e| damaged(e.to_string()))?;
    if !value.is_object() {
        return Err(damaged("it does not hold a JSON object".into()).into());
    }
    Ok(Some(value))
}

/// Writes a JSON file as people read it.
///
/// # Errors
/// It cannot be written.
pub fn write_json(path: &Path, value: &Value) -> Result<()> {
    let text = serde_json::to_string_pretty(value).expect("plain data") + "\n";
    std::fs::write(path, text).at("write", path)
}
