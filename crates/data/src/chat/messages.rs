//! Lists of messages: with `role` and `content`, or with ShareGPT's `from` and `value`.

use super::conversation::{Role, Turn};
use super::json_text::parsed;
use super::tools::{calls, calls_in_text};
use crate::conversation::{REASONING, SHARE_GPT};
use crate::python_text;
use crate::row_fault::RowFault;
use crate::value::Value;

/// The names under which messages say how much they count.
const WEIGHT: &str = "weight";
const FLAGS: [&str; 3] = ["train", "training", "loss"];

/// The messages of a column, which may be JSON text. `before` is how many messages of the row stand in another column.
///
/// # Errors
/// What is wrong with one of them.
pub(super) fn turns(column: &str, value: &Value, before: usize) -> Result<Vec<Turn>, RowFault> {
    let list = parsed(value).map_err(|reason| RowFault::NotJson { column: column.to_owned(), reason })?;
    let Value::List(messages) = &list else {
        return Err(RowFault::NotMessages { column: column.to_owned(), found: list.kind() });
    };
    if messages.is_empty() {
        return Err(RowFault::NoMessages);
    }
    messages.iter().enumerate().map(|(place, message)| turn(before + place + 1, message)).collect()
}

/// Whether a list of messages has ShareGPT's names; `None` for anything else.
pub(super) fn is_share_gpt(value: &Value) -> Option<bool> {
    let Ok(Value::List(messages)) = parsed(value) else { return None };
    let has = |message: &Value, key: &str| message.get(key).is_some_and(|value| *value != Value::None);
    messages
        .iter()
        .find(|message| matches!(message, Value::Dict(_)))
        .map(|message| has(message, "from") && !has(message, "role"))
}

/// What a name of a role means.
enum Meaning {
    Role(Role),
    /// A call of a tool, in JSON.
    Call,
}

fn meaning(name: &str) -> Option<Meaning> {
    Some(Meaning::Role(match name.to_lowercase().as_str() {
        "system" => Role::System,
        "developer" => Role::Developer,
        "user" | "human" => Role::User,
        "assistant" | "gpt" | "chatgpt" | "bing" | "bard" | "model" => Role::Assistant,
        "tool" | "observation" | "function_response" => Role::Tool,
        "function_call" => return Some(Meaning::Call),
        _ => return None,
    }))
}

/// The keys of a message that are read here; the template gets the others.
fn is_read(key: &str) -> bool {
    let own = ["role", "content", "from", "value", "tool_calls", WEIGHT];
    own.contains(&key) || REASONING.contains(&key) || FLAGS.contains(&key)
}

fn turn(message: usize, value: &Value) -> Result<Turn, RowFault> {
    let Value::Dict(entries) = value else {
        return Err(RowFault::NotAMessage { message, found: value.kind() });
    };
    let get = |key: &str| value.get(key).filter(|value| **value != Value::None);
    let name = match get("role").or_else(|| get("from")) {
        None => return Err(RowFault::NoRole { message }),
        Some(Value::Str(name)) => name.as_str(),
        Some(other) => return Err(RowFault::UnknownRole { message, role: python_text::repr(other) }),
    };
    let meaning = meaning(name).ok_or_else(|| RowFault::UnknownRole { message, role: name.to_owned() })?;
    let said = get("content").or_else(|| get("value"));
    let wrong_calls = |reason| RowFault::ToolCalls { message, reason };
    let mut tool_calls = get("tool_calls").map_or(Ok(Vec::new()), calls).map_err(wrong_calls)?;
    let mut content = said.map(|said| text(message, said)).transpose()?;
    let role = match meaning {
        Meaning::Role(role) => role,
        Meaning::Call => {
            let call = content.take().ok_or(RowFault::NoContent { message })?;
            tool_calls.extend(calls_in_text(&call).map_err(wrong_calls)?);
            Role::Assistant
        }
    };
    let weight = weight(message, role, &get)?;
    let content = match content {
        None if tool_calls.is_empty() => return Err(RowFault::NoContent { message }),
        None => String::new(),
        Some(text) => text,
    };
    let is_empty = content.trim().is_empty() && tool_calls.is_empty();
    if role == Role::Assistant && is_empty && weight != Some(0.0) {
        return Err(RowFault::EmptyAnswer { message });
    }
    let reasoning =
        REASONING.iter().find_map(|key| get(key)).map(|thought| text(message, thought)).transpose()?;
    let other =
        entries.iter().filter(|(key, value)| *value != Value::None && !is_read(key)).cloned().collect();
    let share_gpt = entries.iter().filter(|(key, _)| SHARE_GPT.contains(&key.as_str())).cloned().collect();
    Ok(Turn { role, content, reasoning, tool_calls, other, share_gpt, weight })
}

/// A text, or the texts of parts one after the other.
fn text(message: usize, value: &Value) -> Result<String, RowFault> {
    let wrong = |found: &Value| RowFault::NotText { message, found: found.kind() };
    let part = |part: &Value| match (part, part.get("type"), part.get("text")) {
        (Value::Str(text), ..) => Ok(text.clone()),
        (_, Some(Value::Str(kind)), Some(Value::Str(text))) if kind == "text" => Ok(text.clone()),
        (other, ..) => Err(wrong(other)),
    };
    match value {
        Value::Str(text) => Ok(text.clone()),
        Value::List(parts) => parts.iter().map(part).collect(),
        other => Err(wrong(other)),
    }
}

/// How much a message counts, where it says so.
fn weight<'v>(
    message: usize,
    role: Role,
    get: &impl Fn(&str) -> Option<&'v Value>,
) -> Result<Option<f32>, RowFault> {
    let wrong = |key, value| RowFault::Weight { message, key, found: python_text::repr(value) };
    let number = match get(WEIGHT) {
        None => None,
        Some(Value::Int(number)) if *number >= 0 => Some(*number as f32),
        Some(Value::Float(number)) if *number >= 0.0 && (*number as f32).is_finite() => Some(*number as f32),
        Some(other) => return Err(wrong(WEIGHT, other)),
    };
    let mut flag = None;
    for key in FLAGS {
        match get(key) {
            None => {}
            Some(Value::Bool(counts)) => flag = Some(f32::from(u8::from(*counts))),
            Some(other) => return Err(wrong(key, other)),
        }
    }
    let weight = number.or(flag);
    if role != Role::Assistant && weight.is_some_and(|weight| weight > 0.0) {
        return Err(RowFault::WeightOfOther { message });
    }
    Ok(weight.filter(|_| role == Role::Assistant))
}
