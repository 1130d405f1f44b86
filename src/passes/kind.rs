//! Which kind of model a pass takes and which it gives, so that a plan can be checked before anything runs.

use crate::config::PassOptions;
use crate::model::ModelKind;

/// The kind of model that a pass makes of `input`.
///
/// # Errors
/// Why the pass cannot take such a model: completes "LoRA cannot follow `builder` (ModelBuilder): ".
pub fn output_kind(pass: &PassOptions, input: ModelKind) -> Result<ModelKind, String> {
    use ModelKind::{Hf, HfWithAdapter, Onnx};
    match (pass, input) {
        (PassOptions::LoRA(_) | PassOptions::QLoRA(_), Hf) => Ok(HfWithAdapter),
        (PassOptions::LoRA(_) | PassOptions::QLoRA(_), HfWithAdapter) => {
            Err("the model already has an adapter, which MergeAdapterWeights must merge first".into())
        }
        (PassOptions::LoRA(_) | PassOptions::QLoRA(_), Onnx) => Err("an ONNX model cannot be trained".into()),
        (PassOptions::MergeAdapterWeights(_), HfWithAdapter) => Ok(Hf),
        (PassOptions::MergeAdapterWeights(_), Hf) => {
            Err("there is no adapter to merge; a LoRA or QLoRA pass makes one".into())
        }
        (PassOptions::MergeAdapterWeights(_), Onnx) => Err("an ONNX model has no adapter to merge".into()),
        // An adapter is merged on the way, so that the base is never exported alone.
        (PassOptions::ModelBuilder(_), Hf | HfWithAdapter) => Ok(Onnx),
        (PassOptions::ModelBuilder(options), Onnx) if options.metadata_only => Ok(Onnx),
        (PassOptions::ModelBuilder(_), Onnx) => {
            Err("the model is an ONNX model already; `metadata_only` writes genai_config.json for one".into())
        }
    }
}
