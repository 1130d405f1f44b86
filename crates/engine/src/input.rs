//! The model that a pipeline starts from, on this machine.

use crate::EngineError;
use olive_config::{InputModel, ResourcePath};
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
            HubModel::named(model_path.local()?, revision.as_deref())
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
            let dir = source::resolve(local(model_path)?, revision.as_deref(), options, events)?;
            let adapter = adapter_path.as_ref().map(local).transpose()?;
            match adapter.map(Path::new) {
                None => ModelHandle::Hf { dir },
                Some(path) if !path.is_dir() => {
                    let path = path.display().to_string();
                    return Err(ModelError::NotFound { path, why: "there is no such adapter" }.into());
                }
                Some(path) if !path.join(adapter_config::CONFIG).is_file() => {
                    let reason = format!("{} is missing", adapter_config::CONFIG);
                    return Err(ModelError::Adapter { path: path.to_owned(), reason }.into());
                }
                Some(path) => ModelHandle::HfWithAdapter { base: dir, adapter: path.to_owned() },
            }
        }
        InputModel::Onnx { model_path } => {
            let path = Path::new(local(model_path)?);
            if !path.exists() {
                let path = path.display().to_string();
                return Err(ModelError::NotFound { path, why: "there is no such folder or file" }.into());
            }
            let parent = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
            ModelHandle::Onnx { dir: if path.is_dir() { path } else { parent }.to_owned() }
        }
    })
}

/// The path, unless it is one of AzureML that was not brought here.
fn local(path: &ResourcePath) -> Result<&str, EngineError> {
    match path {
        ResourcePath::Local(path) => Ok(path),
        ResourcePath::AzureMl(resource) => {
            Err(EngineError::InputNotHere { place: resource.place.describe(), address: resource.to_string() })
        }
    }
}

/// Whether a model that was looked for by `options`, without fetching or converting, will not be found by a run either:
/// models of the hub or of Azure ML may be fetched, and GGUF files converted.
pub fn stays_missing(error: &Error, options: &SourceOptions) -> bool {
    if let Some(EngineError::InputNotHere { .. }) = error.downcast_ref() {
        return false;
    }
    match error.downcast_ref() {
        Some(ModelError::Hub { .. }) => options.offline,
        Some(ModelError::Gguf { .. }) => false,
        _ => true,
    }
}
