//! Room that a model takes on disk.

use olive_core::handle::ModelHandle;
use olive_core::{Result, error::IoContext};
use olive_model::ModelFolder;
use olive_onnx::{adapter_file, external_files};
use olive_runtime::GenaiConfig;
use std::path::Path;

/// Bytes of the files of the model, weights and all that goes along with them; of an adapter without its base.
///
/// # Errors
/// The folder cannot be read, or its files are no model.
pub fn size_on_disk(handle: &ModelHandle) -> Result<u64> {
    match handle {
        ModelHandle::Hf { dir } | ModelHandle::HfWithNote { base: dir, .. } => {
            of_files(dir, ModelFolder::is_model_file)
        }
        ModelHandle::HfWithAdapter { adapter, .. } => of_files(adapter, ModelFolder::is_adapter_file),
        ModelHandle::Onnx { dir } => {
            let graph = GenaiConfig::load(dir)?.onnx_file(dir);
            let weights = external_files(&graph)?;
            of_files(dir, |name| {
                graph.file_name().is_some_and(|graph| graph == name)
                    || weights.contains(name)
                    || [GenaiConfig::FILE, adapter_file::FILE].contains(&name)
                    || ModelFolder::is_side_file(name)
            })
        }
    }
}

/// Bytes of the files in the folder that are wanted by their names.
fn of_files(dir: &Path, wanted: impl Fn(&str) -> bool) -> Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir).at("read", dir)? {
        let path = entry.at("read", dir)?.path();
        if path.file_name().and_then(|name| name.to_str()).is_some_and(&wanted) {
            // Of what a link leads to: large files of results are links into the cache.
            let found = path.metadata().at("read", &path)?;
            bytes += if found.is_file() { found.len() } else { 0 };
        }
    }
    Ok(bytes)
}
