//! What can be wrong with data: always with file, row and column.

#[derive(Debug, thiserror::Error)]
pub enum DataError {}

impl DataError {
    pub fn hint(&self) -> Option<String> {
        match *self {}
    }
}
