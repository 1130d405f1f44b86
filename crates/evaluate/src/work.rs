//! How work is followed and stopped.

use olive_core::Result;
use olive_core::cancel::CancelFlag;
use olive_core::event::{Event, EventSink, Unit};

/// A piece of work: who hears of its progress, and what stops it.
#[derive(Clone, Copy)]
pub struct Work<'a> {
    /// What is evaluated, for those who watch: the phase is called `evaluate <name>`.
    pub name: &'a str,
    pub events: &'a dyn EventSink,
    pub cancel: &'a CancelFlag,
}

impl Work<'_> {
    /// Does something to the items `0..total`, some at a time: `step` is given the first one that is left, and gives the
    /// first one that it leaves.
    pub(crate) fn phase(&self, total: usize, mut step: impl FnMut(usize) -> Result<usize>) -> Result<()> {
        let phase = format!("evaluate {}", self.name);
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
