//! `data_configs`, in all of their historic shapes.

use crate::config::fields::{Fields, Found, Values};
use crate::config::findings::{Findings, join, list_names, nearest};
use crate::config::node::{At, Entry, Node, Value};
use crate::config::tables::{DATA_CONFIG, DATALOADER, LOAD_DATASET, POST_PROCESS, PRE_PROCESS};
use crate::config::{
    DataConfig, DataFiles, Era, LoadDataset, PaddingSide, ResolvedOption, Strategy, TextGeneration,
    TextSource,
};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

pub(super) struct DataConfigs<'n> {
    entries: Vec<Shape<'n>>,
    data_root: Option<String>,
    model_era: Era,
    used: RefCell<BTreeSet<String>>,
}

/// The components of one data config, gathered from wherever the grammar of its time puts them.
struct Shape<'n> {
    name: String,
    at: At,
    path: String,
    top: Fields<'n>,
    load: Fields<'n>,
    pre: Fields<'n>,
}

/// A data config with what the plan shows of it.
pub(super) type Resolved = (DataConfig, Vec<ResolvedOption>);

/// The loader and the pre-processing that are Olive's own, and not somebody's Python.
const LOADERS: [&str; 2] = ["huggingface_dataset", "local_dataset"];
const PRE_PROCESSING: [&str; 2] = ["text_generation_huggingface_pre_process", "huggingface_pre_process"];

impl<'n> DataConfigs<'n> {
    pub(super) fn read(
        root: &Fields<'n>,
        values: &Values,
        model_era: Era,
        findings: &mut Findings,
    ) -> DataConfigs<'n> {
        let data_root = values.text("data_root").map(str::to_owned);
        let mut data = DataConfigs { entries: Vec::new(), data_root, model_era, used: RefCell::default() };
        let Some(found) = root.found("data_configs") else { return data };
        match &found.node.value {
            Value::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    let path = format!("{}[{index}]", found.path);
                    let Some(name) = item.get("name").and_then(Node::as_text) else {
                        let message = match item.get("name") {
                            Some(name) => format!("expected a name, found {}", name.describe()),
                            None if item.as_object().is_some() => "the data config needs `name`".into(),
                            None => format!("expected a data config, found {}", item.describe()),
                        };
                        findings.error(item.at, path, message, None);
                        continue;
                    };
                    data.push(name, item, path, findings);
                }
            }
            // Up to Olive 0.5 the data configs were an object by name.
            Value::Object(entries) => {
                for entry in entries.iter().filter(|entry| !entry.key.starts_with("x-")) {
                    data.push(&entry.key, &entry.node, join(&found.path, &entry.key), findings);
                }
            }
            _ => {
                let message = format!("expected a list of data configs, found {}", found.node.describe());
                findings.error(found.node.at, &found.path, message, None);
            }
        }
        data
    }

    fn push(&mut self, name: &str, node: &'n Node, path: String, findings: &mut Findings) {
        if let Some(first) = self.entries.iter().find(|entry| entry.name == name) {
            let line = first.at.map_or(0, |(line, _)| line);
            let message = format!("there is already a data config `{name}`, on line {line}");
            findings.error(node.get("name").map_or(node.at, |name| name.at), path, message, None);
            return;
        }
        self.entries.push(Shape::read(name, node, path, findings));
    }

    /// The data config that an option refers to: a name, or an object in place.
    pub(super) fn reference(&self, found: &Found<'_>, findings: &mut Findings) -> Option<Resolved> {
        match &found.node.value {
            Value::Text(name) => {
                let names = || self.entries.iter().map(|entry| entry.name.as_str());
                let Some(shape) = self.entries.iter().find(|entry| entry.name == *name) else {
                    let hint = nearest(name, names()).map_or_else(
                        || format!("`data_configs` has {}", list_names(names())),
                        |near| format!("did you mean `{near}`?"),
                    );
                    let message = format!("there is no data config `{name}`");
                    findings.error(found.node.at, &found.path, message, Some(hint));
                    return None;
                };
                self.used.borrow_mut().insert(name.clone());
                shape.resolve(self, findings)
            }
            Value::Object(_) => {
                let name = found.node.get("name").and_then(Node::as_text).unwrap_or(found.opt.name);
                Shape::read(name, found.node, found.path.clone(), findings).resolve(self, findings)
            }
            _ => {
                let message = format!("expected the name of a data config, found {}", found.node.describe());
                findings.error(found.node.at, &found.path, message, None);
                None
            }
        }
    }

    pub(super) fn warn_unused(&self, findings: &mut Findings) {
        let used = self.used.borrow();
        for entry in self.entries.iter().filter(|entry| !used.contains(&entry.name)) {
            findings.warn(entry.at, &entry.path, format!("no pass uses the data config `{}`", entry.name));
        }
    }
}

