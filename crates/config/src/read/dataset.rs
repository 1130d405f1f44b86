//! `load_dataset_config`: which rows.

use super::data::{Components, DataConfigs};
use super::resource::{self, Consumer};
use crate::azureml::{AzureMlResource, ResourcePath};
use crate::data::{DataFiles, DataPlace, LoadDataset};
use crate::data_readers::READERS;
use crate::findings::Findings;
use crate::node::{Node, NodeValue};
use crate::place::join;
use crate::values::Values;
use std::collections::BTreeMap;
use std::path::Path;

/// The loaders that are Olive's own, and not somebody's Python.
const LOADERS: [&str; 2] = ["huggingface_dataset", "local_dataset"];

impl Components<'_> {
    pub(super) fn load_dataset(
        &self,
        values: &mut Values,
        all: &DataConfigs<'_>,
        consumer: Consumer<'_>,
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
        let mut files = match self.load.found("data_files") {
            None => DataFiles::Unset,
            Some(found) => data_files(found.node, &found.path, consumer, findings)?,
        };
        let mut data_dir = match self.load.found("data_dir") {
            None => None,
            Some(found) => Some(resource::read(found.node, &found.path, consumer, findings)?),
        };
        if let Some(root) = &all.data_root {
            let root = Root { text: root, consumer };
            root.prefix_files(&mut files, self.load.node("data_files"), findings)?;
            root.prefix_dir(&mut data_dir, self.load.node("data_dir"), findings)?;
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
        let place = all.places.get(&self.name);
        match place {
            None => self.warn_unreachable(&files, data_dir.as_ref(), consumer, findings),
            Some(place) => (files, data_dir) = (place.data_files.clone(), place.data_dir.clone()),
        }
        values.attach("data_files", files);
        if let Some(dir) = data_dir {
            values.attach("data_dir", dir);
        }
        let load = LoadDataset::read(values)?;
        Some(match place.cloned() {
            None => load,
            Some(DataPlace { data_name, data_dir, .. }) => LoadDataset { data_name, data_dir, ..load },
        })
    }

    /// Says where rows lie that this machine would need and cannot read.
    fn warn_unreachable(
        &self,
        files: &DataFiles,
        dir: Option<&ResourcePath>,
        consumer: Consumer<'_>,
        findings: &mut Findings,
    ) {
        let here = |resource: &AzureMlResource| match consumer {
            Consumer::Unknown => Some((resource.place.describe().to_owned(), format!("`{resource}`"))),
            Consumer::Job(_) => None,
        };
        let place = match files {
            DataFiles::Remote { kind, description } => Some((kind.clone(), description.clone())),
            DataFiles::AzureMl(resources) => resources.first().and_then(here),
            _ => None,
        };
        let files = place.map(|place| ("data_files", place));
        let dir = dir.and_then(ResourcePath::azureml).and_then(here).map(|place| ("data_dir", place));
        for (option, (kind, description)) in files.into_iter().chain(dir) {
            let Some(found) = self.load.found(option) else { continue };
            let message = format!("the rows lie in a place that cannot be read yet: {description} ({kind})");
            let hint = format!("run with --set data_configs.{}.load_dataset_config.{option}=FILE", self.name);
            findings.warn_hint(found.at, &found.path, message, hint);
        }
    }
}

/// Texts are paths or globs; `azureml:` addresses and Olive's resource objects are places in AzureML, and other
/// addresses places elsewhere.
fn data_files(node: &Node, path: &str, consumer: Consumer<'_>, findings: &mut Findings) -> Option<DataFiles> {
    match &node.value {
        NodeValue::Object(_) if resource::is_resource(node) => {
            files_of(vec![resource::read(node, path, consumer, findings)?], node, path, findings)
        }
        NodeValue::Object(entries) if !entries.is_empty() => {
            let splits = entries.iter().map(|entry| {
                let path = join(path, &entry.key);
                let files = resources(&entry.node, &path, Consumer::Unknown, findings)?;
                Some((entry.key.clone(), files.iter().map(ToString::to_string).collect()))
            });
            let splits: BTreeMap<String, Vec<String>> = splits.collect::<Option<_>>()?;
            let elsewhere = elsewhere(splits.values().flatten());
            Some(elsewhere.unwrap_or(DataFiles::PerSplit(splits)))
        }
        _ => files_of(resources(node, path, consumer, findings)?, node, path, findings),
    }
}

