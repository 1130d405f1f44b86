//! YAML into the tree: scalars as JSON and YAML 1.2 read them, anchors, aliases and `<<` expanded.

use crate::findings::Findings;
use crate::node::{MAX_DEPTH, Node, NodeEntry, NodeValue};
use crate::place::At;
use crate::place::join;
use crate::unique_keys::UniqueEntries;
use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Tag};
use std::collections::{HashMap, HashSet};

/// Aliases can make a small file huge; no real configuration comes near this many values.
const MAX_NODES: usize = 100_000;
const TOO_DEEP: &str = "it is nested too deeply";
/// Text that counts as one more of them.
const BYTES_PER_NODE: usize = 64;

/// Parses a whole file. Syntax errors and duplicate keys go to `findings`; the former give no tree.
pub(crate) fn parse(text: &str, findings: &mut Findings) -> Option<Node> {
    let mut builder = YamlTree::default();
    for event in Parser::new_from_str(text) {
        let outcome = match event {
            Ok((event, span)) => builder.event(event, at(&span.start), findings),
            Err(error) => Err((at(error.marker()), error.info().to_owned())),
        };
        if let Err((at, reason)) = outcome {
            findings.error(at, "", format!("not valid YAML: {reason}"), tab_hint(text, at));
            return None;
        }
    }
    if builder.root.is_none() {
        findings.error(Some((1, 1)), "", "the file is empty", None);
    }
    builder.root
}

fn tab_hint(text: &str, at: At) -> Option<String> {
    let line = text.lines().nth(at?.0.checked_sub(1)?)?;
    let indent = &line[..line.len() - line.trim_start().len()];
    indent.contains('\t').then(|| "YAML indents with spaces, not with tabs".into())
}

fn at(mark: &Marker) -> At {
    Some((mark.line().max(1), mark.col() + 1))
}

/// A list or object that is still open.
struct Frame {
    at: At,
    anchor: usize,
    path: String,
    content: Content,
}

enum Content {
    List(Vec<Node>),
    /// The entries so far and the key that waits for its value.
    Object(UniqueEntries, Option<(String, At)>),
}

#[derive(Default)]
struct YamlTree {
    stack: Vec<Frame>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
    root: Option<Node>,
}

type Failure = (At, String);

impl YamlTree {
    fn event(&mut self, event: Event<'_>, at: At, findings: &mut Findings) -> Result<(), Failure> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let value = scalar(&text, style, tag.as_deref()).map_err(|reason| (at, reason))?;
                self.finished(Node { value, at }, anchor, Some(&text), findings)
            }
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.get(&anchor).cloned() else {
                    return Err((at, "an alias refers to itself".into()));
                };
                let size = size(&node);
                self.nodes += size.nodes;
                if self.stack.len() + size.depth > MAX_DEPTH {
                    return Err((at, TOO_DEEP.into()));
                }
                self.finished(node, 0, None, findings)
            }
            Event::SequenceStart(anchor, _) => self.open(at, anchor, Content::List(Vec::new())),
            Event::MappingStart(anchor, _) => {
                self.open(at, anchor, Content::Object(UniqueEntries::default(), None))
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(frame) = self.stack.pop() else { return Ok(()) };
                let value = match frame.content {
                    Content::List(items) => NodeValue::List(items),
                    Content::Object(entries, _) => {
                        NodeValue::Object(merge(entries.into_entries()).map_err(|why| (frame.at, why))?)
                    }
                };
                self.finished(Node { value, at: frame.at }, frame.anchor, None, findings)
            }
            Event::DocumentStart(_) if self.root.is_some() => {
                Err((at, "a configuration is one document, and a second one begins here".into()))
            }
            _ => Ok(()),
        }
    }

    fn open(&mut self, at: At, anchor: usize, content: Content) -> Result<(), Failure> {
        if self.stack.len() >= MAX_DEPTH {
            return Err((at, TOO_DEEP.into()));
        }
        let path = match self.stack.last() {
            None => String::new(),
            Some(Frame { path, content: Content::List(items), .. }) => format!("{path}[{}]", items.len()),
            Some(Frame { path, content: Content::Object(_, Some((key, _))), .. }) => join(path, key),
            Some(_) => return Err((at, "a key must be plain text".into())),
        };
        self.stack.push(Frame { at, anchor, path, content });
        Ok(())
    }

    /// Puts a complete value into what is open around it. `key` is its text, should it turn out to be a key.
    fn finished(
        &mut self,
        node: Node,
        anchor: usize,
        key: Option<&str>,
        findings: &mut Findings,
    ) -> Result<(), Failure> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err((node.at, "its aliases expand to too many values".into()));
        }
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        match self.stack.last_mut() {
            None => self.root = Some(node),
            Some(Frame { content: Content::List(items), .. }) => items.push(node),
            Some(Frame { content: Content::Object(entries, waiting), path, .. }) => match waiting.take() {
                Some((key, at)) => entries.push(NodeEntry { key, at, node }, path, findings),
                None => match key.or(node.as_text()) {
                    Some(key) => *waiting = Some((key.to_owned(), node.at)),
                    None => return Err((node.at, "a key must be plain text".into())),
                },
            },
        }
        Ok(())
    }
}

