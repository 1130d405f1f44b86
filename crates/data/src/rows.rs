//! The rows of a dataset, read, sliced and filtered.

use crate::error::{DataError, Location, Numbering};
use crate::files::{self, SplitFiles};
use crate::readers::{Source, Table};
use crate::room::Room;
use crate::split;
use crate::value::Value;
use olive_config::canonical::LoadDataset;
use olive_core::Result;
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

/// Rows with one value per column, and where each comes from.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rows {
    pub columns: Vec<String>,
    rows: Vec<Row>,
    files: Vec<PathBuf>,
}

#[derive(Debug, Clone, PartialEq)]
struct Row {
    values: Vec<Value>,
    file: usize,
    number: u64,
    numbering: Numbering,
}

impl Rows {
    /// Number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The values of row `i`, in the order of [`Rows::columns`].
    pub fn values(&self, i: usize) -> &[Value] {
        &self.rows[i].values
    }

    /// The place of a column in [`Rows::values`].
    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|c| c == name)
    }

    /// File and line of row `i`, for messages.
    pub fn location(&self, i: usize) -> Location {
        let row = &self.rows[i];
        let path = self.files.get(row.file).cloned().unwrap_or_default();
        Location { path, number: row.number, numbering: row.numbering }
    }

    /// The place of a column that must exist.
    ///
    /// # Errors
    /// [`DataError::MissingColumn`], located at the first row.
    pub(crate) fn require(
        &self,
        name: &str,
        wanted_by: &'static str,
    ) -> std::result::Result<usize, DataError> {
        self.column(name).ok_or_else(|| DataError::MissingColumn {
            location: self.location(0),
            column: name.to_owned(),
            wanted_by,
            known: self.columns.clone(),
        })
    }
}

/// Reads the files of `load`, slices them as `load.split` says, and keeps the rows that `load.col_filters` lets pass.
///
/// # Errors
/// What is wrong with a file, with its line; a split that does not exist or selects nothing; a filter on a column that
/// does not exist, or that keeps nothing.
pub fn load_rows(load: &LoadDataset) -> Result<Rows> {
    let (reader, splits) = files::resolve(load)?;
    let used = files::used(load, &splits)?;
    let room = Room::of_machine();
    let mut loaded: Vec<(&str, Rows)> = Vec::new();
    for SplitFiles { split, files } in used {
        let mut rows = Rows::default();
        for path in files {
            for source in Source::open(path, &|name| reader.reads(name), &room)? {
                let table = reader.read(&source, load, &room)?;
                append(&mut rows, table, source.path, &room)?;
            }
        }
        loaded.push((split, rows));
    }
    let mut rows = select(load, &loaded)?;
    unify_numbers(&mut rows);
    filter(load, &mut rows)?;
    Ok(rows)
}

fn append(rows: &mut Rows, table: Table, path: PathBuf, room: &Room) -> Result<()> {
    let file = rows.files.len();
    let before: HashSet<&String> = rows.columns.iter().collect();
    let new = table.columns.iter().filter(|column| !before.contains(column)).count();
    let old = (before.len() + new).saturating_sub(table.columns.len());
    let taken = room.take_columns(rows.len(), new).and_then(|()| room.take_columns(table.rows.len(), old));
    taken.map_err(|_| room.no_room_for_file(&path))?;
    rows.files.push(path);
    let places = place_columns(rows, &table.columns);
    let width = rows.columns.len();
    rows.rows.extend(table.rows.into_iter().map(|(number, values)| {
        let values = arrange(values, &places, width);
        Row { values, file, number, numbering: table.numbering }
    }));
    Ok(())
}

