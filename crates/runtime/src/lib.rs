//! ONNX Runtime: finding or fetching the library, sessions, the model's side of the generation loop.

pub mod adapter;
mod batch;
pub mod benchmark;
pub mod environment;
pub mod error;
mod fetch;
pub mod genai_config;
pub mod generator;
mod kv_cache;
pub mod library;
pub mod library_file;
pub mod loaded_model;
pub mod preflight;
mod programs;
mod scoring;
pub mod session;
pub mod threads;
mod together;
mod wheel;

pub use adapter::{ActiveAdapter, OnnxAdapter};
pub use error::RuntimeError;
pub use genai_config::GenaiConfig;
pub use generator::{Answer, Generator, Prompt, SpecialTokens};
pub use library::{Library, LibrarySearch, LibrarySource};
pub use loaded_model::{LoadedModel, ModelSequence};
pub use programs::{Program, Programs};
pub use session::{CacheMode, OnnxSequence, OnnxSession};
pub use wheel::Wheel;
