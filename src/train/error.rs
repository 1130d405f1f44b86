//! What can go wrong in training.

#[derive(Debug, thiserror::Error)]
pub enum TrainError {}

impl TrainError {
    pub fn hint(&self) -> Option<String> {
        match *self {}
    }
}
