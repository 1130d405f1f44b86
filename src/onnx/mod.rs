//! The ONNX model builder: graph, external data, genai_config.json.

pub mod error;

pub use error::OnnxError;
