//! JSON: an array of objects, objects one after another or one per line, or either under a key.

use super::table::{Table, TableBuilder};
use crate::error::{DataError, Location, Numbering};
use crate::value::Value;
use olive_core::Result;
use rayon::prelude::*;
use std::path::Path;

pub(super) fn read(path: &Path, text: &str, field: Option<&str>) -> Result<Table> {
    if let Some(field) = field {
        return read_field(path, text, field);
    }
    if text.trim_start().starts_with('[') {
        let Value::List(items) = parse_whole(path, text)? else {
            return Ok(TableBuilder::new(Numbering::Rows).finish());
        };
        return from_items(path, items);
    }
    let first = text.lines().find(|l| !l.trim().is_empty()).unwrap_or("");
    if parse_line(first).is_ok() { read_lines(path, text) } else { read_stream(path, text) }
}

fn parse_whole(path: &Path, text: &str) -> Result<Value> {
    serde_json::from_str(text).map_err(|e| syntax_error(path, e.line() as u64, &e))
}

fn syntax_error(path: &Path, line: u64, error: &serde_json::Error) -> olive_core::Error {
    // The position in serde's message counts from the start of what it was given, not of the file.
    let message = error.to_string();
    let reason = message.split(" at line ").next().unwrap_or(&message);
    let location = Location { path: path.to_owned(), number: line, numbering: Numbering::Lines };
    DataError::Malformed {
        location,
        reason: format!("not valid JSON at column {}: {reason}", error.column()),
    }
    .into()
}

/// The objects of one line; usually one.
fn parse_line(line: &str) -> serde_json::Result<Vec<Value>> {
    serde_json::Deserializer::from_str(line).into_iter().collect()
}

/// JSON lines, parsed in parallel.
fn read_lines(path: &Path, text: &str) -> Result<Table> {
    let lines: Vec<&str> = text.split('\n').collect();
    let parsed: Vec<_> = lines.par_iter().map(|line| parse_line(line)).collect();
    let mut builder = TableBuilder::new(Numbering::Lines);
    for (line, values) in (1..).zip(parsed) {
        for value in values.map_err(|e| syntax_error(path, line, &e))? {
            builder.push(line, object(path, line, Numbering::Lines, value)?);
        }
    }
    Ok(builder.finish())
}

/// Objects over several lines, one after another.
fn read_stream(path: &Path, text: &str) -> Result<Table> {
    let mut builder = TableBuilder::new(Numbering::Rows);
    for (number, value) in (1..).zip(serde_json::Deserializer::from_str(text).into_iter()) {
        let value = value.map_err(|e| syntax_error(path, e.line() as u64, &e))?;
        builder.push(number, object(path, number, Numbering::Rows, value)?);
    }
    Ok(builder.finish())
}

/// `{"version": …, "data": [{…}, …]}`, or the columns as lists: `{"data": {"column": […], …}}`.
fn read_field(path: &Path, text: &str, field: &str) -> Result<Table> {
    let whole = parse_whole(path, text)?;
    let Value::Dict(mut entries) = whole else {
        let reason = format!("the file holds {}, so there is no field `{field}`", whole.kind());
        return Err(DataError::Unreadable { path: path.to_owned(), reason }.into());
    };
    let Some(at) = entries.iter().position(|(key, _)| key == field) else {
        let known = entries.into_iter().map(|(key, _)| key).collect();
        return Err(DataError::MissingField { path: path.to_owned(), field: field.to_owned(), known }.into());
    };
    match entries.swap_remove(at).1 {
        Value::List(items) => from_items(path, items),
        Value::Dict(columns) => from_columns(path, columns),
        other => {
            let reason = format!("the field `{field}` holds {} where a list of rows is needed", other.kind());
            Err(DataError::Unreadable { path: path.to_owned(), reason }.into())
        }
    }
}

fn from_items(path: &Path, items: Vec<Value>) -> Result<Table> {
    // A list of texts is a column `text`, as in `datasets`.
    let texts = !items.is_empty() && items.iter().all(|v| matches!(v, Value::Str(_)));
    let mut builder = TableBuilder::new(Numbering::Rows);
    for (number, item) in (1..).zip(items) {
        let row =
            if texts { vec![("text".into(), item)] } else { object(path, number, Numbering::Rows, item)? };
        builder.push(number, row);
    }
    Ok(builder.finish())
}

fn from_columns(path: &Path, columns: Vec<(String, Value)>) -> Result<Table> {
    let fail = |reason: String| DataError::Unreadable { path: path.to_owned(), reason };
    let mut names = Vec::new();
    let mut lists = Vec::new();
    for (name, column) in columns {
        let Value::List(items) = column else {
            return Err(fail(format!("the column `{name}` is {} and not a list", column.kind())).into());
        };
        names.push(name);
        lists.push(items);
    }
    let length = lists.first().map_or(0, Vec::len);
    if let Some(i) = lists.iter().position(|l| l.len() != length) {
        let (a, b, n) = (&names[0], &names[i], lists[i].len());
        return Err(fail(format!("column `{a}` has {length} values and column `{b}` has {n}")).into());
    }
    let mut lists: Vec<_> = lists.into_iter().map(Vec::into_iter).collect();
    let rows = (1..=length as u64)
        .map(|number| (number, lists.iter_mut().map(|l| l.next().unwrap_or(Value::None)).collect()))
        .collect();
    Ok(Table { columns: names, rows, numbering: Numbering::Rows })
}

fn object(path: &Path, number: u64, numbering: Numbering, value: Value) -> Result<Vec<(String, Value)>> {
    match value {
        Value::Dict(entries) => Ok(entries),
        other => {
            let location = Location { path: path.to_owned(), number, numbering };
            let reason =
                format!("a row must be an object with the columns as keys, this is {}", other.kind());
            Err(DataError::Malformed { location, reason }.into())
        }
    }
}
