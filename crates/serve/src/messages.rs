//! `messages` of a chat request, as chat templates get them.

use super::api_error::{ApiError, quoted};
use super::fields::Fields;
use olive_data::Value;
use serde_json::Value as Json;

/// What a role may be, and what templates call it.
const ROLES: [(&str, &str); 5] = [
    ("system", "system"),
    ("developer", "system"),
    ("user", "user"),
    ("assistant", "assistant"),
    ("tool", "tool"),
];

/// Reads the conversation; there must be one.
pub(crate) fn read(fields: Fields<'_>) -> Result<Value, ApiError> {
    let list = fields.list("messages")?.unwrap_or_default();
    if list.is_empty() {
        return Err(fields.invalid("messages", "must have at least one message"));
    }
    let messages = list.iter().enumerate().map(|(index, message)| {
        let prefix = format!("messages[{index}].");
        match message.as_object() {
            Some(object) => one(Fields::within(&prefix, object)),
            None => Err(fields.invalid(&format!("messages[{index}]"), "must be an object")),
        }
    });
    Ok(Value::List(messages.collect::<Result<_, _>>()?))
}

fn one(message: Fields<'_>) -> Result<Value, ApiError> {
    let role = message.text("role")?.ok_or_else(|| message.invalid("role", "is missing"))?;
    let known = ROLES.iter().find(|(name, _)| *name == role);
    let Some((_, role)) = known else {
        return Err(message.invalid("role", format!("is `{}`, which is no role", quoted(role))));
    };
    let calls = message.list("tool_calls")?.filter(|calls| !calls.is_empty());
    let mut entries = vec![("role".to_owned(), Value::Str((*role).to_owned()))];
    match content(message)? {
        Some(text) => entries.push(("content".into(), Value::Str(text))),
        None if *role == "assistant" && calls.is_some() => {
            entries.push(("content".into(), Value::Str(String::new())))
        }
        None => return Err(message.invalid("content", "is missing")),
    }
    for name in ["name", "tool_call_id"] {
        entries.extend(message.text(name)?.map(|text| (name.to_owned(), Value::Str(text.to_owned()))));
    }
    if let Some(calls) = calls {
        entries.push(("tool_calls".into(), Value::List(calls.iter().map(tool_call).collect())));
    }
    Ok(Value::Dict(entries))
}

/// The text of a message: a string, or parts that are joined as they stand.
fn content(message: Fields<'_>) -> Result<Option<String>, ApiError> {
    let parts = match message.get("content") {
        None => return Ok(None),
        Some(Json::String(text)) => return Ok(Some(text.clone())),
        Some(Json::Array(parts)) => parts,
        Some(_) => return Err(message.invalid("content", "must be a string or a list of parts")),
    };
    let mut text = String::new();
    for (index, part) in parts.iter().enumerate() {
        let name = format!("content[{index}]");
        let prefix = message.path(&format!("{name}."));
        let object = part.as_object().ok_or_else(|| message.invalid(&name, "must be an object"))?;
        let part = Fields::within(&prefix, object);
        match part.text("type")? {
            Some("text") => {
                text.push_str(part.text("text")?.ok_or_else(|| part.invalid("text", "is missing"))?);
            }
            Some(kind) => {
                let path = message.path(&name);
                let message = format!("`{path}` is of type `{}`, and the model reads text", quoted(kind));
                return Err(ApiError::unsupported(&path, message));
            }
            None => return Err(part.invalid("type", "is missing")),
        }
    }
    Ok(Some(text))
}

/// A call of a tool. Clients give its arguments as JSON in a string, and templates write them as JSON themselves.
fn tool_call(call: &Json) -> Value {
    let mut call = call.clone();
    if let Some(arguments) = call.pointer_mut("/function/arguments")
        && let Some(read) = arguments.as_str().and_then(|text| serde_json::from_str(text).ok())
    {
        *arguments = read;
    }
    Value::from(&call)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn messages(list: Json) -> Result<Json, ApiError> {
        let object = json!({ "messages": list }).as_object().unwrap().clone();
        read(Fields::of(&object)).map(|value| serde_json::to_value(&value).unwrap())
    }

    #[test]
    fn roles_and_parts_become_what_templates_know() {
        let read = messages(json!([
            {"role": "developer", "content": "a"},
            {"role": "user", "content": [{"type": "text", "text": "b"}, {"type": "text", "text": "c"}]},
            {"role": "assistant", "content": null, "tool_calls": [{"function": {"name": "f", "arguments": "{\"x\": 1}"}}]},
            {"role": "tool", "content": "d", "tool_call_id": "1", "unknown": 5},
        ]));
        let wanted = json!([
            {"role": "system", "content": "a"},
            {"role": "user", "content": "bc"},
            {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f", "arguments": {"x": 1}}}]},
            {"role": "tool", "content": "d", "tool_call_id": "1"},
        ]);
        assert_eq!(read.unwrap(), wanted);
    }

    #[test]
    fn what_is_no_message_is_refused_where_it_stands() {
        for (list, param) in [
            (json!([]), "messages"),
            (json!("hi"), "messages"),
            (json!([1]), "messages[0]"),
            (json!([{"content": "hi"}]), "messages[0].role"),
            (json!([{"role": "wizard", "content": "hi"}]), "messages[0].role"),
            (json!([{"role": "user"}]), "messages[0].content"),
            (json!([{"role": "assistant", "content": null}]), "messages[0].content"),
            (json!([{"role": "user", "content": 5}]), "messages[0].content"),
            (json!([{"role": "user", "content": ["x"]}]), "messages[0].content[0]"),
            (json!([{"role": "user", "content": [{"type": "image_url"}]}]), "messages[0].content[0]"),
            (json!([{"role": "user", "content": [{"type": "text"}]}]), "messages[0].content[0].text"),
        ] {
            let error = messages(list.clone()).unwrap_err().to_json();
            assert_eq!(error["error"]["param"], param, "{list}");
        }
    }
}
