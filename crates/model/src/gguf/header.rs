//! What a GGUF file says before its tensors' values: metadata by key, tensors by name.
//!
//! The format is that of gguf.md in ggml's documentation, versions 1 to 3. Nothing is allocated for a count before the bytes
//! that it promises are there.

use super::Found;
use super::value::Value;
use olive_kernels::quant::ggml::GgmlType;
use std::collections::HashMap;

const ALIGNMENT_KEY: &str = "general.alignment";
const DEFAULT_ALIGNMENT: u64 = 32;
/// ggml's tensors have no more.
const MOST_DIMENSIONS: u32 = 4;
/// Lists in lists that are followed.
const DEPTH: usize = 8;

/// Tensor types that are not read, by their number in ggml.h.
const UNREADABLE: &[(u32, &str)] = &[
    (9, "Q8_1"),
    (15, "Q8_K"),
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

pub(super) struct Header {
    pub(super) metadata: HashMap<String, Value>,
    pub(super) tensors: HashMap<String, TensorInfo>,
    /// Where the values of tensors begin, in bytes of the file.
    pub(super) data: u64,
}

pub(super) struct TensorInfo {
    pub(super) kind: GgmlType,
    /// Slowest dimension first.
    pub(super) shape: Vec<usize>,
    /// In bytes, from where the values of tensors begin.
    pub(super) offset: u64,
}

/// # Errors
/// What is wrong with the file.
pub(super) fn read(file: &[u8]) -> Found<Header> {
    let mut reader = Reader::begin(file)?;
    let (tensors, entries) = (reader.length()?, reader.length()?);
    let metadata = reader.metadata(entries)?;
    let tensors = reader.tensors(tensors)?;
    let alignment = match metadata.get(ALIGNMENT_KEY) {
        Some(Value::Unsigned(0)) => return Err(format!("its `{ALIGNMENT_KEY}` is 0")),
        Some(Value::Unsigned(alignment)) => *alignment,
        _ => DEFAULT_ALIGNMENT,
    };
    let end = (file.len() - reader.rest.len()) as u64;
    // Beyond the end of any file where there is no such multiple.
    let data = end.checked_next_multiple_of(alignment).unwrap_or(u64::MAX);
    Ok(Header { metadata, tensors, data })
}

struct Reader<'a> {
    rest: &'a [u8],
    lengths: Lengths,
}

/// How lengths, counts and dimensions are stored.
#[derive(Clone, Copy)]
enum Lengths {
    /// In the first version of the format.
    U32,
    U64,
}

impl<'a> Reader<'a> {
    fn begin(file: &'a [u8]) -> Found<Reader<'a>> {
        let rest = file.strip_prefix(b"GGUF").ok_or("it does not begin as a GGUF file does")?;
        let mut reader = Reader { rest, lengths: Lengths::U64 };
        match reader.u32()? {
            1 => reader.lengths = Lengths::U32,
            2 | 3 => {}
            version if matches!(version.swap_bytes(), 1..=3) => {
                return Err("its numbers are big-endian, which is not read".into());
            }
            version => return Err(format!("it is of version {version} of the format; 1 to 3 are read")),
        }
        Ok(reader)
    }

    fn metadata(&mut self, entries: u64) -> Found<HashMap<String, Value>> {
        let mut metadata = HashMap::new();
        for _ in 0..entries {
            let key = self.text()?;
            let kind = self.u32()?;
            let value = self.value(kind, DEPTH).map_err(|reason| format!("`{key}`: {reason}"))?;
            if metadata.insert(key, value).is_some() {
                return Err("its metadata has the same key twice".into());
            }
        }
        Ok(metadata)
    }

    fn tensors(&mut self, count: u64) -> Found<HashMap<String, TensorInfo>> {
        let mut tensors = HashMap::new();
        for _ in 0..count {
            let name = self.text()?;
            let info = self.tensor().map_err(|reason| format!("tensor `{name}`: {reason}"))?;
            if tensors.insert(name, info).is_some() {
                return Err("it has two tensors of the same name".into());
            }
        }
        Ok(tensors)
    }

    fn tensor(&mut self) -> Found<TensorInfo> {
        let dimensions = self.u32()?;
        if dimensions > MOST_DIMENSIONS {
            return Err(format!("it has {dimensions} dimensions, where {MOST_DIMENSIONS} are the most"));
        }
        let mut shape = Vec::new();
        for _ in 0..dimensions {
            let size = self.length()?;
            shape.push(usize::try_from(size).map_err(|_| format!("its dimension of {size} is too large"))?);
        }
        // The fastest one is first in the file.
        shape.reverse();
        let number = self.u32()?;
        let kind = GgmlType::of_number(number).ok_or_else(|| {
            match UNREADABLE.iter().find(|(known, _)| *known == number) {
                Some((_, name)) => format!("it is of the type {name}, which is not read"),
                None => format!("it is of the type {number}, which is not known"),
            }
        })?;
        Ok(TensorInfo { kind, shape, offset: u64::from_le_bytes(self.array()?) })
    }

    /// A value of the metadata, by the number of its type.
    fn value(&mut self, kind: u32, depth: usize) -> Found<Value> {
        Ok(match kind {
            0 => Value::Unsigned(self.array().map(u8::from_le_bytes)?.into()),
            1 => Value::of_signed(self.array().map(i8::from_le_bytes)?.into()),
            2 => Value::Unsigned(self.array().map(u16::from_le_bytes)?.into()),
            3 => Value::of_signed(self.array().map(i16::from_le_bytes)?.into()),
            4 => Value::Unsigned(self.u32()?.into()),
            5 => Value::of_signed(self.array().map(i32::from_le_bytes)?.into()),
            6 => Value::F32(self.array().map(f32::from_le_bytes)?),
            7 => match self.array()? {
                [0] => Value::Flag(false),
                [1] => Value::Flag(true),
                [other] => return Err(format!("{other} is neither true nor false")),
            },
            8 => Value::Text(self.text()?),
            9 if depth > 0 => {
                let (kind, length) = (self.u32()?, self.length()?);
                Value::List((0..length).map(|_| self.value(kind, depth - 1)).collect::<Found<_>>()?)
            }
            9 => return Err("it has lists in lists, too many to follow".into()),
            10 => Value::Unsigned(self.array().map(u64::from_le_bytes)?),
            11 => Value::of_signed(self.array().map(i64::from_le_bytes)?),
            12 => Value::F64(self.array().map(f64::from_le_bytes)?),
            other => return Err(format!("values of the type {other} are not known")),
        })
    }

    /// Some files end their texts with zeros, and some hold bytes that are no text.
    fn text(&mut self) -> Found<String> {
        let length = usize::try_from(self.length()?).map_err(|_| CUT)?;
        let (text, rest) = self.rest.split_at_checked(length).ok_or(CUT)?;
        self.rest = rest;
        let end = text.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        Ok(String::from_utf8_lossy(&text[..end]).into_owned())
    }

    fn length(&mut self) -> Found<u64> {
        match self.lengths {
            Lengths::U32 => Ok(self.u32()?.into()),
            Lengths::U64 => Ok(u64::from_le_bytes(self.array()?)),
        }
    }

    fn u32(&mut self) -> Found<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn array<const LENGTH: usize>(&mut self) -> Found<[u8; LENGTH]> {
        let (array, rest) = self.rest.split_first_chunk().ok_or(CUT)?;
        self.rest = rest;
        Ok(*array)
    }
}

const CUT: &str = "its header reaches beyond the end of the file, which seems cut off";

#[cfg(test)]
mod tests {
    use super::*;

