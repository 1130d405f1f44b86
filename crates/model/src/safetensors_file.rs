//! Writing safetensors: header first, then tensor by tensor, so that nothing is held in memory.

use olive_core::{Result, error::IoContext};
use serde_json::{Map, Value, json};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

/// What the header says of one tensor.
pub struct Entry {
    pub name: String,
    /// The format's type name: `F32`, `BF16`, `F16`, `U8`, …
    pub dtype: &'static str,
    pub shape: Vec<usize>,
    /// Size of the data.
    pub bytes: usize,
}

/// Writes one file. Call [`Writer::tensor`] once per entry, in the order of the entries, then [`Writer::finish`].
pub struct Writer {
    file: BufWriter<File>,
    path: std::path::PathBuf,
}

impl Writer {
    /// Writes the header with the metadata `{"format": "pt"}`, which transformers asks for.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn create(path: &Path, entries: &[Entry]) -> Result<Writer> {
        let mut header = Map::new();
        header.insert("__metadata__".into(), json!({"format": "pt"}));
        let mut offset = 0;
        for entry in entries {
            header.insert(
                entry.name.clone(),
                json!({
                    "dtype": entry.dtype,
                    "shape": entry.shape,
                    "data_offsets": [offset, offset + entry.bytes],
                }),
            );
            offset += entry.bytes;
        }
        let mut text = serde_json::to_vec(&Value::Object(header)).expect("plain data");
        while !text.len().is_multiple_of(8) {
            text.push(b' '); // The data starts on a multiple of 8, as the format recommends.
        }
        let mut file = BufWriter::with_capacity(1 << 20, File::create(path).at("create", path)?);
        file.write_all(&(text.len() as u64).to_le_bytes()).at("write", path)?;
        file.write_all(&text).at("write", path)?;
        Ok(Writer { file, path: path.to_owned() })
    }

    /// Appends data of the current tensor; may be called in pieces.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).at("write", &self.path)
    }

    /// Flushes and syncs.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn finish(self) -> Result<()> {
        let file =
            self.file.into_inner().map_err(std::io::IntoInnerError::into_error).at("write", &self.path)?;
        file.sync_all().at("sync", &self.path)
    }
}

/// Writes tensors that are in memory as f32: name, shape, values.
///
/// # Errors
/// The file cannot be written.
pub fn write_f32(path: &Path, tensors: &[(String, Vec<usize>, &[f32])]) -> Result<()> {
    let entries: Vec<Entry> = tensors
        .iter()
        .map(|(name, shape, values)| Entry {
            name: name.clone(),
            dtype: "F32",
            shape: shape.clone(),
            bytes: 4 * values.len(),
        })
        .collect();
    let mut writer = Writer::create(path, &entries)?;
    for (_, _, values) in tensors {
        writer.write(bytemuck::cast_slice(values))?;
    }
    writer.finish()
}