impl<'n> Shape<'n> {
    fn read(name: &str, node: &'n Node, path: String, findings: &mut Findings) -> Shape<'n> {
        let top = Fields::open(node, &path, &DATA_CONFIG, findings);
        let mut shape = Shape {
            name: name.to_owned(),
            at: node.at,
            load: Fields::empty(&join(&path, "load_dataset_config"), node.at, &LOAD_DATASET),
            pre: Fields::empty(&join(&path, "pre_process_data_config"), node.at, &PRE_PROCESS),
            path,
            top,
        };
        let mut unread = |name: &str, block| {
            if let Some(found) = shape.top.found(name) {
                Fields::open(found.node, &found.path, block, findings).resolve(Era::New, findings);
            }
        };
        unread("post_process_data_config", &POST_PROCESS);
        unread("dataloader_config", &DATALOADER);
        for (component, option) in
            [("load_dataset", "load_dataset_config"), ("pre_process_data", "pre_process_data_config")]
        {
            let Some((path, node)) = shape.top.found(option).map(|found| (found.path.clone(), found.node))
            else {
                continue;
            };
            shape.component(component, node, &path, findings);
        }
        if let Some((path, node)) =
            shape.top.found("params_config").map(|found| (found.path.clone(), found.node))
        {
            for entry in object(node, &path, findings) {
                if entry.key == "component_kwargs" {
                    shape.components(&entry.node, &join(&path, &entry.key), findings);
                } else {
                    shape.load.absorb(std::slice::from_ref(entry), &path, true, findings);
                }
            }
        }
        if let Some((path, node)) =
            shape.top.found("components").map(|found| (found.path.clone(), found.node))
        {
            shape.components(node, &path, findings);
        }
        shape
    }

    /// `component_kwargs` or `components`: options by component.
    fn components(&mut self, node: &'n Node, path: &str, findings: &mut Findings) {
        for entry in object(node, path, findings) {
            self.component(&entry.key, &entry.node, &join(path, &entry.key), findings);
        }
    }

    fn component(&mut self, component: &str, node: &'n Node, path: &str, findings: &mut Findings) {
        const COMPONENTS: [&str; 4] = ["load_dataset", "pre_process_data", "post_process_data", "dataloader"];
        let fields = match component {
            "load_dataset" => &mut self.load,
            "pre_process_data" => &mut self.pre,
            "post_process_data" | "dataloader" => return,
            _ => {
                let hint = nearest(component, COMPONENTS).map_or_else(
                    || format!("the components are {}", list_names(COMPONENTS)),
                    |near| format!("did you mean `{near}`?"),
                );
                findings.error(node.at, path, format!("there is no component `{component}`"), Some(hint));
                return;
            }
        };
        let entries = object(node, path, findings);
        if fields.path.is_empty() || !entries.is_empty() {
            path.clone_into(&mut fields.path);
            fields.at = node.at;
        }
        fields.absorb(entries, path, false, findings);
    }

    /// Checks everything; what is refused only matters for data that a pass uses.
    fn resolve(&self, all: &DataConfigs<'_>, findings: &mut Findings) -> Option<Resolved> {
        // The block is one for the question of its era.
        let era = self.top.era().or(self.pre.era()).or(self.load.era()).unwrap_or(all.model_era);
        let errors = findings.errors.len();
        self.container(findings);
        let load_values = self.load.resolve(era, findings);
        let load = self.load_dataset(&load_values, all, findings);
        let mut pre_values = self.pre.resolve(era, findings);
        let pre = self.text_generation(&mut pre_values, era, findings);
        if findings.errors.len() > errors {
            return None;
        }
        let mut resolved = load_values.resolved("");
        resolved.extend(pre_values.resolved(""));
        Some((DataConfig { name: self.name.clone(), load: load?, pre_process: pre? }, resolved))
    }

    fn container(&self, findings: &mut Findings) {
        let path = join(&self.path, "type");
        match self.top.node("type").map(|node| (node, node.as_text().unwrap_or_default())) {
            Some((_, name)) if name.eq_ignore_ascii_case("HuggingfaceContainer") => {}
            None => {
                let message = "the type is missing: `HuggingfaceContainer` is assumed";
                findings.warn(self.at, &self.path, message);
            }
            Some((node, name)) if name.eq_ignore_ascii_case("DataContainer") => {
                findings.warn(
                    node.at,
                    path,
                    "`DataContainer` loads nothing in Olive: `HuggingfaceContainer` is assumed",
                );
            }
            Some((node, _)) => {
                let message = format!("training needs a `HuggingfaceContainer`, found {}", node.describe());
                findings.error(node.at, path, message, None);
            }
        }
        if let Some(found) = self.top.found("user_script")
            && self.load.found("type").is_none()
        {
            findings.warn(found.at, &found.path, "`user_script` is not used: no Python is run");
        }
    }

    fn load_dataset(
        &self,
        values: &Values,
        all: &DataConfigs<'_>,
        findings: &mut Findings,
    ) -> Option<LoadDataset> {
        let Some(data_name) = values.text("data_name").map(str::to_owned) else {
            if self.load.found("data_name").is_none() {
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
        if let (DataFiles::Remote { kind, description }, Some(found)) =
            (&files, self.load.found("data_files"))
        {
            let message = format!("the rows lie in a place that cannot be read yet: {description} ({kind})");
            let hint =
                format!("run with --set data_configs.{}.load_dataset_config.data_files=FILE", self.name);
            findings.warn_hint(found.at, &found.path, message, hint);
        }
        let packaged = ["json", "csv", "parquet", "text"].contains(&data_name.as_str());
        if packaged && files == DataFiles::Unset && data_dir.is_none() {
            let hint = Some("give `data_files`: a file, a glob, a list, or an object by split".into());
            values.error("data_name", format!("`{data_name}` needs files to read"), hint, findings);
        }
        let filters = &values.get("col_filters").json;
        if !filters.is_null() && !filters.is_object() {
            values.error("col_filters", "expected an object of columns and values", None, findings);
        }
        Some(LoadDataset {
            data_name,
            subset: values.text("subset").map(str::to_owned),
            split: values.text("split").unwrap_or_default().to_owned(),
            data_dir,
            data_files: files,
            col_filters: filters
                .as_object()
                .into_iter()
                .flatten()
                .map(|(k, v)| (k.clone(), v.clone()))
                .collect(),
            field: values.text("field").map(str::to_owned),
        })
    }

    fn text_generation(
        &self,
        values: &mut Values,
        era: Era,
        findings: &mut Findings,
    ) -> Option<TextGeneration> {
        if let Some(found) = self.pre.found("type") {
            let name = found.node.as_text().unwrap_or_default();
            if !PRE_PROCESSING.contains(&name.to_lowercase().as_str()) {
                let message = format!("there is no pre-processing `{name}`");
                let hint = "leave the type out for text generation";
                findings.error(found.node.at, &found.path, message, Some(hint.into()));
            }
        }
        let source = self.source(values, era, findings);
        let strategy: Strategy = values.choice("strategy").unwrap_or(Strategy::Join);
        let max_seq_len = values.usize("max_seq_len");
        let by_line = matches!(strategy, Strategy::LineByLine | Strategy::LineByLineRandom);
        let random = matches!(strategy, Strategy::LineByLineRandom | Strategy::JoinRandom);
        if by_line && values.bool("pad_to_max_len") && !values.bool("use_attention_mask") {
            let hint = "set `pad_to_max_len` to false, or leave `use_attention_mask` on";
            let message = "padded rows need an attention mask, and `use_attention_mask` is false";
            values.error("use_attention_mask", message, Some(hint.into()), findings);
        }
        if values.bool("drop_short_sequences")
            && values.bool("pad_to_max_len")
            && (by_line || values.given("pad_to_max_len"))
        {
            let message = "short rows cannot be both dropped and padded";
            let hint = "set `pad_to_max_len` to false";
            values.error("drop_short_sequences", message, Some(hint.into()), findings);
        }
        if random {
            if values.get("max_samples").json.is_null() {
                let message = "a random strategy needs `max_samples`";
                values.error(
                    "strategy",
                    message,
                    Some("`max_samples`: how many blocks to draw".into()),
                    findings,
                );
            }
            if values.get("random_seed").json.is_null() {
                match era {
                    Era::Old => {
                        values.error("strategy", "a random strategy needs `random_seed`", None, findings)
                    }
                    Era::New => values.warn(
                        "strategy",
                        "without `random_seed` the draws are those of seed 0",
                        findings,
                    ),
                }
            }
        }
        let stride = values.positive("stride");
        match (strategy, stride) {
            (Strategy::JoinSlidingWindow, None) => {
                let hint = "`stride`: by how many tokens the window moves, at most the block length";
                values.error("strategy", "a sliding window needs `stride`", Some(hint.into()), findings);
            }
            (Strategy::JoinSlidingWindow, Some(stride)) if max_seq_len > 0 && stride > max_seq_len => {
                let message = format!("the stride {stride} is longer than a block ({max_seq_len} tokens)");
                values.error("stride", message, None, findings);
            }
            _ => {}
        }
        if strategy != Strategy::JoinSlidingWindow && values.given("stride") {
            values.warn(
                "stride",
                "`stride` is not used: it belongs to the strategy join-sliding-window",
                findings,
            );
        }
        // Defaults without a meaning here would only clutter the plan.
        if by_line {
            values.hide(&["joiner"]);
        } else {
            values.hide(&["pad_to_max_len", "padding_side", "drop_short_sequences"]);
        }
        if !random {
            values.hide(&["random_seed", "random_retries"]);
        }
        if !matches!(source, Some(TextSource::ChatTemplate { .. })) {
            values.hide(&["message_col"]);
        }
        Some(TextGeneration {
            era,
            source: source?,
            strategy,
            max_seq_len,
            joiner: values.text("joiner").filter(|joiner| !joiner.is_empty()).map(str::to_owned),
            stride,
            pad_to_max_len: values.bool("pad_to_max_len"),
            padding_side: values.choice::<PaddingSide>("padding_side"),
            drop_short_sequences: values.bool("drop_short_sequences"),
            add_special_tokens: values.bool("add_special_tokens"),
            use_attention_mask: values.bool("use_attention_mask"),
            max_samples: values.positive("max_samples"),
            processing_batch_size: values.usize("processing_batch_size"),
            random_seed: values.u64("random_seed"),
            random_retries: values.usize("random_retries"),
        })
    }

    fn source(&self, values: &mut Values, era: Era, findings: &mut Findings) -> Option<TextSource> {
        let message_col = values.text("message_col").unwrap_or_default().to_owned();
        match &values.get("chat_template").json {
            serde_json::Value::Null | serde_json::Value::Bool(false) => {}
            serde_json::Value::Bool(true) => {
                return Some(TextSource::ChatTemplate { source: None, message_col });
            }
            serde_json::Value::String(source) => {
                return Some(TextSource::ChatTemplate { source: Some(source.clone()), message_col });
            }
            _ => {
                values.error("chat_template", "expected true or a Jinja template", None, findings);
                return None;
            }
        }
        if let Some(template) = values.text("text_template").map(str::to_owned) {
            if template.trim().is_empty() {
                values.error("text_template", "the template is empty", None, findings);
            }
            // A template makes the default of `text_cols` meaningless.
            if !values.given("text_cols") {
                values.set("text_cols", serde_json::Value::Null);
            }
            return Some(TextSource::Template(template));
        }
        match values.texts("text_cols") {
            Some(columns) if !columns.is_empty() => Some(TextSource::Columns(columns)),
            _ => {
                if era == Era::Old
                    && self.pre.found("text_cols").is_none()
                    && self.pre.found("text_template").is_none()
                {
                    let message = "the text of a row is not described";
                    let hint = "give `text_template`, for example \"{Question} {Answer}\", or `text_cols`";
                    findings.error(self.pre.at, &self.pre.path, message, Some(hint.into()));
                } else if values.given("text_cols") {
                    values.error("text_cols", "there is no column in the list", None, findings);
                }
                None
            }
        }
    }
}

fn object<'n>(node: &'n Node, path: &str, findings: &mut Findings) -> &'n [Entry] {
    node.as_object().unwrap_or_else(|| {
        if !node.is_null() {
            findings.error(node.at, path, format!("expected an object, found {}", node.describe()), None);
        }
        &[]
    })
}

/// Texts are paths or globs; `azureml://` and other URLs, and Olive's resource objects, are places elsewhere.
fn data_files(node: &Node) -> Result<DataFiles, String> {
    let paths = |node: &Node| -> Result<Vec<String>, String> {
        match &node.value {
            Value::Text(text) => Ok(vec![text.clone()]),
            Value::List(items) if !items.is_empty() => {
                let texts: Option<Vec<String>> =
                    items.iter().map(|item| item.as_text().map(str::to_owned)).collect();
                texts.ok_or_else(|| "expected a list of files".to_owned())
            }
            _ => Err(format!("expected a file or a list of files, found {}", node.describe())),
        }
    };
    let files = match &node.value {
        Value::Object(_)
            if node.get("type").is_some_and(|kind| kind.as_text().is_some())
                && node.get("config").is_some() =>
        {
            return resource(node);
        }
        Value::Object(entries) if !entries.is_empty() => {
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
