//! Every event as one JSON object per line, for programs: `{"time": 1764000000.123, "event": "train_step", …}`.

use olive_core::event::{Event, EventSink};
use serde::Serialize;
use std::io::Write;
use std::time::SystemTime;

/// Writes to stderr.
pub(crate) struct JsonLines;

#[derive(Serialize)]
struct Line {
    /// Seconds since 1970.
    time: f64,
    #[serde(flatten)]
    event: Event,
}

impl EventSink for JsonLines {
    fn emit(&self, event: Event) {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let time = since.map_or(0.0, |t| (t.as_secs_f64() * 1e3).round() / 1e3);
        if let Ok(text) = serde_json::to_string(&Line { time, event }) {
            // Nothing can be done when stderr is gone.
            let _ = writeln!(std::io::stderr().lock(), "{text}");
        }
    }
}
