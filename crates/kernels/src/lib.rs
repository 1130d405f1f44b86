//! Kernels of training and of quantisation.
//!
//! The kernels of the decoder are each a pair of functions, `forward` and a hand-written `backward`.
//!
//! All take and give candle tensors. On the CPU they run rayon kernels over f32 slices, without copying tensors; on any
//! other device they are composed of plain candle operations, which are the oracle of the unit tests as well, as
//! candle's autograd over them is the oracle of every backward.
//!
//! There is no autograd graph: the layer's backward calls these in reverse order, so what is kept between the two
//! directions is exactly what the layer decides to keep. No result depends on the number of threads: work is cut by
//! shape, and every sum has a fixed order.

pub mod adamw;
pub mod attention;
#[cfg(test)]
pub(crate) mod autograd;
pub mod divergence;
pub mod dora;
pub mod dropout;
mod error;
mod finite;
pub mod float_type;
pub mod frozen_linear;
pub(crate) mod gemm;
pub mod glu;
pub(crate) mod host;
pub mod linear;
pub mod lm_loss;
pub mod noise;
#[doc(hidden)]
pub mod oracle;
pub mod quant;
pub mod residual;
pub mod rms_norm;
pub mod rotary;
pub mod rotation;
mod softmax;
pub(crate) mod vector;

pub use attention::{AttentionSpec, Segments};
pub use dora::Dora;
pub use dropout::Dropout;
pub use error::invalid;
pub use finite::first_not_finite;
pub use frozen_linear::{FrozenWeight, HostMatrix};
pub use gemm::{Decode, Orientation, Precision, Stored, matmul, rate as gemm_rate};
pub use glu::Activation;
pub use host::activation_type;
pub use linear::{LinearGradients, Lora};
pub use lm_loss::{Head, LmLoss, Logits, LossTargets};
pub use rotary::{RotaryPairs, RotaryTables};
pub use softmax::softmax;
