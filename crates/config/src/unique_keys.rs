//! The keys of an object, each given once.

use crate::findings::Findings;
use crate::node::NodeEntry;
use crate::place::join;
use std::collections::HashMap;

/// The entries of an object that is being read.
#[derive(Default)]
pub(crate) struct UniqueEntries {
    entries: Vec<NodeEntry>,
    places: HashMap<String, usize>,
}

impl UniqueEntries {
    /// Adds an entry, unless the key is already there: then says where.
    pub(crate) fn push(&mut self, entry: NodeEntry, path: &str, findings: &mut Findings) {
        let Some(&first) = self.places.get(&entry.key) else {
            self.places.insert(entry.key.clone(), self.entries.len());
            self.entries.push(entry);
            return;
        };
        let line = self.entries[first].at.map_or(0, |(line, _)| line);
        findings.error(
            entry.at,
            join(path, &entry.key),
            format!("the key `{}` is given twice, first on line {line}", entry.key),
            Some("remove one of them".into()),
        );
    }

    /// In the order of the file.
    pub(crate) fn into_entries(self) -> Vec<NodeEntry> {
        self.entries
    }
}