/// One resource or a list of them.
fn resources(
    node: &Node,
    path: &str,
    consumer: Consumer<'_>,
    findings: &mut Findings,
) -> Option<Vec<ResourcePath>> {
    let mut read = |node: &Node, path: &str| match &node.value {
        NodeValue::Text(text) if text.is_empty() => {
            findings.error(node.at, path, "a file has no name", None);
            None
        }
        NodeValue::Text(_) => resource::read(node, path, consumer, findings),
        NodeValue::Object(_) if resource::is_resource(node) => resource::read(node, path, consumer, findings),
        _ => {
            let message = format!("expected a file or a list of files, found {}", node.describe());
            findings.error(node.at, path, message, None);
            None
        }
    };
    match &node.value {
        NodeValue::List(items) if !items.is_empty() => {
            let items = items.iter().enumerate();
            items.map(|(index, item)| read(item, &format!("{path}[{index}]"))).collect()
        }
        _ => Some(vec![read(node, path)?]),
    }
}

/// All on this machine, or all in AzureML.
fn files_of(
    resources: Vec<ResourcePath>,
    node: &Node,
    path: &str,
    findings: &mut Findings,
) -> Option<DataFiles> {
    let (mut here, mut azureml) = (Vec::new(), Vec::new());
    for resource in resources {
        match resource {
            ResourcePath::Local(file) => here.push(file),
            ResourcePath::AzureMl(resource) => azureml.push(*resource),
        }
    }
    if !here.is_empty() && !azureml.is_empty() {
        let message = "some files lie in AzureML and some do not";
        findings.error(node.at, path, message, Some("put all of them into one place".into()));
        return None;
    }
    if azureml.is_empty() {
        return Some(elsewhere(here.iter()).unwrap_or(DataFiles::Local(here)));
    }
    Some(DataFiles::AzureMl(azureml))
}

/// A place that nothing here reaches, if one of the files lies there.
fn elsewhere<'a>(mut files: impl Iterator<Item = &'a String>) -> Option<DataFiles> {
    let (scheme, file) = files.find_map(|file| Some((file.split_once("://")?.0, file)))?;
    Some(DataFiles::Remote { kind: scheme.to_owned(), description: format!("`{file}`") })
}

/// `data_root`, which stands in front of relative paths.
struct Root<'a> {
    text: &'a str,
    consumer: Consumer<'a>,
}

impl Root<'_> {
    /// The path below the root, unless it is absolute.
    fn below(&self, path: &str) -> Option<String> {
        if Path::new(path).is_absolute() {
            return None;
        }
        Some(match self.text.split_once(':') {
            Some((scheme, rest)) if scheme == "azureml" || rest.starts_with("//") => {
                format!("{}/{path}", self.text.trim_end_matches('/'))
            }
            _ => Path::new(self.text).join(path).to_string_lossy().into_owned(),
        })
    }

    /// The same as a text of the file.
    fn resource(&self, path: &str, node: Option<&Node>, findings: &mut Findings) -> Option<ResourcePath> {
        let Some(below) = self.below(path) else { return Some(ResourcePath::Local(path.to_owned())) };
        let node = Node { value: NodeValue::Text(below), at: node.and_then(|node| node.at) };
        resource::read(&node, "data_root", self.consumer, findings)
    }

    fn prefix_dir(
        &self,
        dir: &mut Option<ResourcePath>,
        node: Option<&Node>,
        findings: &mut Findings,
    ) -> Option<()> {
        if let Some(ResourcePath::Local(path)) = dir {
            *dir = Some(self.resource(path, node, findings)?);
        }
        Some(())
    }

    fn prefix_files(
        &self,
        files: &mut DataFiles,
        node: Option<&Node>,
        findings: &mut Findings,
    ) -> Option<()> {
        match files {
            DataFiles::Local(paths) => {
                let read = paths.iter().map(|path| self.resource(path, node, findings));
                let read = read.collect::<Option<Vec<_>>>()?;
                let anywhere = Node { value: NodeValue::Null, at: node.and_then(|node| node.at) };
                *files = files_of(read, &anywhere, "data_root", findings)?;
            }
            DataFiles::PerSplit(splits) => {
                for path in splits.values_mut().flatten() {
                    *path = self.below(path).unwrap_or_else(|| path.clone());
                }
                if let Some(elsewhere) = elsewhere(splits.values().flatten()) {
                    *files = elsewhere;
                }
            }
            _ => {}
        }
        Some(())
    }
}
