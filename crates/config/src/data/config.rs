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
