//! From files to token blocks, as a data configuration asks for.

mod chat;
mod chat_goldens;
mod chat_loss;
mod chat_rows;
mod chat_setup;
mod completion;
mod files;
mod format;
mod goldens;
mod limits;
mod parquet_file;
mod real_text;
mod setup;
mod strategies;
#[path = "../support/mod.rs"]
mod support;
mod text_prompts;
