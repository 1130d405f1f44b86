//! What a plan would find in the cache, in words.

use olive_core::available::Available;
use olive_core::shown;
use olive_engine::{Prospects, StepState};
use olive_train::MemoryNeed;
use olive_train::memory::size;

/// For every step of every flow: cached, to run, or why that cannot be said.
pub(crate) fn describe(prospects: &Prospects) -> Vec<Vec<String>> {
    let state = |step| state(step, &prospects.available);
    prospects.flows.iter().map(|flow| flow.iter().map(state).collect()).collect()
}

fn state(state: &StepState, available: &Available) -> String {
    match state {
        StepState::Cached { output } => format!("cached, {}", shown(output)),
        StepState::Elsewhere { place } => format!("left in the datastore, {place}"),
        StepState::ToRun { changed, memory } => {
            let changed =
                changed.as_ref().map(|file| format!(", as `{}` was changed or removed", shown(file)));
            let memory = memory.as_ref().map(|need| format!("; {}", self::memory(need, available)));
            format!("to run{}{}", changed.unwrap_or_default(), memory.unwrap_or_default())
        }
        StepState::NoInput => {
            "unknown: the input model is not on this machine yet, or not yet converted".to_owned()
        }
        StepState::NoKey { reason } => format!("unknown: {reason}"),
    }
}

/// The predicted peak, and whether it is more than there is.
fn memory(need: &MemoryNeed, available: &Available) -> String {
    let total = size(need.estimate.total());
    match need.check(available) {
        Ok(()) => format!("up to {total} of memory"),
        Err(shortage) => {
            format!("up to {total} of memory, more than the {} available", size(shortage.available))
        }
    }
}
