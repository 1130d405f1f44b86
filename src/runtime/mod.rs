//! ONNX Runtime: finding or fetching the library, sessions, the generation loop.

pub mod error;

pub use error::RuntimeError;
