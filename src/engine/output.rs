//! The user's output folder, in the layout of today's Olive: ONNX files lie directly in it, a Hugging Face model in
//! `model/`, an adapter in `adapter/`; `model_config.json` says which it is, `run_history.json` how it came to be.

use super::manifest::{FileEntry, list_files};
use super::runner::StepOutcome;
use super::store::remove_if_there;
use crate::model::ModelHandle;
use crate::{Result, error::IoContext};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::path::{Path, PathBuf};

/// Files at least this large are linked, not copied, where the file system can: weights are not edited in place, a
/// `genai_config.json` is.
const LINK_FROM: u64 = 1 << 20;

const HISTORY: &str = "run_history.json";

#[derive(Serialize, Deserialize)]
struct History {
    /// Key of the last step: the folder is current while it is the same.
    key: String,
    files: Vec<FileEntry>,
    steps: serde_json::Value,
}

/// Brings the output folder up to date. Gives false if it already was. Files of an earlier run of ours that are no
/// longer part of the result are removed; other files are left alone.
///
/// # Errors
/// A file cannot be written.
pub fn write(output_dir: &Path, model: &ModelHandle, steps: &[StepOutcome], artifacts: bool) -> Result<bool> {
    let key = steps.last().map_or("input", |step| step.key.as_str());
    let earlier = read_history(output_dir);
    if let Some(earlier) = &earlier
        && earlier.key == key
        && earlier.files.iter().all(|file| is_there(output_dir, file))
    {
        return Ok(false);
    }
    std::fs::create_dir_all(output_dir).at("create", output_dir)?;
    let below = match model {
        ModelHandle::Onnx { .. } => "",
        ModelHandle::Hf { .. } => "model",
        ModelHandle::HfWithAdapter { .. } => "adapter",
    };
    let mut files = Vec::new();
    for file in list_files(model.dir())? {
        let target = Path::new(below).join(&file.path);
        place(&model.dir().join(&file.path), &output_dir.join(&target), file.bytes)?;
        files.push(FileEntry { path: target, bytes: file.bytes });
    }
    let config = model_config(model, below);
    let config_path = PathBuf::from("model_config.json");
    let bytes = write_json(&output_dir.join(&config_path), &config)?;
    files.push(FileEntry { path: config_path, bytes });
    for old in earlier.iter().flat_map(|earlier| &earlier.files) {
        if !files.iter().any(|file| file.path == old.path) {
            remove_if_there(&output_dir.join(&old.path))?;
        }
    }
    if artifacts {
        let steps = serde_json::to_value(steps).expect("plain data");
        let history = History { key: key.into(), files, steps };
        write_json(&output_dir.join(HISTORY), &serde_json::to_value(history).expect("plain data"))?;
    } else {
        remove_if_there(&output_dir.join(HISTORY))?;
    }
    Ok(true)
}

/// Paths are relative to the folder, so that it can be moved; only a base model outside of it is named as it lies.
fn model_config(model: &ModelHandle, below: &str) -> serde_json::Value {
    match model {
        ModelHandle::Onnx { .. } => json!({
            "type": "ONNXModel",
            "config": {"model_path": ".", "onnx_file_name": "model.onnx"},
        }),
        ModelHandle::Hf { .. } => json!({"type": "HfModel", "config": {"model_path": below}}),
        ModelHandle::HfWithAdapter { base, .. } => {
            let base = base.canonicalize().unwrap_or_else(|_| base.clone());
            json!({"type": "HfModel", "config": {"model_path": base, "adapter_path": below}})
        }
    }
}

fn read_history(output_dir: &Path) -> Option<History> {
    serde_json::from_slice(&std::fs::read(output_dir.join(HISTORY)).ok()?).ok()
}

fn is_there(dir: &Path, file: &FileEntry) -> bool {
    dir.join(&file.path).metadata().is_ok_and(|meta| meta.len() == file.bytes)
}

/// Puts a file in place under a temporary name and renames it, so that a reader never sees half of it.
fn place(from: &Path, to: &Path, bytes: u64) -> Result<()> {
    let folder = to.parent().expect("a file in a folder");
    std::fs::create_dir_all(folder).at("create", folder)?;
    let temporary = to.with_extension("olive-partial");
    remove_if_there(&temporary)?;
    let linked = bytes >= LINK_FROM && std::fs::hard_link(from, &temporary).is_ok();
    if !linked {
        std::fs::copy(from, &temporary).at("copy", from)?;
    }
    std::fs::rename(&temporary, to).at("write", to)?;
    // Renaming one link of a file over another does nothing.
    remove_if_there(&temporary)
}

fn write_json(path: &Path, value: &serde_json::Value) -> Result<u64> {
    let text = serde_json::to_string_pretty(value).expect("plain data") + "\n";
    std::fs::write(path, &text).at("write", path)?;
    Ok(text.len() as u64)
}
