//! The model that a pipeline starts from, on this machine.

use olive_config::InputModel;
use olive_core::event::EventSink;
use olive_core::handle::{ModelHandle, ModelKind};
use olive_core::{Error, Result};
use olive_model::{HubModel, ModelError, adapter_config};
use olive_model::{SourceOptions, source};
use std::path::Path;

/// What the configuration's input will be, before it is looked for.
pub fn kind(model: &InputModel) -> ModelKind {
    match model {
        InputModel::HuggingFace { adapter_path: None, .. } => ModelKind::Hf,
        InputModel::HuggingFace { adapter_path: Some(_), .. } => ModelKind::HfWithAdapter,
        InputModel::Onnx { .. } => ModelKind::Onnx,
    }
}

/// The name of the input model, if it is one of the hub.
pub fn hub_model(model: &InputModel) -> Option<HubModel> {
    match model {
        InputModel::HuggingFace { model_path, revision, .. } => {
            HubModel::named(model_path, revision.as_deref())
        }
        InputModel::Onnx { .. } => None,
    }
}

/// Finds the input model, fetching it from the hub if it is a hub id.
///
/// # Errors
/// See [`source::resolve`].
pub fn resolve(model: &InputModel, options: &SourceOptions, events: &dyn EventSink) -> Result<ModelHandle> {
    Ok(match model {
        InputModel::HuggingFace { model_path, adapter_path, revision, .. } => {
            let dir = source::resolve(model_path, revision.as_deref(), options, events)?;
            match adapter_path {
                None => ModelHandle::Hf { dir },
                Some(path) if !path.is_dir() => {
                    let path = path.display().to_string();
                    return Err(ModelError::NotFound { path, why: "there is no such adapter" }.into());
                }
                Some(path) if !path.join(adapter_config::CONFIG).is_file() => {
                    let reason = format!("{} is missing", adapter_config::CONFIG);
                    return Err(ModelError::Adapter { path: path.clone(), reason }.into());
                }
                Some(path) => ModelHandle::HfWithAdapter { base: dir, adapter: path.clone() },
            }
        }
        InputModel::Onnx { model_path } if model_path.is_file() => {
            let dir = model_path.parent().filter(|dir| !dir.as_os_str().is_empty());
            ModelHandle::Onnx { dir: dir.unwrap_or(Path::new(".")).to_owned() }
        }
        InputModel::Onnx { model_path } if !model_path.is_dir() => {
            let path = model_path.display().to_string();
            return Err(ModelError::NotFound { path, why: "there is no such folder or file" }.into());
        }
        InputModel::Onnx { model_path } => ModelHandle::Onnx { dir: model_path.clone() },
    })
}

/// Whether a model that was looked for by `options`, without fetching or converting, will not be found by a run either:
/// models of the hub may be fetched, and GGUF files converted.
pub fn stays_missing(error: &Error, options: &SourceOptions) -> bool {
    match error.downcast_ref() {
        Some(ModelError::Hub { .. }) => options.offline,
        Some(ModelError::Gguf { .. }) => false,
        _ => true,
    }
}
