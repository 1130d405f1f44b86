//! Conversion between [`Value`] and the values of templates.

use crate::value::Value;
use minijinja::value::ValueKind;
use minijinja::{Error, ErrorKind};

pub(super) fn to_jinja(value: &Value) -> minijinja::Value {
    match value {
        Value::None => minijinja::Value::from(()),
        Value::Bool(b) => minijinja::Value::from(*b),
        Value::Int(i) => minijinja::Value::from(*i),
        Value::Float(f) => minijinja::Value::from(*f),
        Value::Str(s) => minijinja::Value::from(s),
        Value::List(items) => items.iter().map(to_jinja).collect(),
        Value::Dict(entries) => {
            minijinja::Value::from_pairs(entries.iter().map(|(k, v)| (k.as_str(), to_jinja(v))))
        }
    }
}

pub(super) fn from_jinja(value: &minijinja::Value) -> Result<Value, Error> {
    Ok(match value.kind() {
        ValueKind::Undefined | ValueKind::None => Value::None,
        ValueKind::Bool => Value::Bool(value.is_true()),
        ValueKind::Number => match i64::try_from(value.clone()) {
            Ok(i) if value.is_integer() => Value::Int(i),
            _ => Value::Float(f64::try_from(value.clone())?),
        },
        ValueKind::String => Value::Str(value.as_str().unwrap_or_default().to_owned()),
        ValueKind::Seq | ValueKind::Iterable => {
            Value::List(value.try_iter()?.map(|item| from_jinja(&item)).collect::<Result<_, _>>()?)
        }
        ValueKind::Map => {
            let entry = |key: minijinja::Value| {
                let inner = from_jinja(&value.get_item(&key)?)?;
                Ok::<_, Error>((key.as_str().map_or_else(|| key.to_string(), str::to_owned), inner))
            };
            Value::Dict(value.try_iter()?.map(entry).collect::<Result<_, _>>()?)
        }
        kind => return Err(Error::new(ErrorKind::InvalidOperation, format!("a {kind} has no text"))),
    })
}
