//! The user's files to batches of tokens.
//!
//! [`load_rows`] reads files into [`Rows`]; [`prepare`] makes texts of rows, tokens of texts and [`Sample`]s of tokens;
//! [`hold_out()`] keeps some of them for evaluation; [`MicroBatch`] lays some of them end to end for a step.

mod answer_row;
mod calendar;
pub mod chat;
pub mod chat_template;
mod chat_texts;
mod checks;
mod completion;
mod conversation;
mod corpus;
mod error;
pub mod files;
mod format_spec;
mod hold_out;
mod jinja_environment;
mod jinja_limits;
mod jinja_marks;
mod jinja_namespace;
mod jinja_tests;
mod jinja_value;
mod jinja_worker;
mod joining;
mod lines;
mod micro_batch;
mod mixing;
mod packing;
mod permutation;
mod prepare;
mod prompts;
pub mod python_text;
mod readers;
mod room;
mod row_fault;
mod row_source;
mod row_texts;
mod rows;
mod sample;
mod search;
mod special_tokens;
mod split;
mod strategy;
mod survey;
pub mod template;
mod text_model;
mod text_prompts;
mod texts;
mod value;
mod value_reader;

pub use answer_row::AnswerRow;
pub use chat_template::{Beside, ChatTemplate, GenerationPrompt, MarkedText, Message};
pub use chat_texts::ChatFacts;
pub use checks::{check, check_model, check_rows, row_format};
pub use error::{DataError, Location, Numbering};
pub use files::{inputs, used_of};
pub use hold_out::hold_out;
pub use micro_batch::MicroBatch;
pub use prepare::prepare;
pub use prompts::{ChoiceRow, answer_rows, choice_rows};
pub use readers::RowReader;
pub use row_fault::RowFault;
pub use rows::{Rows, load_rows};
pub use sample::{Dataset, IGNORED, Sample};
pub use special_tokens::SpecialTokens;
pub use survey::{Piece, Survey, survey};
pub use text_prompts::text_prompts;
pub use value::Value;

/// Part of the cache keys of passes that learn from data. To be raised when the same files, options and tokenizer give
/// other tokens than before.
pub const VERSION: u32 = 3;
