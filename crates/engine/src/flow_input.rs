//! What the flows of a configuration start from, here or elsewhere.

use crate::cache::KeyHasher;
use crate::input;
use olive_config::{InputModel, ResourcePath};
use olive_core::Result;
use olive_core::handle::ModelHandle;
use std::path::PathBuf;

/// The input model of a run.
#[derive(Debug, Clone, PartialEq)]
pub enum FlowInput {
    /// A model on this machine.
    Here(ModelHandle),
    /// A model that only the jobs of the first steps read. `handle` has names where other handles have folders.
    Elsewhere { handle: ModelHandle, model: InputModel },
}

impl FlowInput {
    /// A model of the hub, or of a service, that this machine need not have where every flow begins with jobs elsewhere.
    pub(crate) fn elsewhere(model: &InputModel) -> Option<FlowInput> {
        let name = |path: &ResourcePath| PathBuf::from(path.to_string());
        let handle = match model {
            InputModel::HuggingFace { model_path, adapter_path, .. } => {
                let is_local = |path: &ResourcePath| path.local().is_some();
                if is_local(model_path) && input::hub_model(model).is_none() {
                    return None;
                }
                match adapter_path {
                    None => ModelHandle::Hf { dir: name(model_path) },
                    Some(adapter) => {
                        ModelHandle::HfWithAdapter { base: name(model_path), adapter: name(adapter) }
                    }
                }
            }
            InputModel::Onnx { model_path } if model_path.local().is_some() => return None,
            InputModel::Onnx { model_path } => ModelHandle::Onnx { dir: name(model_path) },
        };
        Some(FlowInput::Elsewhere { handle, model: model.clone() })
    }

    /// The model, where it is on this machine.
    pub fn here(&self) -> Option<&ModelHandle> {
        match self {
            FlowInput::Here(model) => Some(model),
            FlowInput::Elsewhere { .. } => None,
        }
    }

    /// The model. Of one that is elsewhere, only the kind and the names mean something.
    pub fn handle(&self) -> &ModelHandle {
        match self {
            FlowInput::Here(model) | FlowInput::Elsewhere { handle: model, .. } => model,
        }
    }

    /// What the results depend on: the content of a model that is here, the name of another.
    ///
    /// # Errors
    /// A file cannot be read.
    pub(crate) fn feed(&self, hasher: &mut KeyHasher) -> Result<()> {
        match self {
            FlowInput::Here(model) => hasher.model(model),
            FlowInput::Elsewhere { model, .. } => {
                hasher.field("elsewhere", model);
                match model {
                    // An adapter of this machine goes with the job.
                    InputModel::HuggingFace { adapter_path: Some(ResourcePath::Local(adapter)), .. } => {
                        hasher.adapter(adapter.as_ref())
                    }
                    _ => Ok(()),
                }
            }
        }
    }
}
