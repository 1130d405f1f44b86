//! The decoder-only transformer in float: forward, backward, generation.

pub mod cache;
pub mod error;
pub mod forward;
mod forward_context;
pub mod generate;
pub mod gradients;
mod ignored_settings;
pub mod language_model;
pub mod layer;
pub mod layer_backward;
pub mod layerwise;
pub mod lora;
pub mod parameters;
pub mod sampling;
mod scoring;
mod sequences;
pub mod text_stream;
pub mod tokens;
pub mod training_mode;
pub mod weights;
pub mod whole;
mod whole_weights;

pub use cache::KvCache;
pub use error::GenerateError;
pub use generate::{Continuation, Finish, Generation, Limits, generate};
pub use ignored_settings::ignored_settings;
pub use language_model::{Feed, LanguageModel};
pub use layerwise::HiddenStates;
pub use lora::{LoraGradients, LoraModule};
pub use olive_kernels::LossTargets;
pub use sampling::{Sampler, SamplingOptions};
pub use scoring::{Scored, ScoringModel};
pub use text_stream::TextStream;
pub use tokens::Tokens;
pub use training_mode::{DropoutKey, NoiseKey, TrainingMode};
pub use weights::Decoder;
