//! Conversion between [`Value`] and the values of templates.

use crate::jinja_limits::{charge, check_depth};
use crate::value::Value;
use minijinja::value::ValueKind;
use minijinja::{Error, ErrorKind, State};

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

/// The value that a template computed; what is copied is paid for.
pub(super) fn from_jinja(state: &State<'_, '_>, value: &minijinja::Value) -> Result<Value, Error> {
    inner(state, value, 0)
}

fn inner(state: &State<'_, '_>, value: &minijinja::Value, depth: usize) -> Result<Value, Error> {
    check_depth(depth)?;
    state.consume_fuel(1)?;
    let below = |value: &minijinja::Value| inner(state, value, depth + 1);
    Ok(match value.kind() {
        ValueKind::Undefined | ValueKind::None => Value::None,
        ValueKind::Bool => Value::Bool(value.is_true()),
        ValueKind::Number => match i64::try_from(value.clone()) {
            Ok(i) if value.is_integer() => Value::Int(i),
            _ => Value::Float(f64::try_from(value.clone())?),
        },
        ValueKind::String => {
            let text = value.as_str().unwrap_or_default();
            charge(state, text.len())?;
            Value::Str(text.to_owned())
        }
        ValueKind::Seq | ValueKind::Iterable => {
            Value::List(value.try_iter()?.map(|item| below(&item)).collect::<Result<_, _>>()?)
        }
        ValueKind::Map => {
            let entry = |key: minijinja::Value| {
                let inner = below(&value.get_item(&key)?)?;
                let name = key.as_str().map_or_else(|| key.to_string(), str::to_owned);
                charge(state, name.len())?;
                Ok::<_, Error>((name, inner))
            };
            Value::Dict(value.try_iter()?.map(entry).collect::<Result<_, _>>()?)
        }
        kind => return Err(Error::new(ErrorKind::InvalidOperation, format!("a {kind} has no text"))),
    })
}
