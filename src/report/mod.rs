//! The bridge between work and what a person, or a program, sees of it.
//!
//! Work emits [`Event`]s into an [`EventSink`]; [`bars`] draws them on a terminal, [`plain`] writes lines for pipes and
//! CI logs, [`json_lines`] writes them as they are. All of that goes to stderr: stdout is for results.

pub mod bars;
pub mod event;
pub mod json_lines;
pub mod log;
pub mod number;
pub mod plain;
pub mod tensorboard;

pub use event::{Event, EventSink, Unit};
