//! The value of a column, with Python's types: templates print values as Python would.

use serde::ser::{Serialize, SerializeMap, Serializer};

/// A value; `None` is Python's.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Str(String),
    List(Vec<Value>),
    /// In the order of the file; keys are unique.
    Dict(Vec<(String, Value)>),
}

impl Value {
    /// For messages: "a number", "text", …
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Value::None => "no value",
            Value::Bool(_) => "a truth value",
            Value::Int(_) | Value::Float(_) => "a number",
            Value::Str(_) => "text",
            Value::List(_) => "a list",
            Value::Dict(_) => "an object",
        }
    }

    /// The value of a key; `None` also where this is no object.
    pub fn get(&self, key: &str) -> Option<&Value> {
        let Value::Dict(entries) = self else { return None };
        entries.iter().find(|(k, _)| k == key).map(|(_, v)| v)
    }

    /// About as many bytes as it takes beside itself.
    pub(crate) fn heap(&self) -> usize {
        match self {
            Value::Str(text) => text.len(),
            Value::List(items) => items.iter().map(|item| size_of::<Value>() + item.heap()).sum(),
            Value::Dict(entries) => {
                let entry = |(key, value): &(String, Value)| key.len() + value.heap();
                entries.iter().map(|e| size_of::<(String, Value)>() + entry(e)).sum()
            }
            Value::None | Value::Bool(_) | Value::Int(_) | Value::Float(_) => 0,
        }
    }

    /// Bytes of all texts in it, those of keys included.
    pub(crate) fn text_length(&self) -> usize {
        match self {
            Value::Str(text) => text.len(),
            Value::List(items) => items.iter().map(Value::text_length).sum(),
            Value::Dict(entries) => entries.iter().map(|(key, value)| key.len() + value.text_length()).sum(),
            Value::None | Value::Bool(_) | Value::Int(_) | Value::Float(_) => 0,
        }
    }

    /// Python's `==`: numbers and truth values compare by value.
    pub(crate) fn equals(&self, other: &Value) -> bool {
        match (self.number(), other.number()) {
            (Some(a), Some(b)) => a == b,
            (None, None) => match (self, other) {
                (Value::List(a), Value::List(b)) => {
                    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.equals(b))
                }
                (Value::Dict(a), Value::Dict(b)) => {
                    a.len() == b.len() && a.iter().all(|(k, v)| other.get(k).is_some_and(|w| v.equals(w)))
                }
                _ => self == other,
            },
            _ => false,
        }
    }

    fn number(&self) -> Option<f64> {
        match *self {
            Value::Bool(b) => Some(f64::from(u8::from(b))),
            Value::Int(i) => Some(i as f64),
            Value::Float(f) => Some(f),
            _ => None,
        }
    }
}

impl From<&serde_json::Value> for Value {
    fn from(value: &serde_json::Value) -> Value {
        match value {
            serde_json::Value::Null => Value::None,
            serde_json::Value::Bool(b) => Value::Bool(*b),
            serde_json::Value::Number(n) => match n.as_i64() {
                Some(i) => Value::Int(i),
                None => Value::Float(n.as_f64().unwrap_or(f64::NAN)),
            },
            serde_json::Value::String(s) => Value::Str(s.clone()),
            serde_json::Value::Array(a) => Value::List(a.iter().map(Value::from).collect()),
            serde_json::Value::Object(o) => {
                Value::Dict(o.iter().map(|(k, v)| (k.clone(), Value::from(v))).collect())
            }
        }
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Value::None => serializer.serialize_none(),
            Value::Bool(b) => serializer.serialize_bool(*b),
            Value::Int(i) => serializer.serialize_i64(*i),
            Value::Float(f) => serializer.serialize_f64(*f),
            Value::Str(s) => serializer.serialize_str(s),
            Value::List(items) => serializer.collect_seq(items),
            Value::Dict(entries) => {
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                for (key, value) in entries {
                    map.serialize_entry(key, value)?;
                }
                map.end()
            }
        }
    }
}
