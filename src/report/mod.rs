//! The bridge between work and what a person, or a program, sees of it.

pub mod event;

pub use event::{Event, EventSink, Unit};
