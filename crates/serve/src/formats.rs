//! Fields that ask for a form of the answer, or for tools: what is not done is refused, never dropped.

use super::api_error::{ApiError, quoted};
use super::fields::Fields;
use serde_json::Value;

/// Refuses a form of the answer that is not kept to.
pub(crate) fn check_format(fields: Fields<'_>) -> Result<(), ApiError> {
    const NAME: &str = "response_format";
    let Some(object) = fields.object(NAME)? else { return Ok(()) };
    match Fields::within("response_format.", object).text("type")? {
        Some("text") => Ok(()),
        Some(kind @ ("json_object" | "json_schema")) => {
            let message = format!("`{NAME}` of type `{kind}` is not supported: answers are not constrained");
            Err(ApiError::unsupported(NAME, message))
        }
        Some(other) => Err(fields.invalid(NAME, format!("has the unknown type `{}`", quoted(other)))),
        None => Err(fields.invalid(NAME, "needs a `type`")),
    }
}

/// Refuses tools, unless the model shall not use them.
pub(crate) fn check_tools(fields: Fields<'_>) -> Result<(), ApiError> {
    let unused = match fields.get("tool_choice") {
        None => false,
        Some(Value::String(word)) => match word.as_str() {
            "none" => true,
            "auto" => false,
            "required" => return Err(unsupported("tool_choice")),
            other => {
                return Err(
                    fields.invalid("tool_choice", format!("is `{}`, which is no choice", quoted(other)))
                );
            }
        },
        Some(_) => return Err(unsupported("tool_choice")),
    };
    for name in ["tools", "functions"] {
        if !fields.list(name)?.unwrap_or_default().is_empty() && !unused {
            return Err(unsupported(name));
        }
    }
    Ok(())
}

fn unsupported(name: &str) -> ApiError {
    let message = format!(
        "`{name}` is not supported: calls of tools are not read back; `tool_choice: \"none\"` ignores tools"
    );
    ApiError::unsupported(name, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn param(check: fn(Fields<'_>) -> Result<(), ApiError>, body: Value) -> Option<String> {
        let object = body.as_object().unwrap().clone();
        let error = check(Fields::of(&object)).err()?.to_json();
        Some(error["error"]["param"].as_str().unwrap().to_owned())
    }

    #[test]
    fn only_text_is_a_format() {
        assert_eq!(param(check_format, json!({"response_format": {"type": "text"}})), None);
        for wrong in [json!({"type": "json_object"}), json!({"type": "yaml"}), json!({}), json!("text")] {
            assert_eq!(param(check_format, json!({"response_format": wrong})).unwrap(), "response_format");
        }
    }

    #[test]
    fn tools_are_refused_unless_they_are_not_to_be_used() {
        let tools = json!([{"type": "function", "function": {"name": "f"}}]);
        assert_eq!(param(check_tools, json!({"tools": tools})).unwrap(), "tools");
        assert_eq!(param(check_tools, json!({"tools": tools, "tool_choice": "auto"})).unwrap(), "tools");
        assert_eq!(param(check_tools, json!({"tools": tools, "tool_choice": "none"})), None);
        assert_eq!(param(check_tools, json!({"tools": []})), None);
        for wrong in [json!("required"), json!({"type": "function"}), json!("maybe")] {
            assert_eq!(param(check_tools, json!({"tool_choice": wrong})).unwrap(), "tool_choice");
        }
    }
}
