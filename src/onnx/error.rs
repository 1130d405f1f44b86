//! What can go wrong in writing an ONNX model.

#[derive(Debug, thiserror::Error)]
pub enum OnnxError {}

impl OnnxError {
    pub fn hint(&self) -> Option<String> {
        match *self {}
    }
}
