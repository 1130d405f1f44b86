//! A dataset and how its rows become token blocks.

use super::load_dataset::LoadDataset;
use super::text_generation::TextGeneration;
use crate::option::{Kind, Special};
use crate::statement::OptionValue;
use crate::values::Setting;
use serde::Serialize;
use serde_json::json;

/// A dataset and how its rows become token blocks.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DataConfig {
    #[serde(skip)]
    pub name: String,
    pub load: LoadDataset,
    pub pre_process: TextGeneration,
    /// What is trained on beside it. No part has parts of its own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mix: Vec<MixedData>,
}

/// Data that is mixed into other data.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MixedData {
    pub config: DataConfig,
    /// How often each of its samples is taken; of a fraction, so many of them.
    pub weight: f64,
}

impl DataConfig {
    /// This data and all that is mixed into it.
    pub fn parts(&self) -> impl Iterator<Item = &DataConfig> {
        std::iter::once(self).chain(self.mix.iter().map(|part| &part.config))
    }

    /// Does something to this data and to all that is mixed into it.
    ///
    /// # Errors
    /// The first of `each`.
    pub fn each_part<E>(&mut self, mut each: impl FnMut(&mut DataConfig) -> Result<(), E>) -> Result<(), E> {
        each(self)?;
        self.mix.iter_mut().try_for_each(|part| each(&mut part.config))
    }
}

/// A name in `data_configs`, or a data config.
static DATA_REFERENCE: Special = Special::unchecked(
    "a name or a data config",
    || json!({"anyOf": [{"type": ["string", "null"]}, {"$ref": "#/$defs/data_config"}]}),
);

// An option holds the name; the reader of the pass attaches the data config.
impl OptionValue for DataConfig {
    const KIND: Kind = Kind::Special(&DATA_REFERENCE);

    fn read(setting: &Setting) -> Option<DataConfig> {
        setting.object()
    }
}
