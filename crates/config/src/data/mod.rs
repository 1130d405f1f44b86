//! `data_configs`: datasets, and how their rows become token blocks.

mod chat;
mod config;
mod load_dataset;
mod reader_options;
mod text_generation;

pub(crate) use chat::CHAT;
pub use chat::{AnswersBy, BadRows, ChatOptions, ChatSource, RowFormat};
pub use config::{DataConfig, MixedData};
pub(crate) use load_dataset::LOAD;
pub use load_dataset::{DataFiles, DataPlace, DataPlaces, LoadDataset};
pub use reader_options::{AsciiChar, Header, ReaderOptions, SampleBy, SkipRows};
pub(crate) use reader_options::{READER, READER_UNUSED};
pub(crate) use text_generation::{BLOCKS, LENGTH, SOURCE, STRATEGY, UNUSED};
pub use text_generation::{LossOn, PaddingSide, Strategy, TextColumn, TextGeneration, TextSource};
