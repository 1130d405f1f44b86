//! Writing safetensors: header first, then tensor by tensor, so that nothing is held in memory.

use super::ModelError;
use super::stored_file::write_json;
use candle_core::DType;
use olive_core::cancel::CancelFlag;
use olive_core::event::{Event, EventSink, Unit};
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
const SHARD: usize = 5_000_000_000;

/// Cuts parts of a model into runs of at most `limit` bytes; a larger part has a run of its own.
fn shards<T>(parts: &[T], limit: usize, bytes: impl Fn(&T) -> usize) -> Vec<&[T]> {
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
fn shard_name(index: usize, count: usize) -> String {
    match count {
        1 => "model.safetensors".to_owned(),
        count => format!("model-{:05}-of-{count:05}.safetensors", index + 1),
    }
}

/// The weights of a model, which become `model.safetensors` in a folder, or several files and their index.
pub struct ModelFiles<'a> {
    pub dir: &'a Path,
    /// What is told of the progress.
    pub phase: &'static str,
    pub cancel: &'a CancelFlag,
    pub events: &'a dyn EventSink,
}

impl ModelFiles<'_> {
    /// Writes the parts in order: what headers say of the tensors of each, and what `write` makes them of.
    ///
    /// # Errors
    /// Those of `write`, a file that cannot be written, an interruption.
    pub fn write<T>(
        &self,
        parts: &[(Vec<Entry>, T)],
        write: &mut dyn FnMut(&T, &mut Writer) -> Result<()>,
    ) -> Result<()> {
        let total = Some(parts.len() as u64);
        self.events.emit(Event::PhaseStarted { phase: self.phase.into(), total, unit: Unit::Tensors });
        let shards = shards(parts, SHARD, |(entries, _)| entries.iter().map(|entry| entry.bytes).sum());
        let (mut weight_map, mut total_size, mut done) = (Map::new(), 0, 0);
        for (index, parts) in shards.iter().enumerate() {
            let file = shard_name(index, shards.len());
            let entries: Vec<Entry> = parts.iter().flat_map(|(entries, _)| entries).cloned().collect();
            for entry in &entries {
                weight_map.insert(entry.name.clone(), Value::from(file.as_str()));
                total_size += entry.bytes;
            }
            let mut writer = Writer::create(&self.dir.join(&file), &entries)?;
            for (_, part) in *parts {
                self.cancel.check()?;
                write(part, &mut writer)?;
                done += 1;
                self.events.emit(Event::PhaseProgress { done });
            }
            writer.finish()?;
        }
        if shards.len() > 1 {
            let index = json!({"metadata": {"total_size": total_size}, "weight_map": weight_map});
            write_json(&self.dir.join("model.safetensors.index.json"), &index)?;
        }
        self.events.emit(Event::PhaseFinished { phase: self.phase.into() });
        Ok(())
    }
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
