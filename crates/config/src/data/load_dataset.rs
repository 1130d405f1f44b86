//! Which rows.

use super::reader_options::ReaderOptions;
use crate::azureml::{AzureMlResource, ResourcePath};
use crate::option::{BOOL, Kind, Special, at_least};
use crate::options;
use crate::origin::Era;
use crate::statement::OptionValue;
use crate::values::Setting;
use serde::Serialize;
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::path::PathBuf;

options! {
    #[derive(Debug, Clone, PartialEq, Serialize)]
    pub struct LoadDataset {
        LOAD {
            /// `json` (also JSON lines), `csv`, `parquet` or `text`, else the id of a dataset on the Hub or a folder, which may be
            /// an `azureml:` address.
            pub data_name: String;
            /// Configuration of a dataset on the Hub.
            pub subset: Option<String>;
            /// Which rows, with slices: `train`, `train[:90%]`, `train[10:20]+test`.
            pub split: String, default("\"validation\"");
            /// Folder of the files, or a resource path.
            #[serde(skip)]
            pub data_dir: Option<ResourcePath>;
            /// A file, a glob, a list of them, an object of them by split, or a resource path.
            #[serde(skip)]
            pub data_files: DataFiles;
            /// Keep the rows where these columns have these values.
            pub col_filters: BTreeMap<String, Json> = Kind::Any, only(Era::New);
            /// Key under which the rows lie in a JSON file.
            pub field: Option<String>;
            /// How the reader makes rows of files.
            #[serde(flatten)]
            nested reader: ReaderOptions;
            /// Accepted; no code of a dataset is ever run.
            - "trust_remote_code" = BOOL, quiet();
            /// Token for the Hub.
            - "token" = Kind::Any, ignored("the token comes from the Hub's login or `HF_TOKEN`");
            /// Read rows one by one.
            - "streaming" = BOOL, quiet();
            /// For evaluation.
            - "batch_size" = at_least(1), quiet();
            /// For evaluation.
            - "label_cols" = Kind::Any, quiet();
        }
    }
}

impl LoadDataset {
    /// What of the data lies in AzureML.
    pub fn azureml(&self) -> impl Iterator<Item = &AzureMlResource> {
        let splits = match &self.data_files {
            DataFiles::AzureMl(splits) => Some(splits),
            _ => None,
        };
        let files = splits.into_iter().flat_map(BTreeMap::values).flatten();
        files.chain(self.data_dir.as_ref().and_then(ResourcePath::azureml))
    }

    /// Whether `data_name` is the address of a folder in AzureML, in whose files the reader is found.
    pub fn is_named_by_its_folder(&self) -> bool {
        self.data_name.starts_with("azureml:")
    }

    /// The same rows, which lie at another place.
    pub fn move_to(&mut self, place: DataPlace) {
        let DataPlace { data_name, data_dir, data_files } = place;
        (self.data_name, self.data_dir, self.data_files) = (data_name, data_dir, data_files);
    }
}

/// Which files hold the rows. The content, not these paths, enters cache keys.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum DataFiles {
    /// None given: everything in `data_dir`.
    #[default]
    Unset,
    /// Paths or globs, all of split `train`.
    Local(Vec<String>),
    /// Paths or globs per split.
    PerSplit(BTreeMap<String, Vec<String>>),
    /// The files of every split, as they are.
    Listed(Vec<(String, Vec<PathBuf>)>),
    /// Files in AzureML per split; `train`, where the configuration names none.
    AzureMl(BTreeMap<String, Vec<AzureMlResource>>),
    /// A place this program cannot reach, by the scheme of its address.
    Remote { kind: String, description: String },
}

/// Where the rows of a data config lie, wherever the file says that they do.
#[derive(Debug, Clone)]
pub struct DataPlace {
    /// A reader: `json`, `csv`, …
    pub data_name: String,
    pub data_dir: Option<ResourcePath>,
    pub data_files: DataFiles,
}

/// By the name of the data config.
pub type DataPlaces = BTreeMap<String, DataPlace>;

/// Files, or where else the rows lie.
static DATA_FILES: Special = Special::unchecked("text, list or object", || {
    json!({"anyOf": [
        {"type": ["string", "null"]},
        {"type": "array", "items": {"anyOf": [{"type": "string"}, {"$ref": "#/$defs/resource"}]}},
        {"$ref": "#/$defs/resource"},
        {"type": "object", "additionalProperties": {"anyOf": [
            {"type": "string"},
            {"type": "array", "items": {"anyOf": [{"type": "string"}, {"$ref": "#/$defs/resource"}]}},
            {"$ref": "#/$defs/resource"},
        ]}},
    ]})
});

// The reader of the data config attaches what the paths mean.
impl OptionValue for DataFiles {
    const KIND: Kind = Kind::Special(&DATA_FILES);

    fn read(setting: &Setting) -> Option<DataFiles> {
        Some(setting.object().unwrap_or_default())
    }
}
