//! `load_dataset_config`: which rows.

use super::data::{Components, DataConfigs};
use crate::data::{DataFiles, DataPlace, LoadDataset};
use crate::data_readers::READERS;
use crate::findings::Findings;
use crate::node::{Node, NodeValue};
use crate::values::Values;
use std::path::{Path, PathBuf};

/// The loaders that are Olive's own, and not somebody's Python.
const LOADERS: [&str; 2] = ["huggingface_dataset", "local_dataset"];

impl Components<'_> {
    pub(super) fn load_dataset(
        &self,
        values: &Values,
        all: &DataConfigs<'_>,
        findings: &mut Findings,
    ) -> Option<LoadDataset> {
        let Some(data_name) = values.text("data_name").map(str::to_owned) else {
            if self.load.lacks("data_name") {
                let hint = "`data_name` is `json`, `csv`, `parquet` or `text` with `data_files`, or the id of a dataset";
                findings.error(
                    self.load.at,
                    &self.load.path,
                    "the data config names no dataset",
                    Some(hint.into()),
                );
            }
            return None;
        };
        if let Some(found) = self.load.found("type") {
            let name = found.node.as_text().unwrap_or_default();
            if !LOADERS.contains(&name.to_lowercase().as_str()) {
                let message = format!(
                    "`{name}` is a Python function, which is not run: the rows of `{data_name}` are taken as they are"
                );
                findings.warn_hint(
                    found.at,
                    &found.path,
                    message,
                    "`col_filters` keeps rows by the value of a column",
                );
            }
        }
        let data_files = self.load.found("data_files").map(|found| (found, data_files(found.node)));
        let mut files = match data_files {
            None => DataFiles::Unset,
            Some((_, Ok(files))) => files,
            Some((found, Err(message))) => {
                findings.error(found.node.at, &found.path, message, None);
                return None;
            }
        };
        let mut data_dir = values.text("data_dir").map(PathBuf::from);
        if let Some(root) = &all.data_root {
            prefix(root, &mut files, &mut data_dir);
        }
        let place = all.places.get(&self.name);
        if let (DataFiles::Remote { kind, description }, Some(found), None) =
            (&files, self.load.found("data_files"), place)
        {
            let message = format!("the rows lie in a place that cannot be read yet: {description} ({kind})");
            let hint =
                format!("run with --set data_configs.{}.load_dataset_config.data_files=FILE", self.name);
            findings.warn_hint(found.at, &found.path, message, hint);
        }
        if READERS.contains(&data_name.as_str())
            && self.load.lacks("data_files")
            && self.load.lacks("data_dir")
        {
            let hint = Some("give `data_files`: a file, a glob, a list, or an object by split".into());
            values.error("data_name", format!("`{data_name}` needs files to read"), hint, findings);
        }
        let filters = &values.get("col_filters").json;
        if !filters.is_null() && !filters.is_object() {
            values.error("col_filters", "expected an object of columns and values", None, findings);
        }
        let load = LoadDataset { data_dir, data_files: files, ..LoadDataset::read(values)? };
        Some(match place.cloned() {
            None => load,
            Some(DataPlace { data_name, data_files }) => {
                LoadDataset { data_name, data_dir: None, data_files, ..load }
            }
        })
    }
}

/// Texts are paths or globs; `azureml://` and other URLs, and Olive's resource objects, are places elsewhere.
fn data_files(node: &Node) -> Result<DataFiles, String> {
    let paths = |node: &Node| -> Result<Vec<String>, String> {
        match &node.value {
            NodeValue::Text(text) => Ok(vec![text.clone()]),
            NodeValue::List(items) if !items.is_empty() => {
                let texts: Option<Vec<String>> =
                    items.iter().map(|item| item.as_text().map(str::to_owned)).collect();
                texts.ok_or_else(|| "expected a list of files".to_owned())
            }
            _ => Err(format!("expected a file or a list of files, found {}", node.describe())),
        }
    };
    let files = match &node.value {
        NodeValue::Object(_)
            if node.get("type").is_some_and(|kind| kind.as_text().is_some())
                && node.get("config").is_some() =>
        {
            return resource(node);
        }
        NodeValue::Object(entries) if !entries.is_empty() => {
            let splits = entries.iter().map(|entry| Ok((entry.key.clone(), paths(&entry.node)?)));
            DataFiles::PerSplit(splits.collect::<Result<_, String>>()?)
        }
        _ => DataFiles::Local(paths(node)?),
    };
    let all: Vec<&String> = match &files {
        DataFiles::Local(files) => files.iter().collect(),
        DataFiles::PerSplit(splits) => splits.values().flatten().collect(),
        _ => Vec::new(),
    };
    if all.iter().any(|file| file.is_empty()) {
        return Err("a file has no name".into());
    }
    match all.iter().find_map(|file| Some((file.split_once("://")?.0, *file))) {
        Some((scheme, file)) => {
            Ok(DataFiles::Remote { kind: scheme.to_owned(), description: format!("`{file}`") })
        }
        None => Ok(files),
    }
}

/// `{"type": "azureml_datastore", "config": {…}}` and the like.
fn resource(node: &Node) -> Result<DataFiles, String> {
    let kind = node.get("type").and_then(Node::as_text).unwrap_or_default().to_lowercase();
    let config = node.get("config").unwrap_or(node);
    let text = |key: &str| config.get(key).and_then(Node::as_text);
    match kind.as_str() {
        "file" | "folder" => match text("path") {
            Some(path) => Ok(DataFiles::Local(vec![path.to_owned()])),
            None => Err("the resource needs `config.path`".into()),
        },
        "string_name" => match text("name") {
            Some(name) => Ok(DataFiles::Local(vec![name.to_owned()])),
            None => Err("the resource needs `config.name`".into()),
        },
        _ if kind.starts_with("azureml_") => {
            let places = ["relative_path", "datastore_url", "name", "job_name"];
            let place = places.into_iter().find_map(text).unwrap_or("?");
            let store = text("datastore_name").map(|store| format!(" in `{store}`")).unwrap_or_default();
            Ok(DataFiles::Remote { kind, description: format!("`{place}`{store}") })
        }
        _ => Err(format!("there is no kind of resource `{kind}`")),
    }
}

/// Puts `data_root` in front of relative paths.
fn prefix(root: &str, files: &mut DataFiles, data_dir: &mut Option<PathBuf>) {
    let remote = root.split_once("://").map(|(scheme, _)| scheme.to_owned());
    let relative = |path: &str| !Path::new(path).is_absolute();
    let lists: Vec<&mut Vec<String>> = match files {
        DataFiles::Local(files) => vec![files],
        DataFiles::PerSplit(splits) => splits.values_mut().collect(),
        _ => Vec::new(),
    };
    let mut elsewhere = None;
    for file in lists.into_iter().flatten().filter(|file| relative(file)) {
        if let Some(scheme) = &remote {
            let description = format!("`{}/{file}`", root.trim_end_matches('/'));
            elsewhere = Some(DataFiles::Remote { kind: scheme.clone(), description });
        } else {
            *file = Path::new(root).join(&*file).to_string_lossy().into_owned();
        }
    }
    if let Some(elsewhere) = elsewhere {
        *files = elsewhere;
    }
    if let Some(dir) = data_dir.as_mut().filter(|dir| dir.is_relative() && remote.is_none()) {
        *dir = Path::new(root).join(&*dir);
    }
}
