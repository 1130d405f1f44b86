//! Values that tables hold as JSON text.

use crate::value::Value;

/// The value of a text that is JSON, or the value as it is.
///
/// # Errors
/// The text is not JSON.
pub(super) fn parsed(value: &Value) -> Result<Value, String> {
    match value {
        Value::Str(text) => serde_json::from_str(text)
            .map(|json: serde_json::Value| (&json).into())
            .map_err(|e| e.to_string()),
        other => Ok(other.clone()),
    }
}
