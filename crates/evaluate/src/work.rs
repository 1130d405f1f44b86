//! How work is followed and stopped.

use olive_core::Result;
use olive_core::cancel::CancelFlag;
use olive_core::event::{Event, EventSink, Unit};

/// Who hears of the progress, and what stops it.
#[derive(Clone, Copy)]
pub struct Work<'a> {
    pub events: &'a dyn EventSink,
    pub cancel: &'a CancelFlag,
}

impl Work<'_> {
    /// Does something to the items `0..total`, some at a time: `step` is given the first one that is left, and gives the
    /// first one that it leaves.
    pub(crate) fn phase(
        &self,
        what: &str,
        total: usize,
        mut step: impl FnMut(usize) -> Result<usize>,
    ) -> Result<()> {
        let phase = format!("evaluate {what}");
        self.events.emit(Event::PhaseStarted {
            phase: phase.clone().into(),
            total: Some(total as u64),
            unit: Unit::Rows,
        });
        let mut done = 0;
        while done < total {
            self.cancel.check()?;
            done = step(done)?;
            self.events.emit(Event::PhaseProgress { done: done as u64 });
        }
        self.events.emit(Event::PhaseFinished { phase: phase.into() });
        Ok(())
    }
}
