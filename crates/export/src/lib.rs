//! Models in the formats of other programs.

mod error;
pub mod gguf;

pub use error::ExportError;
