//! Olive's verbs: what a command line such as `olive optimize -m MODEL --precision int4` stands for.
//!
//! Every verb is a function of its options and of the input model that gives a [`Draft`], a configuration in Olive's
//! grammar; nothing is run, printed or written. Keys and values are those of Olive 0.13, which can run the drafts, too. Where
//! Olive would write something else than was asked for, the draft has what was asked for and a notice that says so.
//! [`convert`] is the one that works itself: it writes adapters in other formats.

mod accelerator;
pub mod auto_opt;
mod builder_options;
pub mod capture;
pub mod convert;
mod draft;
mod error;
pub mod finetune;
pub mod generate_adapter;
mod input;
mod int4;
pub mod optimize;
mod output;
pub mod pass_options;
pub mod quantize;
mod rows;
pub mod run_pass;
mod template;
pub mod training;
mod unsupported;
mod weights_file;
mod words;

pub use draft::Draft;
pub use error::VerbError;
pub use input::{InputKind, InputModel, ModelOptions};
pub use output::OutputOptions;
pub use rows::{RowOptions, TextOptions, TextSource};
pub use unsupported::{OF_MODELS, TASKS, Takes, Unsupported};
pub use weights_file::WeightsFormat;
pub use words::{
    AdapterType, Algorithm, Device, Exporter, Method, Precision, Provider, TorchType, Word, ZeroPoint,
};
