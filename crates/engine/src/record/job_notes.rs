//! What executors keep in run records of chains that run elsewhere, so that a later run takes up a job that this one began.

use super::recorder::publish;
use super::{RunRecord, runs_dir};
use olive_core::{Result, error::IoContext};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Folder in a record; it is there only when an executor wrote something.
const FOLDER: &str = "jobs";

/// The notes of one run, and of those before it.
#[derive(Debug, Clone, Copy)]
pub struct JobNotes<'a> {
    output_dir: &'a Path,
    id: &'a str,
}

impl<'a> JobNotes<'a> {
    /// Of the run whose record is called `id`.
    pub fn new(output_dir: &'a Path, id: &'a str) -> JobNotes<'a> {
        JobNotes { output_dir, id }
    }

    /// Replaces the note on the chain of this key.
    ///
    /// # Errors
    /// The record cannot be written.
    pub fn write(&self, chain: &str, note: &Value) -> Result<()> {
        let path = file(&runs_dir(self.output_dir).join(self.id), chain);
        let folder = path.parent().expect("below the record");
        std::fs::create_dir_all(folder).at("create", folder)?;
        publish(&path, note)
    }

    /// The newest note on the chain of this key, of this run or of an earlier one.
    pub fn read(&self, chain: &str) -> Option<Value> {
        let read = |record: PathBuf| serde_json::from_slice(&std::fs::read(file(&record, chain)).ok()?).ok();
        RunRecord::list(self.output_dir).into_iter().find_map(read)
    }

    /// The notes of all runs whose records an output folder has, newest run first.
    pub fn list(output_dir: &Path) -> Vec<Value> {
        let notes = RunRecord::list(output_dir).into_iter().flat_map(|record| {
            let entries = std::fs::read_dir(record.join(FOLDER)).into_iter().flatten().flatten();
            let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
            files.sort();
            files
        });
        notes.filter_map(|file| serde_json::from_slice(&std::fs::read(file).ok()?).ok()).collect()
    }
}

fn file(record: &Path, chain: &str) -> PathBuf {
    record.join(FOLDER).join(format!("{chain}.json"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_later_run_finds_the_job_of_an_earlier_one() {
        let dir = tempfile::tempdir().unwrap();
        let (earlier, later) = ("20261129T204501Z-00000000", "20261129T204502Z-00000000");
        std::fs::create_dir_all(runs_dir(dir.path()).join(later)).unwrap();
        JobNotes::new(dir.path(), earlier).write("key", &json!({"job": 7})).unwrap();
        let notes = JobNotes::new(dir.path(), later);
        assert_eq!(notes.read("key"), Some(json!({"job": 7})));
        assert_eq!(notes.read("other"), None);
        notes.write("key", &json!({"job": 8})).unwrap();
        assert_eq!(notes.read("key"), Some(json!({"job": 8})));
        notes.write("another", &json!({"job": 9})).unwrap();
        assert_eq!(JobNotes::list(dir.path()), [json!({"job": 9}), json!({"job": 8}), json!({"job": 7})]);
    }
}
