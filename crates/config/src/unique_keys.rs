//! The keys of an object, each given once.

use crate::findings::Findings;
use crate::node::NodeEntry;
use crate::place::join;

/// Adds an entry, unless the key is already there: then says where.
pub(crate) fn push_unique(
    entries: &mut Vec<NodeEntry>,
    entry: NodeEntry,
    path: &str,
    findings: &mut Findings,
) {
    match entries.iter().find(|other| other.key == entry.key) {
        None => entries.push(entry),
        Some(first) => {
            let line = first.at.map_or(0, |(line, _)| line);
            findings.error(
                entry.at,
                join(path, &entry.key),
                format!("the key `{}` is given twice, first on line {line}", entry.key),
                Some("remove one of them".into()),
            );
        }
    }
}
