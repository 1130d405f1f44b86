//! Whether the passes of a flow fit into the memory of this machine, before the first of them begins.

use crate::cache::Store;
use crate::passes::{MemoryPolicy, SampleLengths};
use crate::plan::{Flow, Step, StepKey};
use crate::{EngineError, Environment};
use olive_core::Result;
use olive_core::available::Available;
use olive_core::device::DeviceChoice;
use olive_core::handle::{ModelHandle, ModelKind};
use olive_train::MemoryNeed;

/// Refuses a flow of which a step that is not in the cache does not fit.
///
/// # Errors
/// [`EngineError::Memory`]. A step whose need cannot be predicted is left to itself.
pub(crate) fn check(
    flow: &Flow,
    model: &ModelHandle,
    keys: &[StepKey],
    store: &Store,
    environment: &Environment,
) -> Result<()> {
    if !is_limited(environment) {
        return Ok(());
    }
    let available = Available::now();
    for (step, key) in flow.steps.iter().zip(keys) {
        if store.look_up(&key.artefact_id(step)).is_err()
            && let Some(need) = predict(step, model, &available)
        {
            fits(step, &need, &available)?;
        }
    }
    Ok(())
}

/// Whether the memory of this machine stops a run: that of a device is not looked at.
pub(crate) fn is_limited(environment: &Environment) -> bool {
    environment.device == DeviceChoice::Cpu && environment.memory == MemoryPolicy::Refuse
}

/// What a step of a flow on `model` will need of this machine. Passes before it change the values of the model, not its layers. `None`: that
/// cannot be said.
///
/// Samples are taken to be as long as they may be. Only where that would not fit, the data tells how long they are.
pub(crate) fn predict(step: &Step, model: &ModelHandle, available: &Available) -> Option<MemoryNeed> {
    if step.input != ModelKind::Hf || !step.host.is_here() {
        return None;
    }
    let base = ModelHandle::Hf { dir: model.base().to_owned() };
    // What cannot be read is an error of the run, not of its memory.
    let need = |lengths| step.pass.memory(&base, lengths).ok().flatten();
    let longest = need(SampleLengths::Longest)?;
    if longest.check(available).is_ok() { Some(longest) } else { need(SampleLengths::OfData) }
}

/// # Errors
/// [`EngineError::Memory`].
pub(crate) fn fits(step: &Step, need: &MemoryNeed, available: &Available) -> Result<(), EngineError> {
    need.check(available).map_err(|source| EngineError::Memory {
        pass: step.config.name.clone(),
        pass_type: step.pass.name(),
        source,
    })
}
