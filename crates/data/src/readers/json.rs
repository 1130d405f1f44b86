//! JSON: an array of objects, objects one after another or one per line, or either under a key.

use super::table::{Table, TableBuilder};
use crate::error::{DataError, Location, Numbering};
use crate::room::{Meter, Room};
use crate::value::Value;
use crate::value_reader::ValueReader;
use olive_core::Result;
use rayon::prelude::*;
use serde::de::DeserializeSeed;
use std::path::Path;

pub(super) fn read(path: &Path, text: &str, field: Option<&str>, room: &Room) -> Result<Table> {
    let file = JsonFile { path, text, room };
    if let Some(field) = field {
        return file.read_field(field);
    }
    if text.trim_start().starts_with('[') {
        let Value::List(items) = file.parse_whole()? else {
            return Ok(file.table(Numbering::Rows).finish());
        };
        return file.table_of(items);
    }
    let first = text.lines().find(|l| !l.trim().is_empty()).unwrap_or("");
    if parse_line(first, &room.copied()).is_ok() { file.read_lines() } else { file.read_stream() }
}

/// The objects of one line; usually one.
fn parse_line(line: &str, room: &Room) -> serde_json::Result<Vec<Value>> {
    let meter = Meter::new(room);
    let mut deserializer = serde_json::Deserializer::from_str(line);
    let mut values = Vec::new();
    while deserializer.end().is_err() {
        values.push(ValueReader(&meter).deserialize(&mut deserializer)?);
    }
    Ok(values)
}

struct JsonFile<'a> {
    path: &'a Path,
    text: &'a str,
    room: &'a Room,
}

impl JsonFile<'_> {
    fn table(&self, numbering: Numbering) -> TableBuilder<'_> {
        TableBuilder::new(self.path, numbering, self.room)
    }

    fn location(&self, number: u64, numbering: Numbering) -> Location {
        Location { path: self.path.to_owned(), number, numbering }
    }

    /// `line` counts from the start of the file, the position in serde's message from that of what it was given.
    fn error(&self, line: u64, error: &serde_json::Error) -> DataError {
        let location = self.location(line, Numbering::Lines);
        if self.room.is_full() {
            return self.room.no_room_for_row(location);
        }
        let message = error.to_string();
        let reason = message.split(" at line ").next().unwrap_or(&message);
        let reason = format!("not valid JSON at column {}: {reason}", error.column());
        DataError::Malformed { location, reason }
    }

    fn parse_whole(&self) -> Result<Value> {
        let meter = Meter::new(self.room);
        let mut deserializer = serde_json::Deserializer::from_str(self.text);
        let value = ValueReader(&meter).deserialize(&mut deserializer);
        let value = value.and_then(|value| deserializer.end().map(|()| value));
        Ok(value.map_err(|e| self.error(e.line() as u64, &e))?)
    }

    /// JSON lines, parsed in parallel.
    fn read_lines(&self) -> Result<Table> {
        let lines: Vec<&str> = self.text.split('\n').collect();
        let parsed: Vec<_> = lines.par_iter().map(|line| parse_line(line, self.room)).collect();
        let mut builder = self.table(Numbering::Lines);
        for (line, values) in (1..).zip(parsed) {
            for value in values.map_err(|e| self.error(line, &e))? {
                builder.push(line, self.object(line, Numbering::Lines, value)?)?;
            }
        }
        Ok(builder.finish())
    }

    /// Objects over several lines, one after another.
    fn read_stream(&self) -> Result<Table> {
        let mut builder = self.table(Numbering::Rows);
        let meter = Meter::new(self.room);
        let mut deserializer = serde_json::Deserializer::from_str(self.text);
        for number in 1.. {
            if deserializer.end().is_ok() {
                break;
            }
            let value = ValueReader(&meter).deserialize(&mut deserializer);
            let value = value.map_err(|e| self.error(e.line() as u64, &e))?;
            builder.push(number, self.object(number, Numbering::Rows, value)?)?;
        }
        Ok(builder.finish())
    }

    /// `{"version": …, "data": [{…}, …]}`, or the columns as lists: `{"data": {"column": […], …}}`.
    fn read_field(&self, field: &str) -> Result<Table> {
        let path = self.path;
        let whole = self.parse_whole()?;
        let Value::Dict(mut entries) = whole else {
            let reason = format!("the file holds {}, so there is no field `{field}`", whole.kind());
            return Err(DataError::Unreadable { path: path.to_owned(), reason }.into());
        };
        let Some(at) = entries.iter().position(|(key, _)| key == field) else {
            let known = entries.into_iter().map(|(key, _)| key).collect();
            return Err(
                DataError::MissingField { path: path.to_owned(), field: field.to_owned(), known }.into()
            );
        };
        match entries.swap_remove(at).1 {
            Value::List(items) => self.table_of(items),
            Value::Dict(columns) => from_columns(path, columns),
            other => {
                let reason =
                    format!("the field `{field}` holds {} where a list of rows is needed", other.kind());
                Err(DataError::Unreadable { path: path.to_owned(), reason }.into())
            }
        }
    }

    fn table_of(&self, items: Vec<Value>) -> Result<Table> {
        // A list of texts is a column `text`, as in `datasets`.
        let texts = !items.is_empty() && items.iter().all(|v| matches!(v, Value::Str(_)));
        let mut builder = self.table(Numbering::Rows);
        for (number, item) in (1..).zip(items) {
            let row = match texts {
                true => vec![("text".into(), item)],
                false => self.object(number, Numbering::Rows, item)?,
            };
            builder.push(number, row)?;
        }
        Ok(builder.finish())
    }

    fn object(&self, number: u64, numbering: Numbering, value: Value) -> Result<Vec<(String, Value)>> {
        match value {
            Value::Dict(entries) => Ok(entries),
            other => {
                let location = self.location(number, numbering);
                let reason =
                    format!("a row must be an object with the columns as keys, this is {}", other.kind());
                Err(DataError::Malformed { location, reason }.into())
            }
        }
    }
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
