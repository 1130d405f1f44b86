//! `--extra_mb_options`: options of ModelBuilder as `key=value,key=value`.

use crate::error::VerbError;
use crate::training::boolean;
use olive_config::nearest;
use olive_config::option::{Block, Kind};
use olive_onnx::MODEL_BUILDER;
use serde_json::{Map, Value, json};

const OPTION: &str = "--extra_mb_options";

/// `extra_options` of the pass, with the types of its table.
///
/// # Errors
/// A piece that is no `key=value`, a key that the table does not have, a value of another type.
pub(crate) fn read(text: &str) -> Result<Map<String, Value>, VerbError> {
    let mut options = Map::new();
    for piece in text.split(',').map(str::trim).filter(|piece| !piece.is_empty()) {
        let refuse = |reason: String, hint: Option<String>| VerbError::Value {
            option: format!("{OPTION} {piece}"),
            reason,
            hint,
        };
        let Some((key, value)) = piece.split_once('=').map(|(key, value)| (key.trim(), value.trim())) else {
            let hint = "for example `int4_is_symmetric=true,int4_op_types_to_quantize=MatMul/Gather`";
            return Err(refuse("expected key=value".into(), Some(hint.into())));
        };
        let spelled = |option: &&olive_config::option::Opt| option.spellings().any(|(name, _)| name == key);
        let Some(option) = table().options().find(spelled) else {
            let near = nearest(key, table().options().map(|option| option.name));
            let hint = near.map(|name| format!("did you mean `{name}`?"));
            return Err(refuse(format!("ModelBuilder has no extra option `{key}`"), hint));
        };
        let value =
            typed(option.kind, value).map_err(|expected| refuse(format!("expected {expected}"), None))?;
        options.insert(key.to_owned(), value);
    }
    Ok(options)
}

/// `Err` completes "expected ".
fn typed(kind: Kind, text: &str) -> Result<Value, &'static str> {
    match kind {
        Kind::Bool => boolean(text).map(Value::Bool).ok_or("true or false"),
        Kind::Int { .. } | Kind::IntChoice(_) => {
            text.parse::<i64>().map(Value::from).map_err(|_| "a whole number")
        }
        Kind::Number(_) => text.parse::<f64>().map(Value::from).map_err(|_| "a number"),
        Kind::Texts => Ok(text.split('/').collect()),
        Kind::Any => {
            Ok(boolean(text).filter(|_| text.parse::<i64>().is_err()).map_or(json!(text), Value::Bool))
        }
        Kind::Text | Kind::Choice(_) | Kind::Block(_) | Kind::Blocks(_) | Kind::Special(_) => Ok(json!(text)),
    }
}

/// The options of `extra_options`.
fn table() -> &'static Block {
    let extra = MODEL_BUILDER.options().find(|option| option.name == "extra_options");
    match extra.map(|option| option.kind) {
        Some(Kind::Block(block)) => block,
        _ => &MODEL_BUILDER,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_types_and_keys_are_known() {
        let options = read(
            "int4_accuracy_level=1, exclude_embeds=true,hf_token=false,int4_op_types_to_quantize=MatMul/Gather",
        );
        let expected = json!({
            "int4_accuracy_level": 1, "exclude_embeds": true, "hf_token": false,
            "int4_op_types_to_quantize": ["MatMul", "Gather"],
        });
        assert_eq!(Value::Object(options.unwrap()), expected);
        for (wrong, named) in [
            ("exclude_embed=true", "`exclude_embed`"),
            ("use_qdq=maybe", "true or false"),
            ("use_qdq", "key=value"),
        ] {
            let error = read(wrong).unwrap_err().to_string();
            assert!(error.contains(OPTION) && error.contains(named), "{error}");
        }
    }
}
