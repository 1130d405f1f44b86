//! Fields that ask for a form of the answer, or for tools: what is not done is refused, never dropped.

use super::api_error::{ApiError, quoted};
use super::fields::Fields;
use super::grammar::{Lost, Refused};
use serde_json::{Value, json};

const NAME: &str = "response_format";

/// The schema that the answer must keep to, if the request asks for JSON.
pub(crate) fn answer_schema(fields: Fields<'_>) -> Result<Option<Value>, ApiError> {
    let Some(object) = fields.object(NAME)? else { return Ok(None) };
    let format = Fields::within("response_format.", object);
    match format.text("type")? {
        Some("text") => Ok(None),
        // With a schema, as llama.cpp has it.
        Some("json_object") => match format.object("schema")? {
            Some(schema) => Ok(Some(Value::Object(schema.clone()))),
            None => Ok(Some(json!({"type": "object"}))),
        },
        Some("json_schema") => {
            let named = format.object("json_schema")?;
            let named = named.ok_or_else(|| fields.invalid(NAME, "needs a `json_schema`"))?;
            let named = Fields::within("response_format.json_schema.", named);
            named.text("name")?;
            // Answers always keep to the schema.
            named.boolean("strict")?;
            let schema = named.object("schema")?;
            let schema = schema.ok_or_else(|| fields.invalid(NAME, "needs a `json_schema.schema`"))?;
            Ok(Some(Value::Object(schema.clone())))
        }
        Some(other) => Err(fields.invalid(NAME, format!("has the unknown type `{}`", quoted(other)))),
        None => Err(fields.invalid(NAME, "needs a `type`")),
    }
}

/// A schema that cannot be kept to.
pub(crate) fn refused(why: Refused) -> ApiError {
    match why {
        Refused::Schema(reason) => ApiError::invalid(NAME, format!("`{NAME}`: the schema {reason}")),
        Refused::Busy => ApiError::queue_full(),
    }
}

/// A schema that has turned out too large while an answer was made.
pub(crate) fn lost(why: &Lost) -> ApiError {
    ApiError::invalid(NAME, format!("`{NAME}`: {why}; a simpler schema can be kept to"))
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

    fn param<T>(check: fn(Fields<'_>) -> Result<T, ApiError>, body: Value) -> Option<String> {
        let object = body.as_object().unwrap().clone();
        let error = check(Fields::of(&object)).err()?.to_json();
        Some(error["error"]["param"].as_str().unwrap().to_owned())
    }

    #[test]
    fn json_has_a_schema_and_text_has_none() {
        let schema = |format: Value| {
            let body = json!({ "response_format": format }).as_object().unwrap().clone();
            answer_schema(Fields::of(&body)).unwrap()
        };
        let own = json!({"type": "array"});
        assert_eq!(schema(json!({"type": "text"})), None);
        assert_eq!(schema(json!({"type": "json_object"})), Some(json!({"type": "object"})));
        assert_eq!(schema(json!({"type": "json_object", "schema": own})), Some(own.clone()));
        let named =
            json!({"type": "json_schema", "json_schema": {"name": "r", "strict": true, "schema": own}});
        assert_eq!(schema(named), Some(own));
    }

    #[test]
    fn a_format_that_is_none_is_refused_by_its_name() {
        for wrong in [json!({"type": "yaml"}), json!({}), json!("text"), json!({"type": "json_schema"})] {
            assert_eq!(param(answer_schema, json!({"response_format": wrong})).unwrap(), NAME);
        }
        let own = json!({"type": "json_schema", "json_schema": {"name": "r", "schema": true}});
        let found = param(answer_schema, json!({"response_format": own})).unwrap();
        assert_eq!(found, "response_format.json_schema.schema");
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
