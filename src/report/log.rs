//! `tracing` messages as events, so that bars, lines and JSON treat them like everything else.

use olive_core::event::{Event, EventSink};
use olive_core::event_hub::EventHub;
use std::fmt::Write;
use std::sync::Arc;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, filter::Targets};

/// Sends messages of this program from `level` on into the sink; those of its libraries only while debugging, as what
/// matters of them comes back as errors. The first call wins.
pub(crate) fn install(sink: Arc<EventHub>, level: LevelFilter) {
    let filter = Targets::new()
        .with_target(env!("CARGO_CRATE_NAME"), level)
        .with_default(if level >= LevelFilter::DEBUG { LevelFilter::WARN } else { LevelFilter::OFF });
    // A second subscriber in one process is a test's, and loses nothing by being refused.
    let _ = tracing_subscriber::registry().with(Bridge { sink }.with_filter(filter)).try_init();
}

struct Bridge {
    sink: Arc<EventHub>,
}

impl<S: tracing::Subscriber> Layer<S> for Bridge {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let mut text = Text::default();
        event.record(&mut text);
        let meta = event.metadata();
        self.sink.emit(Event::Log {
            level: meta.level().as_str().into(),
            target: meta.target().to_owned(),
            message: text.message + &text.fields,
        });
    }
}

/// The message, and the fields as `key=value`.
#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        // Writing to a string cannot fail.
        let _ = if field.name() == "message" {
            write!(self.message, "{value:?}")
        } else {
            write!(self.fields, " {}={value:?}", field.name())
        };
    }
}
