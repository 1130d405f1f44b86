//! A GGUF file as it lies on disk: metadata by key, tensors by name, rows dequantised on demand.

use super::Found;
use super::header::{self, Header, TensorInfo};
use super::value::Value;
use crate::mapped_file::MappedFile;
use olive_kernels::quant::ggml::GgmlType;
use std::fs::File;
use std::path::Path;

/// A mapped file, its header read and every tensor found to be inside.
pub struct Gguf {
    map: MappedFile,
    header: Header,
}

impl Gguf {
    /// Maps a file, which is called `path` in messages, and reads its header.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn open(file: &File, path: &Path) -> Found<Gguf> {
        let map = MappedFile::open(file, path).map_err(|e| e.to_string())?;
        let gguf = Gguf { header: header::read(&map)?, map };
        if gguf.size("split.count")?.is_some_and(|parts| parts > 1) {
            return Err("it is one part of a model that was split; merge the parts first".into());
        }
        for (name, info) in &gguf.header.tensors {
            gguf.place(info).map_err(|reason| format!("tensor `{name}`: {reason}"))?;
        }
        Ok(gguf)
    }

    /// Names of all tensors, in order.
    pub fn tensor_names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.header.tensors.keys().map(String::as_str).collect();
        names.sort_unstable();
        names
    }

    /// Shape (slowest dimension first) and type.
    pub fn tensor(&self, name: &str) -> Option<(&[usize], GgmlType)> {
        self.header.tensors.get(name).map(|info| (&info.shape[..], info.kind))
    }

    /// Elements `start..start + len` of a tensor as f32; both are multiples of the type's block size.
    ///
    /// # Errors
    /// No such tensor or elements.
    pub fn read(&self, name: &str, start: usize, len: usize) -> Found<Vec<f32>> {
        let blocks = self.blocks(name, start, len)?;
        let mut values = vec![0.0; len];
        if let Some((_, kind)) = self.tensor(name) {
            kind.decode(blocks, &mut values);
        }
        Ok(values)
    }

    /// The same elements as they lie in the file.
    ///
    /// # Errors
    /// As [`Gguf::read`].
    pub(super) fn blocks(&self, name: &str, start: usize, len: usize) -> Found<&[u8]> {
        let info = self.header.tensors.get(name).ok_or_else(|| format!("tensor `{name}` is missing"))?;
        let (block, width) = (info.kind.block_values(), info.kind.block_bytes());
        self.map[self.place(info)?]
            .get(start / block * width..(start + len) / block * width)
            .ok_or_else(|| format!("tensor `{name}` is shorter than its shape says"))
    }

    /// Where the tensor's bytes are in the file.
    fn place(&self, info: &TensorInfo) -> Found<std::ops::Range<usize>> {
        let (block, width) = (info.kind.block_values(), info.kind.block_bytes());
        let shape = &info.shape;
        if shape.contains(&0) {
            return Err(format!("its shape {shape:?} holds no values"));
        }
        let row = shape.last().copied().unwrap_or(1);
        if !row.is_multiple_of(block) {
            return Err(format!("its rows of {row} are not whole blocks of {block}"));
        }
        let size = shape.iter().try_fold(1usize, |size, &n| size.checked_mul(n));
        let size = size.and_then(|elements| (elements / block).checked_mul(width));
        let start = usize::try_from(self.header.data.saturating_add(info.offset)).ok();
        let end = start.zip(size).and_then(|(start, size)| start.checked_add(size));
        match (start, end) {
            (Some(start), Some(end)) if end <= self.map.len() => Ok(start..end),
            _ => Err("it reaches beyond the end of the file, which seems cut off".into()),
        }
    }

    fn value(&self, key: &str) -> Option<&Value> {
        self.header.metadata.get(key)
    }

    /// The value as `of` understands it; `wanted` says what that is. Left out is `None`.
    fn understand<'a, T>(
        &'a self,
        key: &str,
        wanted: &str,
        of: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Found<Option<T>> {
        let Some(value) = self.value(key) else { return Ok(None) };
        let ill = || format!("`{key}` is {}, where {wanted} is needed", value.shown());
        of(value).map(Some).ok_or_else(ill)
    }

    pub(super) fn text(&self, key: &str) -> Found<Option<&str>> {
        self.understand(key, "a text", |value| match value {
            Value::Text(text) => Some(text.as_str()),
            _ => None,
        })
    }

    pub(super) fn flag(&self, key: &str) -> Found<Option<bool>> {
        self.understand(key, "true or false", |value| match value {
            Value::Flag(flag) => Some(*flag),
            _ => None,
        })
    }

    /// A whole number that is not negative; a list counts if all its entries are the same.
    pub(super) fn size(&self, key: &str) -> Found<Option<usize>> {
        self.understand(key, "a whole number, the same for all layers,", |value| match value {
            Value::List(list) => {
                let first = list.first()?.whole()?;
                list.iter().all(|value| value.whole() == Some(first)).then_some(first)
            }
            value => value.whole(),
        })
    }

    /// The id of a token; a negative number stands for none.
    pub(super) fn id(&self, key: &str) -> Found<Option<usize>> {
        let id = self.understand(key, "the id of a token", |value| match value {
            Value::Negative(_) => Some(None),
            value => value.whole().map(Some),
        });
        Ok(id?.flatten())
    }

    /// A number. One that is stored as f32 becomes the f64 of the same shortest decimals: 1e-5 stays 1e-5.
    pub(super) fn number(&self, key: &str) -> Found<Option<f64>> {
        self.understand(key, "a number", |value| match value {
            Value::F32(value) => value.to_string().parse().ok().filter(|value: &f64| value.is_finite()),
            Value::F64(value) => Some(*value).filter(|value| value.is_finite()),
            value => value.whole().map(|n| n as f64),
        })
    }

    pub(super) fn texts(&self, key: &str) -> Found<Option<Vec<&str>>> {
        self.list(key, "a list of texts", |value| match value {
            Value::Text(text) => Some(text.as_str()),
            _ => None,
        })
    }

    pub(super) fn sizes(&self, key: &str) -> Found<Option<Vec<usize>>> {
        self.list(key, "a list of whole numbers", Value::whole)
    }

    /// A list of flags, or of numbers in place of them; `None` for a value that is no list.
    pub(super) fn flags(&self, key: &str) -> Found<Option<Vec<bool>>> {
        if !matches!(self.value(key), Some(Value::List(_))) {
            return Ok(None);
        }
        self.list(key, "a list of flags", |value| match value {
            Value::Flag(flag) => Some(*flag),
            value => value.whole().map(|n| n != 0),
        })
    }

    pub(super) fn numbers(&self, key: &str) -> Found<Option<Vec<f32>>> {
        self.list(key, "a list of numbers", |value| match value {
            Value::F32(value) => Some(*value).filter(|value| value.is_finite()),
            _ => None,
        })
    }

    fn list<'a, T>(
        &'a self,
        key: &str,
        wanted: &str,
        of: impl Fn(&'a Value) -> Option<T>,
    ) -> Found<Option<Vec<T>>> {
        self.understand(key, wanted, |value| match value {
            Value::List(list) => list.iter().map(of).collect(),
            _ => None,
        })
    }
}
