//! What a training that is interrupted keeps of its run, so that it goes on with the same one.

use olive_core::error::IoContext;
use olive_core::{Result, file};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::io::Write;
use std::path::Path;

/// A value as `runs/log-batch` takes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Metric {
    pub(crate) key: String,
    /// A number, or the words that protobuf has for what is none.
    value: Value,
    /// Milliseconds since 1970. With the rest it tells the server that a value is sent a second time.
    timestamp: u64,
    pub(crate) step: usize,
}

impl Metric {
    pub(crate) fn new(key: &str, value: f64, step: usize, timestamp: u64) -> Metric {
        let value = match value {
            value if value.is_nan() => json!("NaN"),
            f64::INFINITY => json!("Infinity"),
            f64::NEG_INFINITY => json!("-Infinity"),
            value => json!(value),
        };
        Metric { key: key.to_owned(), value, timestamp, step }
    }
}

/// The run of an unfinished training.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Note {
    /// Address of the server.
    pub(crate) server: String,
    /// `None`: the server did not answer so far.
    pub(crate) run_id: Option<String>,
    /// What it did not take.
    pub(crate) unsent: Vec<Metric>,
}

impl Note {
    /// The note, if there is one of this server. What cannot be read is none: only the log depends on it.
    pub(crate) fn read(path: &Path, server: &str) -> Option<Note> {
        let text = file::read_to_string(path).ok()?;
        serde_json::from_str(&text).ok().filter(|note: &Note| note.server == server)
    }

    /// # Errors
    /// The file cannot be written.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let folder = path.parent().unwrap_or(Path::new("."));
        let mut file = tempfile::NamedTempFile::new_in(folder).at("create a file in", folder)?;
        let text = serde_json::to_string(self).expect("plain data");
        file.write_all(text.as_bytes()).at("write", path)?;
        file.persist(path).map_err(|error| error.error).at("write", path)?;
        Ok(())
    }
}
