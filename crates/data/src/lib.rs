//! The user's files to batches of tokens.
//!
//! [`load_rows`] reads files into [`Rows`]; [`prepare`] makes texts of rows, tokens of texts and [`Sample`]s of tokens;
//! [`hold_out`] keeps some of them for evaluation; [`collate`] puts some of them side by side for a step,
//! [`MicroBatch`] end to end.

pub mod batch;
mod calendar;
pub mod chat_template;
mod completion;
mod corpus;
pub mod error;
pub mod files;
pub mod format_spec;
pub mod hold_out;
mod jinja_value;
mod joining;
mod lines;
pub mod micro_batch;
mod packing;
pub mod permutation;
pub mod prepare;
pub mod python_random;
pub mod python_text;
pub mod readers;
pub mod rows;
pub mod sample;
pub mod special_tokens;
pub mod split;
mod strategy;
pub mod template;
mod texts;
pub mod value;

pub use batch::{Batch, collate};
pub use chat_template::{ChatTemplate, Message};
pub use error::{DataError, Location, Numbering};
pub use files::inputs;
pub use hold_out::hold_out;
pub use micro_batch::MicroBatch;
pub use prepare::{check, check_columns, prepare};
pub use rows::{Rows, load_rows};
pub use sample::{Dataset, IGNORED, Sample};
pub use special_tokens::SpecialTokens;
pub use value::Value;
