//! `olive-config.json`: both of Olive's grammars, read into one canonical form with every default filled in.
//!
//! The way of a file: `json` or `yaml` parse it into one tree with places (`node`), `overrides` edits the tree, and
//! `read` turns it into [`RunConfig`] by the `tables`, from which also come the JSON Schema and the documentation.

pub mod canonical;
mod data_readers;
pub mod error;
mod fields;
mod findings;
mod json;
pub mod kind;
mod load;
mod markdown;
mod node;
mod option;
mod overrides;
mod read;
mod schema;
mod tables;
mod training_options;
mod value;
mod values;
mod yaml;

pub use canonical::*;
pub use data_readers::READERS;
pub use error::{ConfigError, Diagnostic};
pub(crate) use findings::Findings;
pub use load::LoadOptions;
pub use markdown::markdown;
pub use schema::json_schema;
