//! The ecosystem's files: Hugging Face folders, safetensors, PEFT adapters, and where models come from.

pub mod adapter;
pub mod checkpoint;
pub mod detect;
pub mod error;
pub mod folder;
pub mod gguf;
pub mod handle;
mod hub;
pub mod merged;
pub mod safetensors_file;
pub mod source;

pub use adapter::{Adapter, AdapterConfig};
pub use checkpoint::{Checkpoint, Tensor};
pub use detect::detect;
pub use error::ModelError;
pub use folder::ModelFolder;
pub use handle::ModelHandle;
pub use merged::{MergedCheckpoint, WeightSource};
pub use source::{SourceOptions, resolve};
