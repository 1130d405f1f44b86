//! Which kind of model a pass takes and which it gives, so that a plan can be checked before anything runs.

use crate::config::PassOptions;
use crate::config::canonical::{Adapters, BaseWeights};
use crate::model::ModelKind;

/// The kind of model that a pass makes of `input`.
///
/// # Errors
/// Why the pass cannot take such a model: completes "LoRA cannot follow `builder` (ModelBuilder): ".
pub fn output_kind(pass: &PassOptions, input: ModelKind) -> Result<ModelKind, String> {
    use ModelKind::{Hf, HfWithAdapter, Onnx};
    match (pass, input) {
        (PassOptions::LoRA(_) | PassOptions::QLoRA(_) | PassOptions::LoftQ(_), input) => match input {
            Hf => Ok(HfWithAdapter),
            HfWithAdapter => {
                Err("the model already has an adapter, which MergeAdapterWeights must merge first".into())
            }
            Onnx => Err("an ONNX model cannot be trained".into()),
        },
        (PassOptions::MergeAdapterWeights(_), HfWithAdapter) => Ok(Hf),
        (PassOptions::MergeAdapterWeights(_), Hf) => {
            Err("there is no adapter to merge; a LoRA, QLoRA or LoftQ pass makes one".into())
        }
        (PassOptions::MergeAdapterWeights(_), Onnx) => Err("an ONNX model has no adapter to merge".into()),
        (PassOptions::ModelBuilder(options), Hf | Onnx) if options.adapters == Adapters::Separate => {
            Err("there is no adapter to keep apart; a LoRA, QLoRA or LoftQ pass makes one".into())
        }
        // An adapter is merged on the way, so that the base is never exported alone.
        (PassOptions::ModelBuilder(_), Hf | HfWithAdapter) => Ok(Onnx),
        (PassOptions::ModelBuilder(options), Onnx) if options.metadata_only => Ok(Onnx),
        (PassOptions::ModelBuilder(_), Onnx) => {
            Err("the model is an ONNX model already; `metadata_only` writes genai_config.json for one".into())
        }
    }
}

/// Settles what a pass leaves to the one before it in its flow: what a merge adds an adapter to. An adapter that is the
/// input of the flow says so itself, once it is read.
///
/// # Errors
/// Why both do not go together, as for [`output_kind`].
pub fn settle(pass: &mut PassOptions, before: Option<&PassOptions>) -> Result<(), String> {
    let (PassOptions::MergeAdapterWeights(options), Some(before)) = (pass, before) else { return Ok(()) };
    options.base_weights = Some(base_weights(options.base_weights, matches!(before, PassOptions::LoftQ(_)))?);
    Ok(())
}

/// What an adapter, of LoftQ or not, is added to: what was asked for, else what it can be added to.
///
/// # Errors
/// Why it cannot be added to what was asked for.
pub(super) fn base_weights(asked: Option<BaseWeights>, loftq: bool) -> Result<BaseWeights, String> {
    match asked {
        Some(BaseWeights::Float) if loftq => {
            Err("an adapter of LoftQ holds what 4 bits left over of the weights, so it cannot be added to the float \
                 weights"
                .into())
        }
        Some(asked) => Ok(asked),
        None if loftq => Ok(BaseWeights::Quantised),
        None => Ok(BaseWeights::Float),
    }
}
