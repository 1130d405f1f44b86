//! Training, and merging what was trained.

mod adapter_files;
mod code_files;
mod huge_numbers;
mod knobs;
mod loftq;
mod merge;
mod qlora;
#[path = "../support/mod.rs"]
mod support;
mod train;
