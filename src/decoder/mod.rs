//! Decoder-only transformers: one description of an architecture, and the float forward built on it.

pub mod families;
pub mod rope;
pub mod spec;

pub use rope::{Rope, RopeScaling};
pub use spec::{Activation, Attention, Layer, Linear, LinearKind, Mlp, NormLayout, QkNorm, RopeUse, Spec};