/// What an alias repeats.
struct Size {
    nodes: usize,
    depth: usize,
}

fn size(node: &Node) -> Size {
    let of_text = |text: &str| 1 + text.len() / BYTES_PER_NODE;
    let add = |sum: Size, inner: &Node| {
        let inner = size(inner);
        Size { nodes: sum.nodes + inner.nodes, depth: sum.depth.max(inner.depth + 1) }
    };
    match &node.value {
        NodeValue::List(items) => items.iter().fold(Size { nodes: 1, depth: 1 }, add),
        NodeValue::Object(entries) => entries.iter().fold(Size { nodes: 1, depth: 1 }, |sum, entry| {
            let sum = add(sum, &entry.node);
            Size { nodes: sum.nodes + of_text(&entry.key), ..sum }
        }),
        NodeValue::Text(text) => Size { nodes: of_text(text), depth: 0 },
        _ => Size { nodes: 1, depth: 0 },
    }
}

/// Expands `<<: *anchor` and `<<: [*a, *b]`: own keys win, then the first list element that has the key.
fn merge(mut entries: Vec<NodeEntry>) -> Result<Vec<NodeEntry>, String> {
    let Some(position) = entries.iter().position(|entry| entry.key == "<<") else { return Ok(entries) };
    let sources = match entries.remove(position).node {
        Node { value: NodeValue::List(items), .. } => items,
        node => vec![node],
    };
    let mut keys: HashSet<String> = entries.iter().map(|entry| entry.key.clone()).collect();
    for source in sources {
        let NodeValue::Object(more) = source.value else { return Err("`<<` merges objects only".into()) };
        entries.extend(more.into_iter().filter(|entry| keys.insert(entry.key.clone())));
    }
    Ok(entries)
}

/// YAML 1.2's core schema; quoted text stays text.
fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Result<NodeValue, String> {
    let plain = style == ScalarStyle::Plain;
    match tag {
        None if plain => Ok(resolve(text)),
        None => Ok(NodeValue::Text(text.to_owned())),
        Some(tag) if tag.is_yaml_core_schema() => match (tag.suffix.as_str(), resolve(text)) {
            ("str", _) => Ok(NodeValue::Text(text.to_owned())),
            ("null", value @ NodeValue::Null)
            | ("bool", value @ NodeValue::Bool(_))
            | ("int", value @ NodeValue::Int(_))
            | ("float", value @ (NodeValue::Float(_) | NodeValue::Int(_))) => Ok(value),
            (wanted, _) => Err(format!("`{text}` is not of the type !!{wanted}")),
        },
        Some(tag) if tag.handle == "!" && tag.suffix.is_empty() => Ok(NodeValue::Text(text.to_owned())),
        Some(tag) => Err(format!("the tag {tag} has no meaning here")),
    }
}

fn resolve(text: &str) -> NodeValue {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return NodeValue::Null,
        "true" | "True" | "TRUE" => return NodeValue::Bool(true),
        "false" | "False" | "FALSE" => return NodeValue::Bool(false),
        _ => {}
    }
    if let Some(value) = integer(text) {
        return NodeValue::Int(value);
    }
    // Rust also reads "inf" and "nan", which YAML takes for text.
    let numeric = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte))
        && text.bytes().any(|byte| byte.is_ascii_digit());
    match text.parse::<f64>() {
        Ok(value) if numeric && value.is_finite() => NodeValue::Float(value),
        _ => NodeValue::Text(text.to_owned()),
    }
}

fn integer(text: &str) -> Option<i128> {
    match text.get(..2) {
        Some("0x") => i128::from_str_radix(&text[2..], 16).ok(),
        Some("0o") => i128::from_str_radix(&text[2..], 8).ok(),
        _ => text.parse().ok(),
    }
}
