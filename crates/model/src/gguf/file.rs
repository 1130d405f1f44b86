//! A GGUF file as it lies on disk: metadata by key, tensors by name, rows dequantised on demand.

use super::{Found, header};
use crate::mapped_file::MappedFile;
use candle_core::Device;
use candle_core::quantized::GgmlDType;
use candle_core::quantized::ggml_file::qtensor_from_ggml;
use candle_core::quantized::gguf_file::{Content, TensorInfo, Value};
use half::{bf16, f16};
use olive_core::error::without_backtrace;
use std::fs::File;
use std::io::Cursor;
use std::path::Path;

/// Block types are read in place as structures of half-precision numbers.
const ALIGNMENT: usize = 4;

/// A mapped file, its header read and every tensor found to be inside.
pub struct Gguf {
    map: MappedFile,
    content: Content,
}

impl Gguf {
    /// Maps a file, which is called `path` in messages, and reads its header.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn open(file: &File, path: &Path) -> Found<Gguf> {
        let map = MappedFile::open(file, path).map_err(|e| e.to_string())?;
        let declared = header::walk(&map)?;
        let content = Content::read(&mut Cursor::new(&map[..])).map_err(header_fault)?;
        if let Some(declared) = declared {
            let twice = |kept: usize, declared: u64| u64::try_from(kept).ok() != Some(declared);
            if twice(content.tensor_infos.len(), declared.tensors) {
                return Err("it has two tensors of the same name".into());
            }
            if twice(content.metadata.len(), declared.entries) {
                return Err("its metadata has the same key twice".into());
            }
        }
        let gguf = Gguf { map, content };
        if gguf.size("split.count")?.is_some_and(|parts| parts > 1) {
            return Err("it is one part of a model that was split; merge the parts first".into());
        }
        for (name, info) in &gguf.content.tensor_infos {
            gguf.place(info).map_err(|reason| format!("tensor `{name}`: {reason}"))?;
        }
        Ok(gguf)
    }

    /// Names of all tensors, in order.
    pub fn tensor_names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.content.tensor_infos.keys().map(String::as_str).collect();
        names.sort_unstable();
        names
    }

    /// Shape (slowest dimension first) and block type.
    pub fn tensor(&self, name: &str) -> Option<(&[usize], GgmlDType)> {
        self.content.tensor_infos.get(name).map(|info| (info.shape.dims(), info.ggml_dtype))
    }

    /// Elements `start..start + len` of a tensor as f32; both are multiples of the type's block size.
    ///
    /// # Errors
    /// No such tensor or elements, or a block type that cannot be read.
    pub fn read(&self, name: &str, start: usize, len: usize) -> Found<Vec<f32>> {
        let info =
            self.content.tensor_infos.get(name).ok_or_else(|| format!("tensor `{name}` is missing"))?;
        let (block, width) = (info.ggml_dtype.block_size(), info.ggml_dtype.type_size());
        let all = &self.map[self.place(info)?];
        let bytes = all
            .get(start / block * width..(start + len) / block * width)
            .ok_or_else(|| format!("tensor `{name}` is shorter than its shape says"))?;
        let pairs = || bytes.chunks_exact(2).map(|b| [b[0], b[1]]);
        Ok(match info.ggml_dtype {
            GgmlDType::F32 => {
                bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
            }
            GgmlDType::F16 => pairs().map(|b| f16::from_le_bytes(b).to_f32()).collect(),
            GgmlDType::BF16 => pairs().map(|b| bf16::from_le_bytes(b).to_f32()).collect(),
            quantised => qtensor_from_ggml(quantised, bytes, vec![len], &Device::Cpu)
                .and_then(|blocks| blocks.dequantize(&Device::Cpu)?.to_vec1())
                .map_err(|e| format!("tensor `{name}`: {}", without_backtrace(e)))?,
        })
    }

    /// Where the tensor's bytes are in the file.
    fn place(&self, info: &TensorInfo) -> Found<std::ops::Range<usize>> {
        let (block, width) = (info.ggml_dtype.block_size(), info.ggml_dtype.type_size());
        if info.shape.dims().contains(&0) {
            return Err(format!("its shape {:?} holds no values", info.shape.dims()));
        }
        let row = info.shape.dims().last().copied().unwrap_or(1);
        if !row.is_multiple_of(block) {
            return Err(format!("its rows of {row} are not whole blocks of {block}"));
        }
        let size = info.shape.dims().iter().try_fold(1usize, |size, &n| size.checked_mul(n));
        let size = size.and_then(|elements| (elements / block).checked_mul(width));
        let start = usize::try_from(self.content.tensor_data_offset.saturating_add(info.offset)).ok();
        let end = start.zip(size).and_then(|(start, size)| start.checked_add(size));
        match (start, end) {
            (Some(start), _) if !start.is_multiple_of(ALIGNMENT) => {
                Err(format!("it begins at byte {start}, which is not aligned"))
            }
            (Some(start), Some(end)) if end <= self.map.len() => Ok(start..end),
            _ => Err("it reaches beyond the end of the file, which seems cut off".into()),
        }
    }

    fn value(&self, key: &str) -> Option<&Value> {
        self.content.metadata.get(key)
    }

    /// The value as `of` understands it; `wanted` says what that is. Left out is `None`.
    fn understand<'a, T>(
        &'a self,
        key: &str,
        wanted: &str,
        of: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Found<Option<T>> {
        let Some(value) = self.value(key) else { return Ok(None) };
        let ill = || format!("`{key}` is {}, where {wanted} is needed", shown(value));
        of(value).map(Some).ok_or_else(ill)
    }

    pub(super) fn text(&self, key: &str) -> Found<Option<&str>> {
        self.understand(key, "a text", |value| match value {
            Value::String(text) => Some(text.as_str()),
            _ => None,
        })
    }

    pub(super) fn flag(&self, key: &str) -> Found<Option<bool>> {
        self.understand(key, "true or false", |value| match value {
            Value::Bool(flag) => Some(*flag),
            _ => None,
        })
    }

    /// A whole number that is not negative; a list counts if all its entries are the same.
    pub(super) fn size(&self, key: &str) -> Found<Option<usize>> {
        self.understand(key, "a whole number, the same for all layers,", |value| match value {
            Value::Array(list) => {
                let first = whole(list.first()?)?;
                list.iter().all(|value| whole(value) == Some(first)).then_some(first)
            }
            value => whole(value),
        })
    }

    /// The id of a token; a negative number stands for none.
    pub(super) fn id(&self, key: &str) -> Found<Option<usize>> {
        let id = self.understand(key, "the id of a token", |value| match *value {
            Value::I8(..0) | Value::I16(..0) | Value::I32(..0) | Value::I64(..0) => Some(None),
            ref value => whole(value).map(Some),
        });
        Ok(id?.flatten())
    }

    /// A number. One that is stored as f32 becomes the f64 of the same shortest decimals: 1e-5 stays 1e-5.
    pub(super) fn number(&self, key: &str) -> Found<Option<f64>> {
        self.understand(key, "a number", |value| match value {
            Value::F32(value) => value.to_string().parse().ok().filter(|value: &f64| value.is_finite()),
            Value::F64(value) => Some(*value).filter(|value| value.is_finite()),
            value => whole(value).map(|n| n as f64),
        })
    }

    pub(super) fn texts(&self, key: &str) -> Found<Option<Vec<&str>>> {
        self.list(key, "a list of texts", |value| match value {
            Value::String(text) => Some(text.as_str()),
            _ => None,
        })
    }

    pub(super) fn sizes(&self, key: &str) -> Found<Option<Vec<usize>>> {
        self.list(key, "a list of whole numbers", whole)
    }

    /// A list of flags, or of numbers in place of them; `None` for a value that is no list.
    pub(super) fn flags(&self, key: &str) -> Found<Option<Vec<bool>>> {
        if !matches!(self.value(key), Some(Value::Array(_))) {
            return Ok(None);
        }
        self.list(key, "a list of flags", |value| match value {
            Value::Bool(flag) => Some(*flag),
            value => whole(value).map(|n| n != 0),
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
            Value::Array(list) => list.iter().map(of).collect(),
            _ => None,
        })
    }
}

