//! Tools and calls of them, as templates want them.

use super::json_text::parsed;
use crate::value::Value;

/// The schemas of a column `tools`: a list of them or its JSON text, of which each may be the function alone.
///
/// # Errors
/// What it is instead.
pub(super) fn tools(value: &Value) -> Result<Vec<Value>, String> {
    match parsed(value)? {
        Value::None => Ok(Vec::new()),
        Value::List(tools) => tools.iter().map(tool).collect(),
        other => Err(format!("they are {}, not a list", other.kind())),
    }
}

fn tool(value: &Value) -> Result<Value, String> {
    let tool = parsed(value)?;
    match (&tool, tool.get("function"), tool.get("name")) {
        (Value::Dict(_), Some(_), _) => Ok(tool),
        (Value::Dict(_), None, Some(_)) => Ok(function(tool)),
        (Value::Dict(_), None, None) => Err("a tool has no name".into()),
        (other, ..) => Err(format!("a tool is {}", other.kind())),
    }
}

/// A function in the shell that OpenAI's clients put around it.
fn function(function: Value) -> Value {
    Value::Dict(vec![("type".into(), Value::Str("function".into())), ("function".into(), function)])
}

/// The calls of a message, with arguments that are values: templates print them as JSON themselves.
///
/// # Errors
/// What is wrong with them.
pub(super) fn calls(value: &Value) -> Result<Vec<Value>, String> {
    match parsed(value)? {
        Value::None => Ok(Vec::new()),
        Value::List(calls) => calls.iter().map(call).collect(),
        other => Err(format!("they are {}, not a list", other.kind())),
    }
}

/// What a message of the role `function_call` says: one call or a list of them, each a function.
///
/// # Errors
/// As [`calls`].
pub(super) fn calls_in_text(text: &str) -> Result<Vec<Value>, String> {
    match parsed(&Value::Str(text.to_owned()))? {
        Value::List(functions) => functions.iter().map(|f| call(&function(f.clone()))).collect(),
        one => Ok(vec![call(&function(one))?]),
    }
}

fn call(value: &Value) -> Result<Value, String> {
    let Value::Dict(mut entries) = parsed(value)? else { return Err(format!("a call is {}", value.kind())) };
    let inner = entries.iter_mut().find(|(key, _)| key == "function");
    match inner {
        Some((_, Value::Dict(function))) => parse_arguments(function)?,
        Some((_, other)) => return Err(format!("a call has {} for its function", other.kind())),
        None => parse_arguments(&mut entries)?,
    }
    Ok(Value::Dict(entries))
}

fn parse_arguments(function: &mut [(String, Value)]) -> Result<(), String> {
    if !function.iter().any(|(key, value)| key == "name" && matches!(value, Value::Str(_))) {
        return Err("a call has no name".into());
    }
    if let Some((_, arguments)) = function.iter_mut().find(|(key, _)| key == "arguments") {
        *arguments = parsed(arguments).map_err(|reason| format!("the arguments are not JSON: {reason}"))?;
    }
    Ok(())
}
