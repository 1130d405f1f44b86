//! The file itself: keys, then what tensors there are, then their values, each aligned to 32 bytes (gguf.md of ggml).

use super::matrices::Matrix;
use super::values::{self, rows_at_a_time};
use olive_core::cancel::CancelFlag;
use olive_core::error::IoContext;
use olive_core::event::{Event, EventSink, Unit};
use olive_core::{Result, file};
use olive_model::WeightSource;
use std::io::{BufWriter, Write};
use std::path::Path;

const ALIGNMENT: u64 = 32;
const VERSION: u32 = 3;
const PHASE: &str = "write gguf";

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    pub tensors: usize,
    pub bytes: u64,
}

/// The numbers of types of values.
mod kind {
    pub(super) const U32: u32 = 4;
    pub(super) const I32: u32 = 5;
    pub(super) const F32: u32 = 6;
    pub(super) const BOOL: u32 = 7;
    pub(super) const TEXT: u32 = 8;
    pub(super) const LIST: u32 = 9;
}

/// The keys of a file, as they are stored.
#[derive(Debug, Default)]
pub(super) struct File {
    keys: Vec<u8>,
    count: u64,
}

impl File {
    pub fn text(&mut self, key: &str, value: &str) {
        self.key(key, kind::TEXT);
        push_text(&mut self.keys, value);
    }

    pub fn number(&mut self, key: &str, value: u32) {
        self.key(key, kind::U32);
        self.keys.extend(value.to_le_bytes());
    }

    /// A size. No model has one that is too large.
    pub fn size(&mut self, key: &str, value: usize) {
        self.number(key, u32::try_from(value).unwrap_or(u32::MAX));
    }

    pub fn signed(&mut self, key: &str, value: i32) {
        self.key(key, kind::I32);
        self.keys.extend(value.to_le_bytes());
    }

    pub fn float(&mut self, key: &str, value: f64) {
        self.key(key, kind::F32);
        self.keys.extend((value as f32).to_le_bytes());
    }

    pub fn flag(&mut self, key: &str, value: bool) {
        self.key(key, kind::BOOL);
        self.keys.push(value.into());
    }

    pub fn texts<'t>(&mut self, key: &str, values: impl ExactSizeIterator<Item = &'t str>) {
        self.list(key, kind::TEXT, values.len());
        values.for_each(|value| push_text(&mut self.keys, value));
    }

    pub fn signed_list(&mut self, key: &str, values: &[i32]) {
        self.list(key, kind::I32, values.len());
        values.iter().for_each(|value| self.keys.extend(value.to_le_bytes()));
    }

    pub fn floats(&mut self, key: &str, values: &[f32]) {
        self.list(key, kind::F32, values.len());
        values.iter().for_each(|value| self.keys.extend(value.to_le_bytes()));
    }

    pub fn flags(&mut self, key: &str, values: impl ExactSizeIterator<Item = bool>) {
        self.list(key, kind::BOOL, values.len());
        self.keys.extend(values.map(u8::from));
    }

    fn key(&mut self, key: &str, kind: u32) {
        self.count += 1;
        push_text(&mut self.keys, key);
        self.keys.extend(kind.to_le_bytes());
    }

    fn list(&mut self, key: &str, kind: u32, length: usize) {
        self.key(key, kind::LIST);
        self.keys.extend(kind.to_le_bytes());
        self.keys.extend((length as u64).to_le_bytes());
    }

    /// Everything before the values of tensors.
    fn header(&self, tensors: &[Matrix]) -> Vec<u8> {
        let mut header = b"GGUF".to_vec();
        header.extend(VERSION.to_le_bytes());
        header.extend((tensors.len() as u64).to_le_bytes());
        header.extend(self.count.to_le_bytes());
        header.extend(&self.keys);
        let mut offset = 0_u64;
        for tensor in tensors {
            push_text(&mut header, &tensor.name);
            let dimensions = tensor.dimensions();
            header.extend((dimensions.len() as u32).to_le_bytes());
            dimensions.iter().for_each(|size| header.extend((*size as u64).to_le_bytes()));
            header.extend(tensor.kind.ggml_type().number().to_le_bytes());
            header.extend(offset.to_le_bytes());
            offset += tensor.bytes().next_multiple_of(ALIGNMENT);
        }
        header.resize(header.len().next_multiple_of(ALIGNMENT as usize), 0);
        header
    }

    /// Writes the file by way of another name.
    ///
    /// # Errors
    /// A tensor that cannot be read or stored; a file that cannot be written.
    pub fn write(
        &self,
        path: &Path,
        tensors: &[Matrix],
        weights: &dyn WeightSource,
        cancel: &CancelFlag,
        events: &dyn EventSink,
    ) -> Result<Written> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder).at("create", folder)?;
        let partial = file::partial(folder).at("write", path)?;
        let mut out = BufWriter::with_capacity(1 << 20, partial.as_file());
        let header = self.header(tensors);
        out.write_all(&header).at("write", path)?;
        let total = tensors.iter().map(Matrix::bytes).sum();
        events.emit(Event::PhaseStarted { phase: PHASE.into(), total: Some(total), unit: Unit::Bytes });
        let mut written = header.len() as u64;
        let mut done = 0;
        for tensor in tensors {
            let mut from = 0;
            while from < tensor.row_count() {
                cancel.check()?;
                let to = (from + rows_at_a_time(tensor)).min(tensor.row_count());
                let bytes = values::encoded(tensor, from..to, weights)?;
                out.write_all(&bytes).at("write", path)?;
                done += bytes.len() as u64;
                events.emit(Event::PhaseProgress { done });
                from = to;
            }
            let padding = tensor.bytes().next_multiple_of(ALIGNMENT) - tensor.bytes();
            out.write_all(&[0; ALIGNMENT as usize][..padding as usize]).at("write", path)?;
            written += tensor.bytes() + padding;
        }
        out.flush().at("write", path)?;
        drop(out);
        partial.persist(path).map_err(|error| error.error).at("write", path)?;
        events.emit(Event::PhaseFinished { phase: PHASE.into() });
        Ok(Written { tensors: tensors.len(), bytes: written })
    }
}

fn push_text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend((text.len() as u64).to_le_bytes());
    bytes.extend(text.as_bytes());
}