fn whole(value: &Value) -> Option<usize> {
    match *value {
        Value::U8(n) => Some(n.into()),
        Value::U16(n) => Some(n.into()),
        Value::U32(n) => usize::try_from(n).ok(),
        Value::U64(n) => usize::try_from(n).ok(),
        Value::I8(n) => usize::try_from(n).ok(),
        Value::I16(n) => usize::try_from(n).ok(),
        Value::I32(n) => usize::try_from(n).ok(),
        Value::I64(n) => usize::try_from(n).ok(),
        _ => None,
    }
}

/// A value as a message shows it: long ones by their beginning.
fn shown(value: &Value) -> String {
    const LONGEST: usize = 60;
    let text = match value {
        Value::U8(n) => n.to_string(),
        Value::U16(n) => n.to_string(),
        Value::U32(n) => n.to_string(),
        Value::U64(n) => n.to_string(),
        Value::I8(n) => n.to_string(),
        Value::I16(n) => n.to_string(),
        Value::I32(n) => n.to_string(),
        Value::I64(n) => n.to_string(),
        Value::F32(n) => n.to_string(),
        Value::F64(n) => n.to_string(),
        Value::Bool(flag) => flag.to_string(),
        Value::String(text) => format!("{text:?}"),
        Value::Array(list) => {
            let first: Vec<String> = list.iter().take(8).map(shown).collect();
            let more = if list.len() > first.len() { ", …" } else { "" };
            format!("[{}{more}]", first.join(", "))
        }
    };
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// Why the header cannot be read, with the names of block types that candle knows by number only.
fn header_fault(error: candle_core::Error) -> String {
    let text = without_backtrace(error).to_string();
    let number = text.strip_prefix("unknown dtype for tensor ").and_then(|number| number.parse::<u32>().ok());
    match number {
        Some(number) => match UNREADABLE.iter().find(|(known, _)| *known == number) {
            Some((_, name)) => format!("its tensors are of the type {name}, which is not read"),
            None => format!("its tensors are of the type {number}, which is not known"),
        },
        None if text.starts_with("unknown magic") => "it does not begin as a GGUF file does".into(),
        None => text,
    }
}

/// Block types that are not read, by their number in ggml.h.
const UNREADABLE: &[(u32, &str)] = &[
    (16, "IQ2_XXS"),
    (17, "IQ2_XS"),
    (18, "IQ3_XXS"),
    (19, "IQ1_S"),
    (20, "IQ4_NL"),
    (21, "IQ3_S"),
    (22, "IQ2_S"),
    (23, "IQ4_XS"),
    (29, "IQ1_M"),
    (34, "TQ1_0"),
    (35, "TQ2_0"),
    (39, "MXFP4"),
    (40, "NVFP4"),
];
