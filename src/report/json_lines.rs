//! Every event as one JSON object per line, for programs: `{"time": 1764000000.123, "event": "train_step", …}`.

use olive_core::event::TimedEvent;
use olive_core::event_hub::EventListener;
use std::io::Write;

/// Writes to stderr.
pub(crate) struct JsonLines;

impl EventListener for JsonLines {
    fn on_event(&self, event: &TimedEvent) {
        if let Ok(text) = serde_json::to_string(event) {
            // Nothing can be done when stderr is gone.
            let _ = writeln!(std::io::stderr().lock(), "{text}");
        }
    }
}
