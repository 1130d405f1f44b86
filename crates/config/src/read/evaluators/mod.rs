//! `evaluators`, by name or in place.

mod data;
mod metric;
mod ranks;
mod sub_metric;
mod tasks;

use super::data::DataConfigs;
use super::resource::Consumer;
use crate::evaluators::{EVALUATOR, Evaluator, EvaluatorType, Measures, Metric};
use crate::fields::{Fields, GivenOption};
use crate::findings::Findings;
use crate::names::{list_names, nearest};
use crate::node::{Node, NodeEntry, NodeValue};
use crate::origin::Era;
use crate::place::join;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The evaluators of a configuration, which are read when something refers to them.
pub(super) struct Evaluators<'n> {
    entries: Vec<(&'n NodeEntry, String)>,
    /// The map cannot be read, so a reference without a target may mean an entry of it.
    broken: bool,
    read: RefCell<BTreeMap<String, Option<Arc<Evaluator>>>>,
}

/// What an evaluator may refer to.
#[derive(Clone, Copy)]
pub(super) struct EvaluatorContext<'a> {
    pub(super) data: &'a DataConfigs<'a>,
    /// Reads the data.
    pub(super) consumer: Consumer<'a>,
}

impl<'n> Evaluators<'n> {
    pub(super) fn read(root: &Fields<'n>, findings: &mut Findings) -> Evaluators<'n> {
        let mut evaluators = Evaluators { entries: Vec::new(), broken: false, read: RefCell::default() };
        let Some(found) = root.found("evaluators") else {
            evaluators.broken = !root.lacks("evaluators");
            return evaluators;
        };
        match &found.node.value {
            NodeValue::Object(entries) => {
                let entries = entries.iter().filter(|entry| !entry.key.starts_with("x-"));
                evaluators.entries = entries.map(|entry| (entry, join(&found.path, &entry.key))).collect();
            }
            _ => {
                evaluators.broken = true;
                let message = format!("expected evaluators by name, found {}", found.node.describe());
                findings.error(found.node.at, &found.path, message, None);
            }
        }
        evaluators
    }

    /// The evaluator that an option refers to: a name, or an object in place.
    pub(super) fn reference(
        &self,
        found: Option<&GivenOption<'_>>,
        context: EvaluatorContext<'_>,
        findings: &mut Findings,
    ) -> Option<Arc<Evaluator>> {
        let found = found?;
        let NodeValue::Text(name) = &found.node.value else {
            return evaluator(found.opt.name, found.node, &found.path, context, findings).map(Arc::new);
        };
        let Some((entry, path)) = self.entries.iter().find(|(entry, _)| entry.key == *name) else {
            if !self.broken {
                let names = || self.entries.iter().map(|(entry, _)| entry.key.as_str());
                let hint = nearest(name, names()).map_or_else(
                    || format!("`evaluators` has {}", list_names(names())),
                    |near| format!("did you mean `{near}`?"),
                );
                let message = format!("there is no evaluator `{name}`");
                findings.error(found.node.at, &found.path, message, Some(hint));
            }
            return None;
        };
        if let Some(read) = self.read.borrow().get(name) {
            return read.clone();
        }
        let read = evaluator(name, &entry.node, path, context, findings).map(Arc::new);
        self.read.borrow_mut().insert(name.clone(), read.clone());
        read
    }

    /// What nothing refers to need not be possible here, but must have the right form.
    pub(super) fn check_unused(
        self,
        context: EvaluatorContext<'_>,
        all_implemented: bool,
        findings: &mut Findings,
    ) {
        let used = self.read.into_inner();
        for (entry, path) in self.entries.into_iter().filter(|(entry, _)| !used.contains_key(&entry.key)) {
            if all_implemented {
                findings.warn(entry.at, &path, format!("nothing uses the evaluator `{}`", entry.key));
            }
            let mut other = Findings::new(findings.blocks.clone());
            evaluator(&entry.key, &entry.node, &path, context, &mut other);
            findings.errors.append(&mut other.errors);
        }
    }
}

/// Reads one evaluator. `None`: it is wrong, and that was said.
fn evaluator(
    key: &str,
    node: &Node,
    path: &str,
    context: EvaluatorContext<'_>,
    findings: &mut Findings,
) -> Option<Evaluator> {
    if node.as_object().is_none() {
        let message = format!("expected an evaluator, found {}", node.describe());
        findings.error(node.at, path, message, None);
        return None;
    }
    let (measures, answers) = match evaluator_type(node, path, findings)? {
        EvaluatorType::Metrics => {
            let (metrics, answers) = metrics(node, path, context, findings)?;
            (Measures::Metrics(metrics), answers)
        }
        EvaluatorType::LmTasks => (Measures::LmTasks(tasks::lm(node, path, context, findings)?), 0),
        EvaluatorType::Mteb => (Measures::Mteb(tasks::mteb(node, path, findings)?), 0),
    };
    let name = node.get("name").and_then(Node::as_text).unwrap_or(key).to_owned();
    Some(Evaluator { name, measures, answers })
}

/// The type, which may be left out.
fn evaluator_type(node: &Node, path: &str, findings: &mut Findings) -> Option<EvaluatorType> {
    let Some(r#type) = node.get("type").filter(|r#type| !r#type.is_null()) else {
        return Some(EvaluatorType::Metrics);
    };
    let names = || EvaluatorType::NAMES.into_iter().map(|(name, _)| name);
    let hint = || Some(format!("the types are {}; null takes the one for the model", list_names(names())));
    let path = join(path, "type");
    let Some(text) = r#type.as_text() else {
        let message = format!("expected the type of an evaluator, found {}", r#type.describe());
        findings.error(r#type.at, path, message, hint());
        return None;
    };
    if let Some(found) = EvaluatorType::find(text) {
        return Some(found);
    }
    if let Some(foreign) = EvaluatorType::FOREIGN.iter().find(|known| known.eq_ignore_ascii_case(text)) {
        let message = format!("{foreign} is not supported: no models of that kind are made here");
        findings.refuse(r#type.at, path, message, hint());
    } else if node.get("user_script").is_some_and(|script| !script.is_null()) {
        let message = format!("`{text}` is not supported: it is a Python class, and no Python is run");
        findings.refuse(r#type.at, path, message, hint());
    } else {
        let hint = nearest(text, names()).map(|near| format!("did you mean `{near}`?")).or_else(hint);
        findings.error(r#type.at, path, format!("there is no evaluator type `{text}`"), hint);
    }
    None
}

/// The metrics, and how many prompts are answered.
fn metrics(
    node: &Node,
    path: &str,
    context: EvaluatorContext<'_>,
    findings: &mut Findings,
) -> Option<(Vec<Metric>, usize)> {
    let fields = Fields::open(node, path, &EVALUATOR, findings);
    let answers = fields.resolve(Era::New, findings).usize("answers");
    let Some(found) = fields.found("metrics") else {
        if fields.lacks("metrics") {
            let hint = "\"metrics\": [{\"name\": \"size\", \"type\": \"size_on_disk\", \"sub_types\": [{\"name\": \"bytes\"}]}]";
            let message = "the evaluator has no `metrics`";
            findings.error(fields.at, &fields.path, message, Some(format!("for example {hint}")));
        }
        return None;
    };
    let NodeValue::List(items) = &found.node.value else { return None };
    let items = items.iter().enumerate();
    let read: Vec<_> = items
        .map(|(index, item)| metric::read(item, &format!("{}[{index}]", found.path), context, findings))
        .collect();
    Some((ranks::check(read, found, findings)?, answers))
}
