//! The user's files to batches of tokens.

pub mod error;
pub mod sample;

pub use error::DataError;
pub use sample::{Dataset, Sample};
