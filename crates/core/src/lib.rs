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
mod written_out;

/// Folder in an output folder for what is not part of the result: the records of its runs.
pub const RECORDS: &str = ".olive";

pub use error::{Error, Fault, Result};
pub use inner_path::InnerPath;
pub use shown::{shell_word, shown};
pub use written_out::{controls, written_out};
