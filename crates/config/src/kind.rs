//! Which kind of model a pass takes and which it gives, so that a plan can be checked before anything runs.

use crate::PassOptions;
use crate::canonical::{Adapters, BaseWeights};
use olive_core::handle::ModelKind;

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

/// Why two passes do not go together.
pub struct Mismatch {
    /// As for [`output_kind`].
    pub reason: String,
    pub hint: &'static str,
}

/// Settles what a pass leaves to the one before it in its flow: what a merge adds an adapter to. An adapter that is the
/// input of the flow says so itself, once it is read.
///
/// # Errors
/// Why both do not go together.
pub fn settle(pass: &mut PassOptions, before: Option<&PassOptions>) -> Result<(), Mismatch> {
    match (pass, before) {
        (PassOptions::MergeAdapterWeights(options), Some(before)) => {
            let settled = base_weights(options.base_weights, matches!(before, PassOptions::LoftQ(_)));
            let hint = "leave `base_weights` out";
            options.base_weights = Some(settled.map_err(|reason| Mismatch { reason, hint })?);
        }
        (PassOptions::ModelBuilder(options), Some(before)) if options.adapters == Adapters::Separate => {
            let Some(training) = before.lora() else { return Ok(()) };
            let whole = training.modules_to_save.as_ref().is_some_and(|modules| !modules.is_empty());
            let what = match (training.use_dora, whole) {
                (true, _) => "DoRA scales the rows of the base",
                (_, true) => "`modules_to_save` trains weights of the base",
                (false, false) => return Ok(()),
            };
            let reason = format!("{what}, so its adapter cannot be kept apart");
            return Err(Mismatch { reason, hint: "`adapters: merged` puts it into the weights" });
        }
        _ => {}
    }
    Ok(())
}

/// What an adapter, of LoftQ or not, is added to: what was asked for, else what it can be added to.
///
/// # Errors
/// Why it cannot be added to what was asked for.
pub fn base_weights(asked: Option<BaseWeights>, loftq: bool) -> Result<BaseWeights, String> {
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
