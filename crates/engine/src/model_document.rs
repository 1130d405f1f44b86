//! How Olive's documents name models.

use olive_core::handle::ModelHandle;
use serde_json::{Value, json};

/// Letters of a key that stand for a model, as many as Olive takes.
const ID: usize = 8;

/// What stands for a model, by its key in the cache.
pub(crate) fn model_id(key: &str) -> String {
    key.chars().take(ID).collect()
}

/// The type and the place of a model.
pub(crate) fn model_config(model: &ModelHandle) -> Value {
    match model {
        ModelHandle::Onnx { dir } => json!({"type": "onnxmodel", "config": {"model_path": dir}}),
        ModelHandle::Hf { dir } | ModelHandle::HfWithNote { base: dir, .. } => {
            json!({"type": "hfmodel", "config": {"model_path": dir}})
        }
        ModelHandle::HfWithAdapter { base, adapter } => {
            json!({"type": "hfmodel", "config": {"model_path": base, "adapter_path": adapter}})
        }
    }
}
