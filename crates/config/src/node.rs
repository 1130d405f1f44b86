//! The tree of a configuration file, with the place of every value: what JSON and YAML have in common.

use crate::place::At;
use olive_core::secrets;
use serde_json::Value as Json;

/// Levels of a configuration: more of them than anybody writes, few enough for functions that call themselves.
pub(crate) const MAX_DEPTH: usize = 128;

#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    pub value: NodeValue,
    pub at: At,
}

#[derive(Debug, Clone, PartialEq)]
pub enum NodeValue {
    Null,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Object(Vec<NodeEntry>),
}

/// One `key: value` of an object.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeEntry {
    pub key: String,
    /// Place of the key.
    pub at: At,
    pub node: Node,
}

impl Node {
    pub fn is_null(&self) -> bool {
        self.value == NodeValue::Null
    }

    pub fn as_text(&self) -> Option<&str> {
        match &self.value {
            NodeValue::Text(text) => Some(text),
            _ => None,
        }
    }

    pub fn as_object(&self) -> Option<&[NodeEntry]> {
        match &self.value {
            NodeValue::Object(entries) => Some(entries),
            _ => None,
        }
    }

    /// The value under a key of an object.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.as_object()?.iter().find(|entry| entry.key == key).map(|entry| &entry.node)
    }

    /// A value that stands in no file.
    pub fn from_json(json: &Json) -> Node {
        let value = match json {
            Json::Null => NodeValue::Null,
            Json::Bool(value) => NodeValue::Bool(*value),
            Json::Number(number) => match (number.as_i64(), number.as_u64()) {
                (Some(value), _) => NodeValue::Int(value.into()),
                (None, Some(value)) => NodeValue::Int(value.into()),
                (None, None) => NodeValue::Float(number.as_f64().unwrap_or_default()),
            },
            Json::String(text) => NodeValue::Text(text.clone()),
            Json::Array(items) => NodeValue::List(items.iter().map(Node::from_json).collect()),
            Json::Object(map) => NodeValue::Object(
                map.iter()
                    .map(|(key, value)| NodeEntry {
                        key: key.clone(),
                        at: None,
                        node: Node::from_json(value),
                    })
                    .collect(),
            ),
        };
        Node { value, at: None }
    }

    pub fn to_json(&self) -> Json {
        match &self.value {
            NodeValue::Null => Json::Null,
            NodeValue::Bool(value) => Json::Bool(*value),
            NodeValue::Int(value) => int_to_json(*value),
            NodeValue::Float(value) => serde_json::Number::from_f64(*value).map_or(Json::Null, Json::Number),
            NodeValue::Text(text) => Json::String(text.clone()),
            NodeValue::List(items) => Json::Array(items.iter().map(Node::to_json).collect()),
            NodeValue::Object(entries) => {
                Json::Object(entries.iter().map(|entry| (entry.key.clone(), entry.node.to_json())).collect())
            }
        }
    }

    /// Hides the values below keys that name secrets, in all that is printed from now on.
    pub(crate) fn keep_secrets(&self) {
        match &self.value {
            NodeValue::List(items) => items.iter().for_each(Node::keep_secrets),
            NodeValue::Object(entries) => {
                for NodeEntry { key, node, .. } in entries {
                    if secrets::is_secret(key) {
                        node.keep_secret();
                    }
                    node.keep_secrets();
                }
            }
            _ => {}
        }
    }

    /// Hides this value, if it is one that can be a secret.
    pub(crate) fn keep_secret(&self) {
        match &self.value {
            NodeValue::Text(text) => secrets::keep(text),
            NodeValue::Int(number) => secrets::keep(&number.to_string()),
            NodeValue::List(items) => items.iter().for_each(Node::keep_secret),
            _ => {}
        }
    }

    /// A text that may be printed in the place of a secret.
    pub(crate) fn hidden() -> Node {
        Node { value: NodeValue::Text(secrets::HIDDEN.into()), at: None }
    }

    /// For "expected …, found …".
    pub fn describe(&self) -> String {
        match &self.value {
            NodeValue::Null => "null".into(),
            NodeValue::Bool(value) => value.to_string(),
            NodeValue::Int(value) => value.to_string(),
            NodeValue::Float(value) => value.to_string(),
            NodeValue::Text(text) if text.chars().count() > 40 => {
                format!("the text \"{}…\"", text.chars().take(37).collect::<String>())
            }
            NodeValue::Text(text) => format!("the text \"{text}\""),
            NodeValue::List(items) if items.is_empty() => "an empty list".into(),
            NodeValue::List(_) => "a list".into(),
            NodeValue::Object(_) => "an object".into(),
        }
    }

    /// The same value, as if it had been given on the command line.
    pub fn without_places(mut self) -> Node {
        self.at = None;
        match &mut self.value {
            NodeValue::List(items) => {
                for item in items {
                    *item = std::mem::replace(item, NULL).without_places();
                }
            }
            NodeValue::Object(entries) => {
                for entry in entries {
                    entry.at = None;
                    entry.node = std::mem::replace(&mut entry.node, NULL).without_places();
                }
            }
            _ => {}
        }
        self
    }
}

const NULL: Node = Node { value: NodeValue::Null, at: None };

/// Integers beyond 64 bits become floats, as in JavaScript.
pub fn int_to_json(value: i128) -> Json {
    i64::try_from(value)
        .map(Json::from)
        .or_else(|_| u64::try_from(value).map(Json::from))
        .unwrap_or_else(|_| Json::from(value as f64))
}
