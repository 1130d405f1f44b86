//! Messages as templates get them from transformers.

use crate::value::Value;

/// The names under which datasets have what a model thinks before it answers; the first is the usual one.
const REASONING: [&str; 3] = ["reasoning_content", "thinking", "reasoning"];

/// A conversation without the keys that are null, which files with one schema for all messages are full of, and with
/// reasoning under the names that templates ask for.
pub(super) fn prepared(messages: &Value) -> Value {
    match messages {
        Value::List(messages) => Value::List(messages.iter().map(message).collect()),
        other => other.clone(),
    }
}

fn message(message: &Value) -> Value {
    let Value::Dict(entries) = message else { return message.clone() };
    let mut entries: Vec<_> = entries.iter().filter(|(_, value)| *value != Value::None).cloned().collect();
    let value = |name: &str| entries.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
    let Some(reasoning) = REASONING.iter().find_map(|name| value(name)) else {
        return Value::Dict(entries);
    };
    // `thinking` only if it is not there; the usual name always.
    let (usual, older) = (REASONING[0], REASONING[1]);
    if !entries.iter().any(|(key, _)| key == older) {
        entries.insert(0, (older.into(), reasoning.clone()));
    }
    if !entries.iter().any(|(key, _)| key == usual) {
        entries.push((usual.into(), reasoning));
    }
    Value::Dict(entries)
}
