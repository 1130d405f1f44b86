//! `data_configs`, in all of their historic shapes.

use super::resource::Consumer;
use crate::data::{DataConfig, DataPlaces};
use crate::evaluators::MetricData;
use crate::fields::{Fields, GivenOption};
use crate::findings::Findings;
use crate::names::{list_names, nearest};
use crate::node::{Node, NodeEntry, NodeValue};
use crate::origin::{Era, ResolvedOption};
use crate::place::At;
use crate::place::join;
use crate::tables::{DATA_CONFIG, DATALOADER, LOAD_DATASET, POST_PROCESS, PRE_PROCESS};
use std::cell::RefCell;
use std::collections::BTreeSet;

pub(super) struct DataConfigs<'n> {
    entries: Vec<Components<'n>>,
    pub(super) data_root: Option<String>,
    pub(super) places: &'n DataPlaces,
    model_era: Era,
    /// Some entry has no usable name, so a reference without a target may mean that one.
    broken: bool,
    used: RefCell<BTreeSet<String>>,
}

/// The components of one data config, gathered from wherever the grammar of its time puts them.
pub(super) struct Components<'n> {
    pub(super) name: String,
    at: At,
    path: String,
    pub(super) top: Fields<'n>,
    pub(super) load: Fields<'n>,
    pub(super) pre: Fields<'n>,
    pub(super) post: Fields<'n>,
    pub(super) loader: Fields<'n>,
}

/// A data config with what the plan shows of it.
pub type Resolved = (DataConfig, Vec<ResolvedOption>);

/// What becomes of the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RowUse {
    /// Texts, and then tokens.
    Text,
    /// Whoever reads them knows their columns, so that nothing need be said of their text.
    Columns,
}

/// What a metric is measured on, and in batches of how many rows.
pub(super) type Evaluated = (MetricData, usize);

