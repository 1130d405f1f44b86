//! What can go wrong in finding and using ONNX Runtime.

#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {}

impl RuntimeError {
    pub fn hint(&self) -> Option<String> {
        match *self {}
    }
}
