//! The ecosystem's files: Hugging Face folders, safetensors, PEFT adapters, and where models come from.

pub mod adapter;
pub mod adapter_config;
pub mod checkpoint;
pub mod conversions;
pub mod detect;
pub mod error;
pub mod folder;
pub mod four_bit;
pub mod gguf;
mod hub;
pub mod hub_account;
mod hub_download;
pub mod hub_folder;
pub mod loftq;
mod mapped_file;
pub mod merged;
mod prequantised;
pub mod quantised_base;
pub mod safetensors_file;
pub mod side_files;
pub mod source;
pub mod source_options;
pub mod stored_file;
pub mod tokenizer;

pub use adapter::Adapter;
pub use adapter_config::AdapterConfig;
pub use checkpoint::{Checkpoint, Tensor};
pub use conversions::{Conversion, Conversions};
pub use detect::{MODEL_CONFIG, detect};
pub use error::ModelError;
pub use folder::ModelFolder;
pub use four_bit::{FourBitFormat, FourBitMatrix};
pub use merged::{MergedCheckpoint, WeightSource};
pub use quantised_base::{BaseFormat, QuantisedBase};
pub use source::{HubModel, resolve};
pub use source_options::SourceOptions;
