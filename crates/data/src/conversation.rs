//! Messages as templates get them from transformers.

use crate::value::Value;

/// The names under which datasets have what a model thinks before it answers; the first is the usual one.
pub(crate) const REASONING: [&str; 3] = ["reasoning_content", "thinking", "reasoning"];

/// What ShareGPT's files call a role and a content.
pub(crate) const SHARE_GPT: [&str; 2] = ["from", "value"];

/// A conversation without the keys that are null, which files with one schema for all messages are full of, with
/// reasoning under the names that templates ask for, and with roles and contents where messages have ShareGPT's names.
pub(super) fn prepared(messages: &Value) -> Value {
    match messages {
        Value::List(messages) => Value::List(messages.iter().map(message).collect()),
        other => other.clone(),
    }
}

fn message(message: &Value) -> Value {
    let Value::Dict(entries) = message else { return message.clone() };
    let mut entries: Vec<_> = entries.iter().filter(|(_, value)| *value != Value::None).cloned().collect();
    entries.extend(share_gpt(&entries).into_iter().flatten());
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

/// Role and content of a message that has them under ShareGPT's names alone.
fn share_gpt(entries: &[(String, Value)]) -> Option<[(String, Value); 2]> {
    let text = |name: &str| match entries.iter().find(|(key, _)| key == name) {
        Some((_, Value::Str(text))) => Some(text.as_str()),
        _ => None,
    };
    if entries.iter().any(|(key, _)| key == "role" || key == "content") {
        return None;
    }
    let [from, value] = SHARE_GPT.map(text);
    let role = match from? {
        "human" => "user",
        "gpt" | "chatgpt" | "bing" | "bard" | "model" => "assistant",
        "observation" | "function_response" => "tool",
        other => other,
    };
    Some([("role".into(), Value::Str(role.into())), ("content".into(), Value::Str(value?.into()))])
}
