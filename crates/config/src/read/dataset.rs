//! `load_dataset_config`: which rows.

use super::data::{Components, DataConfigs};
use super::resource::{self, Consumer};
use crate::azureml::ResourcePath;
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
        if let Some(named) = self.load.found("data_name").filter(|_| data_name.starts_with("azureml:")) {
            let folder = resource::read(named.node, &named.path, consumer, findings)?;
            self.replace_dir(&mut data_dir, folder, findings)?;
        }
        self.check_folder(&files, data_dir.as_ref(), consumer, findings)?;
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
            None => self.warn_unreachable(&files, findings),
            Some(place) => (files, data_dir) = (place.data_files.clone(), place.data_dir.clone()),
        }
        values.attach("data_files", files);
        if let Some(dir) = data_dir.clone() {
            values.attach("data_dir", dir);
        }
        let load = LoadDataset::read(values)?;
        Some(match place.cloned() {
            // `data_name` may have given the folder.
            None => LoadDataset { data_dir, ..load },
            Some(DataPlace { data_name, data_dir, .. }) => LoadDataset { data_name, data_dir, ..load },
        })
    }

    /// A folder in AzureML that `data_name` names.
    fn replace_dir(
        &self,
        dir: &mut Option<ResourcePath>,
        folder: ResourcePath,
        findings: &mut Findings,
    ) -> Option<()> {
        if let Some(found) = self.load.found("data_dir") {
            let message = "`data_name` names a folder in AzureML, and `data_dir` another one";
            findings.error(found.at, &found.path, message, Some("keep one of them".into()));
            return None;
        }
        *dir = Some(folder);
        Some(())
    }

    /// A job is given a folder in AzureML as a whole.
    fn check_folder(
        &self,
        files: &DataFiles,
        dir: Option<&ResourcePath>,
        consumer: Consumer<'_>,
        findings: &mut Findings,
    ) -> Option<()> {
        let in_azureml = dir.is_some_and(|dir| dir.azureml().is_some());
        if let (Consumer::Job(_), true, Some(found)) = (consumer, in_azureml, self.load.found("data_files"))
            && *files != DataFiles::Unset
        {
            let message = "a job cannot choose files of a folder in AzureML";
            let hint = "give the files themselves, or their folder without `data_files`";
            findings.error(found.at, &found.path, message, Some(hint.into()));
            return None;
        }
        Some(())
    }

    /// Says where rows lie that nothing here reads.
    fn warn_unreachable(&self, files: &DataFiles, findings: &mut Findings) {
        let DataFiles::Remote { kind, description } = files else { return };
        let Some(found) = self.load.found("data_files") else { return };
        let message = format!("the rows lie in a place that cannot be read yet: {description} ({kind})");
        let hint = format!("run with --set data_configs.{}.load_dataset_config.data_files=FILE", self.name);
        findings.warn_hint(found.at, &found.path, message, hint);
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
                Some((entry.key.clone(), resources(&entry.node, &path, consumer, findings)?))
            });
            files_by_split(splits.collect::<Option<_>>()?, node, path, findings)
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

/// Files whose split the configuration does not name.
fn files_of(
    resources: Vec<ResourcePath>,
    node: &Node,
    path: &str,
    findings: &mut Findings,
) -> Option<DataFiles> {
    let splits = BTreeMap::from([("train".to_owned(), resources)]);
    Some(match files_by_split(splits, node, path, findings)? {
        DataFiles::PerSplit(splits) => DataFiles::Local(splits.into_values().flatten().collect()),
        files => files,
    })
}

/// All on this machine, or all in AzureML.
fn files_by_split(
    splits: BTreeMap<String, Vec<ResourcePath>>,
    node: &Node,
    path: &str,
    findings: &mut Findings,
) -> Option<DataFiles> {
    let (mut here, mut azureml) = (BTreeMap::<_, Vec<_>>::new(), BTreeMap::<_, Vec<_>>::new());
    for (split, resources) in splits {
        for resource in resources {
            match resource {
                ResourcePath::Local(file) => here.entry(split.clone()).or_default().push(file),
                ResourcePath::AzureMl(resource) => azureml.entry(split.clone()).or_default().push(*resource),
            }
        }
    }
    if !here.is_empty() && !azureml.is_empty() {
        let message = "some files lie in AzureML and some do not";
        findings.error(node.at, path, message, Some("put all of them into one place".into()));
        return None;
    }
    if azureml.is_empty() {
        let elsewhere = elsewhere(here.values().flatten());
        return Some(elsewhere.unwrap_or(DataFiles::PerSplit(here)));
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
        let anywhere = Node { value: NodeValue::Null, at: node.and_then(|node| node.at) };
        let below = |paths: &[String], findings: &mut Findings| -> Option<Vec<ResourcePath>> {
            paths.iter().map(|path| self.resource(path, node, findings)).collect()
        };
        match files {
            DataFiles::Local(paths) => {
                *files = files_of(below(paths, findings)?, &anywhere, "data_root", findings)?;
            }
            DataFiles::PerSplit(splits) => {
                let splits =
                    splits.iter().map(|(split, paths)| Some((split.clone(), below(paths, findings)?)));
                let splits = splits.collect::<Option<_>>()?;
                *files = files_by_split(splits, &anywhere, "data_root", findings)?;
            }
            _ => {}
        }
        Some(())
    }
}
