//! The rows of one file.

use crate::error::{DataError, Location, Numbering};
use crate::room::Room;
use crate::value::Value;
use std::collections::HashMap;
use std::path::Path;

/// What a reader makes of a file.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) columns: Vec<String>,
    /// One value per column, with the number of the line or row, from 1.
    pub(crate) rows: Vec<(u64, Vec<Value>)>,
    /// What the numbers count.
    pub(crate) numbering: Numbering,
}

/// Collects objects with differing keys into a table; absent keys are `None`.
pub(super) struct TableBuilder<'a> {
    path: &'a Path,
    room: &'a Room,
    table: Table,
    index: HashMap<String, usize>,
}

impl<'a> TableBuilder<'a> {
    pub(super) fn new(path: &'a Path, numbering: Numbering, room: &'a Room) -> TableBuilder<'a> {
        let table = Table { columns: Vec::new(), rows: Vec::new(), numbering };
        TableBuilder { path, room, table, index: HashMap::new() }
    }

    /// # Errors
    /// There is no room for the row. What its values hold is paid for by whoever made them.
    pub(super) fn push(&mut self, number: u64, object: Vec<(String, Value)>) -> Result<(), DataError> {
        let before = self.table.columns.len();
        let mut row = vec![Value::None; before];
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
        let (rows, new) = (self.table.rows.len(), row.len() - before);
        let taken = self.room.take_rows(1, row.len()).and_then(|()| self.room.take_columns(rows, new));
        taken.map_err(|_| {
            let numbering = self.table.numbering;
            self.room.no_room_for_row(Location { path: self.path.to_owned(), number, numbering })
        })?;
        self.table.rows.push((number, row));
        Ok(())
    }

    pub(super) fn finish(mut self) -> Table {
        let width = self.table.columns.len();
        for (_, row) in &mut self.table.rows {
            row.resize(width, Value::None);
        }
        self.table
    }
}
