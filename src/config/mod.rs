//! `olive-config.json`: both of Olive's grammars, read into one canonical form with every default filled in.

pub mod canonical;
pub mod error;

pub use canonical::*;
pub use error::{ConfigError, Diagnostic};
