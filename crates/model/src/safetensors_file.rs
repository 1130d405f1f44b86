//! Writing safetensors: header first, then tensor by tensor, so that nothing is held in memory.

use super::ModelError;
use candle_core::DType;
use olive_core::{Result, error::IoContext};
use serde_json::{Map, Value, json};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

/// What the header says of one tensor.
#[derive(Debug, Clone)]
pub struct Entry {
    pub name: String,
    /// The format's type name: `F32`, `BF16`, `F16`, `U8`, …
    pub dtype: &'static str,
    pub shape: Vec<usize>,
    /// Size of the data.
    pub bytes: usize,
}

impl Entry {
    /// That of a tensor of this type.
    ///
    /// # Errors
    /// No file of a model holds such a type.
    pub fn new(name: &str, dtype: DType, shape: &[usize]) -> Result<Entry> {
        let kind = match dtype {
            DType::F32 => "F32",
            DType::F16 => "F16",
            DType::BF16 => "BF16",
            DType::F64 => "F64",
            DType::U8 => "U8",
            DType::U32 => "U32",
            DType::I64 => "I64",
            other => {
                return Err(ModelError::Dtype { name: name.to_owned(), found: other.as_str().into() }.into());
            }
        };
        let bytes = shape.iter().product::<usize>() * dtype.size_in_bytes();
        Ok(Entry { name: name.to_owned(), dtype: kind, shape: shape.to_vec(), bytes })
    }
}

/// Bytes of tensors in one file before another one is begun, as transformers does it.
pub const SHARD: usize = 5_000_000_000;

/// Cuts parts of a model into runs of at most `limit` bytes; a larger part has a run of its own.
pub fn shards<T>(parts: &[T], limit: usize, bytes: impl Fn(&T) -> usize) -> Vec<&[T]> {
    let mut shards = Vec::new();
    let (mut start, mut size) = (0, 0);
    for (i, part) in parts.iter().enumerate() {
        let bytes = bytes(part);
        if size + bytes > limit && i > start {
            shards.push(&parts[start..i]);
            (start, size) = (i, 0);
        }
        size += bytes;
    }
    shards.push(&parts[start..]);
    shards
}

/// Name of the `index`-th (from 0) of `count` files.
pub fn shard_name(index: usize, count: usize) -> String {
    match count {
        1 => "model.safetensors".to_owned(),
        count => format!("model-{:05}-of-{count:05}.safetensors", index + 1),
    }
}

/// Writes the index of a model that lies in several files.
///
/// # Errors
/// The file cannot be written.
pub fn write_index(dir: &Path, weight_map: Map<String, Value>, total_size: usize) -> Result<()> {
    let index = json!({"metadata": {"total_size": total_size}, "weight_map": weight_map});
    let path = dir.join("model.safetensors.index.json");
    let text = serde_json::to_string_pretty(&index).expect("plain data") + "\n";
    std::fs::write(&path, text).at("write", &path)
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
