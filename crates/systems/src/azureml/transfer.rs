//! Uploads and downloads as phases of the run.

use crate::SystemError;
use olive_azureml::http::Client;
use olive_azureml::repetition::Repetition;
use olive_azureml::transfer::{Moved, Progress};
use olive_core::Result;
use olive_core::event::{Event, EventSink, Unit};
use std::sync::Once;

/// Does a transfer, again where it may succeed later. The phase begins, after `first`, with the first bytes: where nothing has
/// to be moved, nothing is told.
pub(super) async fn transfer<T>(
    client: &Client,
    repetition: Repetition,
    events: &dyn EventSink,
    phase: &'static str,
    first: Option<String>,
    operation: impl AsyncFn(Progress<'_>) -> olive_azureml::Result<T>,
) -> Result<T> {
    let begun = Once::new();
    let progress = |Moved { done, total }: Moved| {
        begun.call_once(|| {
            if let Some(message) = first.clone() {
                events.emit(Event::Info { message });
            }
            events.emit(Event::PhaseStarted { phase: phase.into(), total: Some(total), unit: Unit::Bytes });
        });
        events.emit(Event::PhaseProgress { done });
    };
    let moved = client.repeated(repetition, async || operation(&progress).await).await;
    if begun.is_completed() {
        events.emit(Event::PhaseFinished { phase: phase.into() });
    }
    Ok(moved.map_err(SystemError::from)?)
}
