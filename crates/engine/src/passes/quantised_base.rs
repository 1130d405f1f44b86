//! The base model in 4 bits, from the cache where it is there.

use super::pass::RunContext;
use crate::cache::artefacts::{Artefacts, Derived};
use olive_arch::Spec;
use olive_core::Result;
use olive_core::event::Event;
use olive_core::event::Unit;
use olive_model::{BaseFormat, Checkpoint, FourBitFormat, ModelFolder, QuantisedBase};
use std::path::Path;

/// Raised whenever the same base and format give other bytes than before.
const VERSION: u32 = 1;

/// The 4-bit base that the adapter says it was trained on, if it does.
///
/// # Errors
/// Files of the adapter or the model that cannot be read; as [`open`].
pub(crate) fn of_adapter(
    folder: &ModelFolder,
    adapter: &Path,
    context: &RunContext,
) -> Result<Option<QuantisedBase>> {
    let Some(record) = BaseFormat::read(adapter)? else { return Ok(None) };
    if let Some(base) = QuantisedBase::beside(adapter, &folder.spec()?)? {
        return Ok(Some(base));
    }
    let artefacts = match (&context.artefacts, &record.base_key) {
        (Some(artefacts), Some(key)) => Some(Artefacts { input_key: key, ..*artefacts }),
        _ => None,
    };
    let (spec, checkpoint) = (folder.spec()?, folder.checkpoint()?);
    open(&folder.dir, &spec, &checkpoint, record.format, artefacts.as_ref(), context).map(Some)
}

/// Maps the quantised linear layers of the model in `dir`, quantising them first if `artefacts` has not got them;
/// in memory where there is no cache.
///
/// # Errors
/// A tensor that is missing, misshapen or not finite, or a cache that cannot be written.
pub(super) fn open(
    dir: &Path,
    spec: &Spec,
    checkpoint: &Checkpoint,
    format: FourBitFormat,
    artefacts: Option<&Artefacts>,
    context: &RunContext,
) -> Result<QuantisedBase> {
    let phase = "quantise base";
    let start = || {
        let total = Some(QuantisedBase::count(spec) as u64);
        context.events.emit(Event::PhaseStarted { phase: phase.into(), total, unit: Unit::Tensors });
    };
    let done = |done: usize| {
        context.events.emit(Event::PhaseProgress { done: done as u64 });
        context.cancel.check()
    };
    let Some(artefacts) = artefacts else {
        start();
        let base = QuantisedBase::in_memory(spec, checkpoint, format, done)?;
        context.events.emit(Event::PhaseFinished { phase: phase.into() });
        return Ok(base);
    };
    let wanted = Derived { kind: "QuantisedBase", version: VERSION, input: dir, options: &format };
    let folder = artefacts.get_or_make(&wanted, context.cancel, context.events, |folder| {
        start();
        QuantisedBase::write(spec, checkpoint, format, &folder.join(QuantisedBase::FILE), done)?;
        context.events.emit(Event::PhaseFinished { phase: phase.into() });
        Ok(())
    })?;
    QuantisedBase::open(spec, format, &folder.join(QuantisedBase::FILE))
}
