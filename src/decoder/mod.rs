//! Decoder-only transformers: one description of an architecture, and the float forward built on it.

pub mod families;
pub mod generate;
pub mod rope;
pub mod sampling;
pub mod spec;
pub mod text_stream;

pub use generate::{Context, Finish, GenerateError, Generation, Limits, NextLogits};
pub use rope::{Rope, RopeScaling};
pub use sampling::{Sampler, SamplingOptions};
pub use spec::{Activation, Attention, Layer, Linear, LinearKind, Mlp, NormLayout, QkNorm, RopeUse, Spec};
pub use text_stream::TextStream;