    fn number(number: u32) -> Vec<u8> {
        number.to_le_bytes().into()
    }

    fn length(length: u64) -> Vec<u8> {
        length.to_le_bytes().into()
    }

    fn text(text: &str) -> Vec<u8> {
        [length(text.len() as u64), text.into()].concat()
    }

    /// A file of version 3.
    fn file(tensors: u64, entries: u64, rest: &[Vec<u8>]) -> Vec<u8> {
        [b"GGUF".into(), number(3), length(tensors), length(entries), rest.concat()].concat()
    }

    #[test]
    fn entries_and_tensors_are_read() {
        let entry = [text("key\0\0"), number(9), number(5), length(2), number(7), number(u32::MAX)].concat();
        let aligned = [text(ALIGNMENT_KEY), number(4), number(64)].concat();
        let tensor = [text("t"), number(2), length(32), length(3), number(8), length(128)].concat();
        let bytes = file(1, 2, &[entry, aligned, tensor]);
        let header = read(&bytes).unwrap();
        assert_eq!(header.metadata["key"].shown(), "[7, -1]");
        let TensorInfo { kind, shape, offset } = &header.tensors["t"];
        assert_eq!((*kind, &shape[..], *offset), (GgmlType::Q8_0, &[3, 32][..], 128));
        assert_eq!(header.data, bytes.len().next_multiple_of(64) as u64);
    }

    /// The first version stores lengths and dimensions in four bytes.
    #[test]
    fn the_first_version_is_read() {
        let key = [number(1), b"k".into(), number(8), number(2), b"ab".into()].concat();
        let tensor = [number(1), b"t".into(), number(1), number(4), number(0), length(0)].concat();
        let bytes = [b"GGUF".into(), number(1), number(1), number(1), key, tensor].concat();
        let header = read(&bytes).unwrap();
        assert_eq!(header.metadata["k"].shown(), "\"ab\"");
        assert_eq!(header.tensors["t"].shape, [4]);
        assert_eq!(header.data, bytes.len().next_multiple_of(32) as u64);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let flag = |value: u8| [text("f"), number(7), vec![value]].concat();
        let tensor = |dimensions: u32| [text("t"), number(dimensions), number(0), length(0)].concat();
        let lists = [number(9), length(1)].concat().repeat(DEPTH + 1);
        for (bytes, reason) in [
            (b"GGU".to_vec(), "does not begin as a GGUF file"),
            ([b"GGUF".into(), number(4)].concat(), "version 4"),
            ([b"GGUF".to_vec(), 3u32.to_be_bytes().into()].concat(), "big-endian"),
            (file(0, u64::MAX, &[]), "cut off"),
            (file(0, 1, &[length(u64::MAX)]), "cut off"),
            (file(0, 1, &[text("k"), number(9), number(4), length(u64::MAX)]), "`k`: its header reaches"),
            (file(0, 1, &[text("k"), number(9), lists]), "lists in lists"),
            (file(0, 1, &[text("k"), number(13)]), "the type 13"),
            (file(0, 1, &[flag(2)]), "`f`: 2 is neither true nor false"),
            (file(0, 2, &[flag(0), flag(1)]), "the same key twice"),
            (file(2, 0, &[tensor(0), tensor(0)]), "two tensors of the same name"),
            (file(1, 0, &[tensor(5)]), "tensor `t`: it has 5 dimensions"),
            (file(1, 0, &[text("t"), number(0), number(9), length(0)]), "the type Q8_1, which is not read"),
            (file(0, 1, &[text(ALIGNMENT_KEY), number(4), number(0)]), "is 0"),
        ] {
            let said = read(&bytes).err().unwrap_or_else(|| panic!("nothing instead of {reason}"));
            assert!(said.contains(reason), "{said}");
        }
    }
}
