//! Which rows, and what of them is the text: the options of data that verbs share.

use crate::error::VerbError;
use crate::template::unescaped;
use serde_json::{Map, Value, json};

/// Options of a dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowOptions {
    /// A loader (`json`, `csv`, …), a file or a folder.
    pub data_name: String,
    pub subset: Option<String>,
    pub split: Option<String>,
    /// Separated by commas.
    pub data_files: Option<String>,
    pub text: TextOptions,
}

/// How rows become tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextOptions {
    pub source: TextSource,
    /// In tokens.
    pub max_seq_len: usize,
    pub add_special_tokens: bool,
    /// Rows.
    pub max_samples: usize,
    /// Rows of a batch.
    pub batch_size: usize,
}

/// Where the text of a row comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TextSource {
    Field(String),
    /// With escapes, as it stands on the command line.
    Template(String),
    ChatTemplate,
    /// Not said: the column `text`, else the conversations that the columns hold.
    Unsaid,
}

/// Loaders that read nothing by themselves.
const LOADERS: [&str; 4] = ["json", "csv", "parquet", "text"];

impl RowOptions {
    /// The entry of `data_configs` with this name.
    ///
    /// # Errors
    /// A loader without files, a template with a wrong escape.
    pub(crate) fn data_config(&self, name: &str) -> Result<Value, VerbError> {
        if self.data_files.is_none() && LOADERS.contains(&self.data_name.as_str()) {
            return Err(VerbError::Needs {
                option: format!("--data_name {}", self.data_name),
                other: "--data_files".into(),
                hint: format!("`{}` says how files are read, `--data_files FILE,…` which", self.data_name),
            });
        }
        let mut load = Map::new();
        load.insert("data_name".into(), json!(self.data_name));
        let texts = [("split", &self.split), ("subset", &self.subset)];
        for (key, text) in texts.into_iter().filter_map(|(key, text)| Some((key, text.as_ref()?))) {
            load.insert(key.into(), json!(text));
        }
        if let Some(files) = &self.data_files {
            load.insert("data_files".into(), files.split(',').collect());
            // Files that are no dictionary of splits are all of this one.
            load.entry("split").or_insert_with(|| json!("train"));
        }
        self.text.data_config(name, load)
    }
}

impl TextOptions {
    /// An entry of `data_configs` that loads this.
    ///
    /// # Errors
    /// A template with a wrong escape.
    pub(crate) fn data_config(&self, name: &str, load: Map<String, Value>) -> Result<Value, VerbError> {
        let mut texts = Map::new();
        match &self.source {
            TextSource::Field(column) => drop(texts.insert("text_cols".into(), json!(column))),
            TextSource::Template(written) => {
                let template = unescaped(written).map_err(|reason| VerbError::Value {
                    option: "--text_template".into(),
                    reason,
                    hint: Some("a backslash itself is written `\\\\`".into()),
                })?;
                texts.insert("text_template".into(), json!(template));
            }
            TextSource::ChatTemplate | TextSource::Unsaid => {}
        }
        texts.insert("chat_template".into(), json!(self.source == TextSource::ChatTemplate));
        texts.insert("max_seq_len".into(), json!(self.max_seq_len));
        texts.insert("add_special_tokens".into(), json!(self.add_special_tokens));
        texts.insert("max_samples".into(), json!(self.max_samples));
        Ok(json!({
            "name": name,
            "type": "HuggingfaceContainer",
            "load_dataset_config": load,
            "pre_process_data_config": texts,
            "dataloader_config": {"batch_size": self.batch_size},
            "post_process_data_config": {},
        }))
    }
}