/// Where each of `columns` lies in `rows`, which gets those that it does not have yet.
fn place_columns(rows: &mut Rows, columns: &[String]) -> Vec<usize> {
    let mut index: HashMap<String, usize> =
        rows.columns.iter().enumerate().map(|(i, c)| (c.clone(), i)).collect();
    let places = columns
        .iter()
        .map(|column| {
            *index.entry(column.clone()).or_insert_with(|| {
                rows.columns.push(column.clone());
                rows.columns.len() - 1
            })
        })
        .collect();
    let width = rows.columns.len();
    for row in &mut rows.rows {
        row.values.resize(width, Value::None);
    }
    places
}

fn arrange(values: Vec<Value>, places: &[usize], width: usize) -> Vec<Value> {
    if places.iter().enumerate().all(|(i, &p)| i == p) && values.len() == width {
        return values;
    }
    let mut arranged = vec![Value::None; width];
    for (value, &place) in values.into_iter().zip(places) {
        arranged[place] = value;
    }
    arranged
}

/// The slices of the splits, one after another.
fn select(load: &LoadDataset, loaded: &[(&str, Rows)]) -> Result<Rows> {
    let mut selected = Rows::default();
    let mut total = 0;
    for part in split::parse(&load.split)? {
        for (name, rows) in loaded {
            if part.split != "all" && part.split != *name {
                continue;
            }
            total += rows.len();
            let range = part.range(rows.len());
            let first_file = selected.files.len();
            selected.files.extend(rows.files.iter().cloned());
            let places = place_columns(&mut selected, &rows.columns);
            let width = selected.columns.len();
            selected.rows.extend(rows.rows[range].iter().map(|row| Row {
                values: arrange(row.values.clone(), &places, width),
                file: first_file + row.file,
                ..*row
            }));
        }
    }
    if selected.is_empty() {
        return Err(DataError::NoRows { split: load.split.clone(), rows: total }.into());
    }
    Ok(selected)
}

/// The types of a column's values, which decide whether its whole numbers become floats.
#[derive(Clone, Copy, Default, PartialEq)]
struct Kinds {
    ints: bool,
    floats: bool,
    lists: bool,
    others: bool,
}

/// A column of whole numbers and floats is one of floats to `datasets`; so is a column of lists of them.
fn unify_numbers(rows: &mut Rows) {
    fn collect(value: &Value, kinds: &mut Kinds, inner: &mut Kinds) {
        match value {
            Value::None => {}
            Value::Int(_) => kinds.ints = true,
            Value::Float(_) => kinds.floats = true,
            Value::List(items) => {
                kinds.lists = true;
                let mut deeper = Kinds::default();
                for item in items {
                    collect(item, inner, &mut deeper);
                }
                // Lists of lists are left alone unless they are numbers throughout.
                inner.others |= deeper != Kinds::default();
            }
            Value::Bool(_) | Value::Str(_) | Value::Dict(_) => kinds.others = true,
        }
    }
    let mixed = |k: Kinds| k.ints && k.floats && !k.others && !k.lists;
    let to_float = |value: &mut Value| {
        if let Value::Int(i) = *value {
            *value = Value::Float(i as f64);
        }
    };
    for column in 0..rows.columns.len() {
        let (mut kinds, mut inner) = (Kinds::default(), Kinds::default());
        for row in &rows.rows {
            collect(&row.values[column], &mut kinds, &mut inner);
        }
        let only_lists = kinds.lists && !(kinds.ints || kinds.floats || kinds.others);
        for row in &mut rows.rows {
            match &mut row.values[column] {
                Value::List(items) if only_lists && mixed(inner) => items.iter_mut().for_each(to_float),
                value if mixed(kinds) => to_float(value),
                _ => {}
            }
        }
    }
}

fn filter(load: &LoadDataset, rows: &mut Rows) -> Result<()> {
    let before = rows.len();
    for (name, wanted) in &load.col_filters {
        if rows.is_empty() {
            break;
        }
        let column = rows.require(name, "`col_filters`")?;
        let wanted = Value::from(wanted);
        rows.rows.retain(|row| row.values[column].equals(&wanted));
    }
    if rows.is_empty() {
        return Err(DataError::AllFiltered { rows: before }.into());
    }
    Ok(())
}
