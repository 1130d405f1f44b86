//! `--set path.to.key=value`: edits the tree before it is read.

use crate::error::ConfigError;
use crate::json;
use crate::names::{list_names, nearest};
use crate::node::{MAX_DEPTH, Node, NodeEntry, NodeValue};
use crate::place::join;
use olive_core::secrets::{HIDDEN, is_secret};

/// Levels that one of the two grammars has and the other leaves out.
const WRAPPERS: [&str; 4] = ["config", "params", "engine", "extra_args"];

/// Applies one `path=value`.
///
/// Each part of the path is a key, the number of a list element, or the `name` of one. The levels `config`, `params`
/// and `engine` may be given or left out, however the file nests. Missing keys are created. A value that is not JSON
/// is text.
///
/// # Errors
/// The argument has no `=`, or the path leads through something that has no keys.
pub(crate) fn apply(root: &mut Node, argument: &str) -> Result<(), ConfigError> {
    let fail = |reason: String| ConfigError::Override { argument: shown(argument), reason };
    let (path, value) = argument.split_once('=').ok_or_else(|| fail("there is no `=`".into()))?;
    let parts = split(path.trim()).map_err(fail)?;
    let node = json::parse_value(value)
        .unwrap_or_else(|| Node { value: NodeValue::Text(value.to_owned()), at: None });
    if parts.last().is_some_and(|key| is_secret(key)) {
        node.keep_secret();
    }
    node.keep_secrets();
    set(root, "", &parts, node).map_err(fail)
}

/// The argument as messages repeat it: of bearable length, and without a secret.
fn shown(argument: &str) -> String {
    const LONGEST: usize = 200;
    let path = argument.split_once('=').map(|(path, _)| path);
    let argument = match path.filter(|path| path.rsplit('.').next().is_some_and(is_secret)) {
        Some(path) => format!("{path}={HIDDEN}"),
        None => argument.to_owned(),
    };
    match argument.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &argument[..end]),
        None => argument,
    }
}

/// `a.b[0]."c.d"` into its parts.
fn split(path: &str) -> Result<Vec<String>, String> {
    let mut parts = vec![String::new()];
    let mut quoted = false;
    for letter in path.chars() {
        match letter {
            '"' => quoted = !quoted,
            '.' | '[' if !quoted => parts.push(String::new()),
            ']' if !quoted => {}
            _ => parts.last_mut().expect("never empty").push(letter),
        }
    }
    if parts.iter().any(String::is_empty) {
        return Err("the path before `=` has an empty part".into());
    }
    if parts.len() > MAX_DEPTH {
        return Err(format!("the path before `=` has {} parts; at most {MAX_DEPTH} are read", parts.len()));
    }
    Ok(parts)
}

fn set(node: &mut Node, path: &str, parts: &[String], value: Node) -> Result<(), String> {
    let Some((part, rest)) = parts.split_first() else {
        *node = value;
        return Ok(());
    };
    if node.is_null() {
        node.value = NodeValue::Object(Vec::new());
    }
    match &mut node.value {
        NodeValue::List(items) => {
            let index = element(items, part)
                .map_err(|have| format!("`{path}` has no element `{part}`; it has {have}"))?;
            set(&mut items[index], &format!("{path}[{index}]"), rest, value)
        }
        NodeValue::Object(entries) => {
            let position =
                |entries: &[NodeEntry], key: &str| entries.iter().position(|entry| entry.key == key);
            if let Some(index) = position(entries, part) {
                return set_entry(&mut entries[index], path, rest, value);
            }
            if WRAPPERS.contains(&part.as_str()) && !rest.is_empty() {
                return set(node, path, rest, value);
            }
            for wrapper in WRAPPERS {
                let Some(index) = position(entries, wrapper) else { continue };
                let NodeValue::Object(inner) = &mut entries[index].node.value else { continue };
                if let Some(inner_index) = position(inner, part) {
                    return set_entry(&mut inner[inner_index], &join(path, wrapper), rest, value);
                }
            }
            // These objects hold names of the user's own, so that a slip would found a new pass or system.
            let named = ["passes", "systems", "data_configs", "evaluators"].contains(&path);
            if named && !rest.is_empty() && rest != ["type"] {
                let names = entries.iter().map(|entry| entry.key.as_str());
                if let Some(near) = nearest(part, names) {
                    return Err(format!("`{path}` has no `{part}`; did you mean `{near}`?"));
                }
            }
            let mut created = Node { value: NodeValue::Null, at: None };
            set(&mut created, &join(path, part), rest, value)?;
            entries.push(NodeEntry { key: part.clone(), at: None, node: created });
            Ok(())
        }
        _ => Err(format!("`{path}` is {}, which has no keys", node.describe())),
    }
}

fn set_entry(entry: &mut NodeEntry, path: &str, rest: &[String], value: Node) -> Result<(), String> {
    if rest.is_empty() {
        entry.at = None;
    }
    set(&mut entry.node, &join(path, &entry.key), rest, value)
}

/// The element of that number or `name`, else what there is.
fn element(items: &[Node], part: &str) -> Result<usize, String> {
    let name = |item: &Node| item.get("name").and_then(Node::as_text).map(str::to_owned);
    if let Some(index) = items.iter().position(|item| name(item).as_deref() == Some(part)) {
        return Ok(index);
    }
    match part.parse::<usize>() {
        Ok(index) if index < items.len() => Ok(index),
        _ if items.is_empty() => Err("no elements".into()),
        _ => {
            let names: Vec<String> =
                items.iter().enumerate().map(|(at, item)| name(item).unwrap_or(at.to_string())).collect();
            Err(list_names(names.iter().map(String::as_str)))
        }
    }
}
