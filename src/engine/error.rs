//! What can go wrong between passes.

#[derive(Debug, thiserror::Error)]
pub enum EngineError {}

impl EngineError {
    pub fn hint(&self) -> Option<String> {
        match *self {}
    }

    /// 2 where the configuration is to blame, else 1.
    pub fn exit_code(&self) -> u8 {
        match *self {}
    }
}
