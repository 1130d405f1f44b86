//! The rows of one file.

use crate::error::Numbering;
use crate::value::Value;
use std::collections::HashMap;

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
pub(super) struct TableBuilder {
    table: Table,
    index: HashMap<String, usize>,
}

impl TableBuilder {
    pub(super) fn new(numbering: Numbering) -> TableBuilder {
        TableBuilder {
            table: Table { columns: Vec::new(), rows: Vec::new(), numbering },
            index: HashMap::new(),
        }
    }

    pub(super) fn push(&mut self, number: u64, object: Vec<(String, Value)>) {
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

    pub(super) fn finish(mut self) -> Table {
        let width = self.table.columns.len();
        for (_, row) in &mut self.table.rows {
            row.resize(width, Value::None);
        }
        self.table
    }
}