impl<'n> DataConfigs<'n> {
    pub(super) fn read(
        root: &Fields<'n>,
        data_root: Option<String>,
        places: &'n DataPlaces,
        model_era: Era,
        findings: &mut Findings,
    ) -> DataConfigs<'n> {
        let mut data = DataConfigs {
            entries: Vec::new(),
            data_root,
            places,
            model_era,
            broken: false,
            used: RefCell::default(),
        };
        let Some(found) = root.found("data_configs") else {
            data.broken = !root.lacks("data_configs");
            return data;
        };
        match &found.node.value {
            NodeValue::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    let path = format!("{}[{index}]", found.path);
                    let Some(name) = item.get("name").and_then(Node::as_text) else {
                        let message = match item.get("name") {
                            Some(name) => format!("expected a name, found {}", name.describe()),
                            None if item.as_object().is_some() => "the data config needs `name`".into(),
                            None => format!("expected a data config, found {}", item.describe()),
                        };
                        findings.error(item.at, path, message, None);
                        data.broken = true;
                        continue;
                    };
                    data.push(name, item, path, findings);
                }
            }
            // Up to Olive 0.5 the data configs were an object by name.
            NodeValue::Object(entries) => {
                for entry in entries.iter().filter(|entry| !entry.key.starts_with("x-")) {
                    data.push(&entry.key, &entry.node, join(&found.path, &entry.key), findings);
                }
            }
            _ => {
                data.broken = true;
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
        self.entries.push(Components::read(name, node, path, findings));
    }

    /// The data config that an option refers to: a name, or an object in place.
    pub(super) fn reference(
        &self,
        found: &GivenOption<'_>,
        consumer: Consumer<'_>,
        findings: &mut Findings,
    ) -> Option<Resolved> {
        self.with(found, findings, |shape, findings| {
            let mix = shape.mixed(self, consumer, findings);
            let (config, resolved) = shape.resolve(self, RowUse::Text, consumer, findings)?;
            Some((DataConfig { mix: mix?, ..config }, resolved))
        })
    }

    /// The same for a metric.
    pub(super) fn evaluated(
        &self,
        found: &GivenOption<'_>,
        rows: RowUse,
        consumer: Consumer<'_>,
        findings: &mut Findings,
    ) -> Option<Evaluated> {
        self.with(found, findings, |shape, findings| {
            if let Some(mix) = shape.top.found("mix") {
                let hint = "give every part a metric of its own".to_owned();
                findings.error(mix.at, &mix.path, "metrics are not measured on a mix", Some(hint));
            }
            shape.evaluated(self, rows, consumer, findings)
        })
    }

    /// Reads whatever an option refers to.
    fn with<T>(
        &self,
        found: &GivenOption<'_>,
        findings: &mut Findings,
        read: impl FnOnce(&Components<'_>, &mut Findings) -> Option<T>,
    ) -> Option<T> {
        self.read_at(found.node, &found.path, found.opt.name, findings, read)
    }

    /// Reads whatever a value refers to; `unnamed` is the name of a data config in place that gives none.
    pub(super) fn read_at<T>(
        &self,
        node: &Node,
        path: &str,
        unnamed: &str,
        findings: &mut Findings,
        read: impl FnOnce(&Components<'_>, &mut Findings) -> Option<T>,
    ) -> Option<T> {
        match &node.value {
            NodeValue::Text(name) => {
                let names = || self.entries.iter().map(|entry| entry.name.as_str());
                let Some(shape) = self.entries.iter().find(|entry| entry.name == *name) else {
                    if self.broken {
                        return None;
                    }
                    let hint = nearest(name, names()).map_or_else(
                        || format!("`data_configs` has {}", list_names(names())),
                        |near| format!("did you mean `{near}`?"),
                    );
                    let message = format!("there is no data config `{name}`");
                    findings.error(node.at, path, message, Some(hint));
                    return None;
                };
                self.used.borrow_mut().insert(name.clone());
                read(shape, findings)
            }
            NodeValue::Object(_) => {
                let name = node.get("name").and_then(Node::as_text).unwrap_or(unnamed);
                read(&Components::read(name, node, path.to_owned(), findings), findings)
            }
            _ => {
                let message = format!("expected the name of a data config, found {}", node.describe());
                findings.error(node.at, path, message, None);
                None
            }
        }
    }

    /// What no pass uses need not be complete, but what it gives must have the right form.
    pub(super) fn check_unused(mut self, all_implemented: bool, findings: &mut Findings) {
        let used = self.used.into_inner();
        for entry in self.entries.iter_mut().filter(|entry| !used.contains(&entry.name)) {
            // A pass of Olive's that is not implemented may well use it.
            if all_implemented {
                let message = format!("nothing uses the data config `{}`", entry.name);
                findings.warn(entry.at, &entry.path, message);
            }
            let mut other = Findings::new(findings.blocks.clone());
            for fields in [&mut entry.load, &mut entry.pre] {
                fields.blind = true;
                fields.resolve(self.model_era, &mut other);
            }
            findings.errors.append(&mut other.errors);
        }
    }
}

impl<'n> Components<'n> {
    pub(super) fn read(name: &str, node: &'n Node, path: String, findings: &mut Findings) -> Components<'n> {
        let top = Fields::open(node, &path, &DATA_CONFIG, findings);
        let mut shape = Components {
            name: name.to_owned(),
            at: node.at,
            load: Fields::empty(&join(&path, "load_dataset_config"), node.at, &LOAD_DATASET),
            pre: Fields::empty(&join(&path, "pre_process_data_config"), node.at, &PRE_PROCESS),
            post: Fields::empty(&join(&path, "post_process_data_config"), node.at, &POST_PROCESS),
            loader: Fields::empty(&join(&path, "dataloader_config"), node.at, &DATALOADER),
            path,
            top,
        };
        // Component by component there is more to say; this checks what stands around them.
        shape.top.resolve(Era::New, findings);
        shape.load.blind = shape.top.misspells("load_dataset_config");
        shape.pre.blind = shape.top.misspells("pre_process_data_config");
        for (component, option) in [
            ("load_dataset", "load_dataset_config"),
            ("pre_process_data", "pre_process_data_config"),
            ("post_process_data", "post_process_data_config"),
            ("dataloader", "dataloader_config"),
        ] {
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
        // Only evaluators look into these.
        shape.post.resolve(Era::New, findings);
        shape.loader.resolve(Era::New, findings);
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
            "post_process_data" => &mut self.post,
            "dataloader" => &mut self.loader,
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

    /// Checks everything; what is refused only matters for data that something uses.
    pub(super) fn resolve(
        &self,
        all: &DataConfigs<'_>,
        rows: RowUse,
        consumer: Consumer<'_>,
        findings: &mut Findings,
    ) -> Option<Resolved> {
        // The block is one for the question of its era.
        let era = self.top.era().or(self.pre.era()).or(self.load.era()).unwrap_or(all.model_era);
        let errors = findings.errors.len();
        self.container(findings);
        let mut load_values = self.load.resolve(era, findings);
        let load = self.load_dataset(&mut load_values, all, consumer, findings);
        // Where the text is not used, its defaults are of no account.
        let era = if rows == RowUse::Columns { Era::New } else { era };
        let mut pre_values = self.pre.resolve(era, findings);
        let pre = self.text_generation(&mut pre_values, rows, era, findings);
        if findings.errors.len() > errors {
            return None;
        }
        let mut resolved = load_values.resolved("");
        resolved.extend(pre_values.resolved(""));
        let (name, mix) = (self.name.clone(), Vec::new());
        Some((DataConfig { name, load: load?, pre_process: pre?, mix }, resolved))
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
                let message = format!("a `HuggingfaceContainer` reads rows, found {}", node.describe());
                findings.error(node.at, path, message, None);
            }
        }
        if let Some(found) = self.top.found("user_script")
            && self.load.found("type").is_none()
        {
            findings.warn(found.at, &found.path, "`user_script` is not used: no Python is run");
        }
    }
}

fn object<'n>(node: &'n Node, path: &str, findings: &mut Findings) -> &'n [NodeEntry] {
    node.as_object().unwrap_or_else(|| {
        if !node.is_null() {
            findings.error(node.at, path, format!("expected an object, found {}", node.describe()), None);
        }
        &[]
    })
}
