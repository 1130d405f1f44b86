//! Files to rows, one module per kind of file.

mod csv;
mod json;
mod parquet;
mod text;

use super::files::Loader;
use super::{DataError, Location, Value};
use olive_core::{Result, error::IoContext};
use std::collections::HashMap;
use std::path::Path;

/// The rows of one file.
#[derive(Debug, Default)]
pub(super) struct Table {
    pub columns: Vec<String>,
    /// One value per column, with the line or the number of the row, from 1.
    pub rows: Vec<(u64, Vec<Value>)>,
    /// What the numbers count.
    pub numbers_are_lines: bool,
}

pub(super) fn read(loader: Loader, path: &Path, field: Option<&str>) -> Result<Table> {
    match loader {
        Loader::Json => json::read(path, &read_text(path)?, field),
        Loader::Csv { delimiter } => csv::read(path, &read_text(path)?, delimiter),
        Loader::Parquet => parquet::read(path),
        Loader::Text => Ok(text::read(&read_text(path)?)),
    }
}

/// The text of a file, without its byte order mark.
fn read_text(path: &Path) -> Result<String> {
    let bytes = std::fs::read(path).at("read", path)?;
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(DataError::EmptyFile { path: path.to_owned() }.into());
    }
    let mut text = String::from_utf8(bytes).map_err(|e| {
        let before = &e.as_bytes()[..e.utf8_error().valid_up_to()];
        let number = 1 + before.iter().filter(|&&b| b == b'\n').count() as u64;
        DataError::NotUtf8 { location: Location { path: path.to_owned(), number, is_line: true } }
    })?;
    if text.starts_with('\u{feff}') {
        text.drain(..'\u{feff}'.len_utf8());
    }
    Ok(text)
}

/// Collects objects with differing keys into a table; absent keys are `None`.
#[derive(Default)]
struct TableBuilder {
    table: Table,
    index: HashMap<String, usize>,
}

impl TableBuilder {
    fn push(&mut self, number: u64, object: Vec<(String, Value)>) {
        let mut row = vec![Value::None; self.table.columns.len()];
        for (key, value) in object {
            match self.index.get(&key) {
                Some(&i) => row[i] = value,
                None => {
                    self.index.insert(key.clone(), row.len());
                    self.table.columns.push(key);
                    row.push(value);
                }
            }
        }
        self.table.rows.push((number, row));
    }

    fn finish(mut self) -> Table {
        let width = self.table.columns.len();
        for (_, row) in &mut self.table.rows {
            row.resize(width, Value::None);
        }
        self.table
    }
}
