//! `data_configs`: datasets, and how their rows become token blocks.

mod config;
mod load_dataset;
mod text_generation;

pub use config::DataConfig;
pub(crate) use load_dataset::LOAD;
pub use load_dataset::{DataFiles, LoadDataset};
pub(crate) use text_generation::{BLOCKS, LENGTH, SOURCE, STRATEGY, UNUSED};
pub use text_generation::{LossOn, PaddingSide, Strategy, TextGeneration, TextSource};
