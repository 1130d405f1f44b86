//! Models in the formats of other programs.

mod error;
pub mod gguf;
mod modelfile;

pub use error::ExportError;
pub use modelfile::{NoModelfile, modelfile};
