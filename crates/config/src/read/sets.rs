//! Values of options that a search tries: found in the tree before it is read, and replaced by the first of them.

use super::registry::Registry;
use crate::fields::{Fields, GivenOption};
use crate::findings::Findings;
use crate::node::{Node, NodeEntry, NodeValue};
use crate::option::{Block, Fate, Kind, MisfitPlace, Opt};
use crate::place::join;
use crate::search::{Alternative, SearchedOption, SearchedPass};
use crate::tables::ROOT;
use serde_json::Value as Json;

/// The words for Olive's own values.
const OLIVE_VALUES: &str = "SEARCHABLE_VALUES";

/// What varies in a configuration.
#[derive(Debug, Default)]
pub(crate) struct Sets {
    pub(super) passes: Vec<SearchedPass>,
    /// Options for which Olive would try its own values: `` `r` of `lora` ``.
    pub(super) unset: Vec<String>,
}

/// The sets of a configuration with a search, out of whose tree they are taken. `None`: there is no search.
pub(crate) fn take<P: ?Sized>(
    root: &mut Node,
    registry: &Registry<P>,
    findings: &mut Findings,
) -> Option<Sets> {
    // What is wrong around the passes is said when the tree is read.
    let mut unsaid = Findings::default();
    let strategy = Fields::open(root, "", &ROOT, &mut unsaid).node("search_strategy");
    if strategy.is_none_or(is_off) {
        return None;
    }
    let mut sets = Sets::default();
    let Some(entry) = entry_of(root, "passes") else { return Some(sets) };
    let NodeValue::Object(entries) = &mut entry.node.value else { return Some(sets) };
    for entry in entries.iter_mut().filter(|entry| !entry.key.starts_with("x-")) {
        let path = join("passes", &entry.key);
        let alternatives = match &mut entry.node.value {
            NodeValue::List(items) => items
                .iter_mut()
                .enumerate()
                .map(|(index, item)| {
                    alternative(item, &entry.key, &format!("{path}[{index}]"), registry, &mut sets, findings)
                })
                .collect(),
            _ => vec![alternative(&mut entry.node, &entry.key, &path, registry, &mut sets, findings)],
        };
        sets.passes.push(SearchedPass { name: entry.key.clone(), alternatives });
    }
    Some(sets)
}

/// False, null and {} turn the search off.
pub(super) fn is_off(strategy: &Node) -> bool {
    match &strategy.value {
        NodeValue::Null | NodeValue::Bool(false) => true,
        NodeValue::Object(entries) => entries.is_empty(),
        _ => false,
    }
}

fn entry_of<'a>(node: &'a mut Node, key: &str) -> Option<&'a mut NodeEntry> {
    match &mut node.value {
        NodeValue::Object(entries) => entries.iter_mut().find(|entry| entry.key == key),
        _ => None,
    }
}

/// Takes the sets out of one pass.
fn alternative<P: ?Sized>(
    node: &mut Node,
    name: &str,
    path: &str,
    registry: &Registry<P>,
    sets: &mut Sets,
    findings: &mut Findings,
) -> Alternative {
    let r#type = node.get("type").and_then(Node::as_text);
    let Some(definition) = r#type.and_then(|name| registry.find(name)) else { return Alternative::default() };
    let mut unsaid = Findings::default();
    let fields = Fields::open(node, path, definition.block, &mut unsaid);
    if fields.node("disable_search").is_some_and(|node| node.value == NodeValue::Bool(true)) {
        return Alternative::default();
    }
    let unset = definition.block.inner().filter(|opt| opt.search_values.is_some() && fields.lacks(opt.name));
    sets.unset.extend(unset.map(|opt| format!("`{}` of `{name}`", opt.name)));
    let mut finder = SetFinder { pass: path, sets: Vec::new(), findings };
    finder.block(&fields, definition.block.inner(), "");
    let found = finder.sets;
    for set in &found {
        let place =
            set.option.keys.iter().try_fold(&mut *node, |node, key| Some(&mut entry_of(node, key)?.node));
        if let Some(place) = place {
            *place = set.first.clone();
        }
    }
    Alternative { options: found.into_iter().map(|set| set.option).collect() }
}

/// A set and the value that stands for it when the tree is read.
struct FoundSet {
    option: SearchedOption,
    first: Node,
}

struct SetFinder<'a> {
    /// JSON path of the pass.
    pass: &'a str,
    sets: Vec<FoundSet>,
    findings: &'a mut Findings,
}

impl SetFinder<'_> {
    /// Looks through the options of a block, and of those in it.
    fn block(&mut self, fields: &Fields<'_>, options: impl Iterator<Item = &'static Opt>, prefix: &str) {
        for opt in options.filter(|opt| opt.fate == Fate::Honoured) {
            let Some(found) = fields.found(opt.name) else { continue };
            let name = join(prefix, opt.name);
            match (opt.kind, &found.node.value) {
                (Kind::Block(block), NodeValue::Object(_)) => self.inner(block, found, &name),
                (Kind::Block(_) | Kind::Blocks(_), _) => {}
                (_, NodeValue::List(items)) if opt.kind.read(found.node).is_err() => {
                    self.list(found, items, name);
                }
                (_, NodeValue::Text(text)) if text == OLIVE_VALUES => self.olive_values(found, name),
                _ => {}
            }
        }
    }

    fn inner(&mut self, block: &'static Block, found: &GivenOption<'_>, name: &str) {
        let mut unsaid = Findings::default();
        let fields = Fields::open(found.node, &found.path, block, &mut unsaid);
        self.block(&fields, block.options(), name);
    }

    fn list(&mut self, found: &GivenOption<'_>, items: &[Node], name: String) {
        if items.is_empty() {
            self.findings.error(found.node.at, &found.path, "there is no value to try", None);
        }
        let mut values = Vec::with_capacity(items.len());
        let mut first = None;
        for (index, item) in items.iter().enumerate() {
            // Null is the default.
            let read = if item.is_null() { Ok(Json::Null) } else { found.opt.kind.read(item) };
            match read {
                Ok(value) => {
                    values.push(value);
                    first.get_or_insert(item);
                }
                Err(misfit) => {
                    let at = if misfit.place == MisfitPlace::Key { found.at } else { item.at };
                    let path = format!("{}[{index}]", found.path);
                    self.findings.error(at, path, misfit.message, misfit.hint);
                }
            }
        }
        // Where none fits, which was said, the default stands in for them.
        let default = Node { value: NodeValue::Null, at: found.node.at };
        self.push(found, name, values, first.unwrap_or(&default).clone());
    }

    fn olive_values(&mut self, found: &GivenOption<'_>, name: String) {
        let Some(json) = found.opt.search_values else {
            let message = format!("Olive has no values to try for `{name}`");
            let hint = format!("give them: \"{}\": [1, 2]", found.opt.name);
            self.findings.error(found.node.at, &found.path, message, Some(hint));
            return;
        };
        let values: Vec<Json> = serde_json::from_str(json).expect("statements hold JSON");
        let first = values.first().map(Node::from_json).unwrap_or_else(|| found.node.clone());
        self.push(found, name, values, Node { at: found.node.at, ..first });
    }

    fn push(&mut self, found: &GivenOption<'_>, name: String, values: Vec<Json>, first: Node) {
        let inside = found.path.strip_prefix(self.pass).unwrap_or(&found.path);
        let keys = inside.split('.').filter(|key| !key.is_empty()).map(str::to_owned).collect();
        self.sets.push(FoundSet { option: SearchedOption { name, keys, values }, first });
    }
}
