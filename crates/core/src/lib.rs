//! What every part of the program shares: errors that say what to do, events, cancellation, hashes of contents, the
//! device, and the models that passes hand to one another.

pub mod available;
pub mod cancel;
pub mod contain;
pub mod content;
pub mod device;
pub mod error;
pub mod event;
pub mod event_hub;
pub mod file;
pub mod handle;
pub mod inner_path;
pub mod python_random;
pub mod secrets;
mod shown;

pub use error::{Error, Fault, Result};
pub use inner_path::InnerPath;
pub use shown::shown;
