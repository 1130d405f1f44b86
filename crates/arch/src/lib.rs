//! What an architecture is: one description of a decoder-only transformer that the trainer, the generator and the ONNX
//! builder read alike.

mod config_reader;
mod error;
pub mod families;
mod family;
mod from_config;
mod gguf_family;
mod keys;
mod rope;
mod rope_reader;
mod spec;
mod torch_math;

pub use config_reader::MOST_POSITIONS;
pub use error::ArchError;
pub use families::SUPPORTED;
pub use family::{Family, SpecialTokenIds, Windows};
pub use gguf_family::{
    GGUF_NORMS, GgufFamily, GgufMetadata, GgufShape, PreTokenizerNames, QueryScale, ReadWindows,
    WINDOW_PATTERN, WordCut,
};
pub use olive_kernels::Activation;
pub use rope::{Rope, RopeScaling};
pub use spec::{Attention, Layer, Linear, LinearKind, Mlp, NormLayout, QkNorm, RopeUse, Spec};
