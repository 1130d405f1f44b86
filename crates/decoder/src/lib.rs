//! Decoder-only transformers: one description of an architecture, and the float forward and backward built on it.

pub mod cache;
pub mod continuation;
pub mod forward;
pub mod generate;
pub mod gradients;
pub mod layer;
pub mod layer_backward;
pub mod layerwise;
pub mod lora;
pub mod parameters;
pub mod sampling;
pub mod text_stream;
pub mod tokens;
pub mod weights;
pub mod whole;

pub use cache::KvCache;
pub use continuation::Continuation;
pub use generate::{Context, Finish, GenerateError, Generation, Limits, NextLogits};
pub use gradients::TrainingMode;
pub use layerwise::HiddenStates;
pub use lora::{LoraGradients, LoraModule};
pub use sampling::{Sampler, SamplingOptions};
pub use text_stream::TextStream;
pub use tokens::Tokens;
pub use weights::Decoder;
