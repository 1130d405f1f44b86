//! A GGUF file as plain facts, read by what gguf.md says and nothing of the program's.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::Path;

/// Keys as goldens have them, and type, shape and SHA-256 of every tensor.
pub struct File {
    pub keys: BTreeMap<String, Value>,
    pub tensors: BTreeMap<String, (&'static str, Vec<u64>, String)>,
}

/// Names, values of a block and bytes of a block by the number of the type.
fn kind(number: u32) -> (&'static str, u64, u64) {
    match number {
        0 => ("f32", 1, 4),
        1 => ("f16", 1, 2),
        2 => ("q4_0", 32, 18),
        8 => ("q8_0", 32, 34),
        14 => ("q6_K", 256, 210),
        30 => ("bf16", 1, 2),
        other => panic!("type {other}"),
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let taken = self.bytes[self.at..self.at + N].try_into().unwrap();
        self.at += N;
        taken
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take())
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take())
    }

    fn text(&mut self) -> String {
        let length = self.u64() as usize;
        self.at += length;
        String::from_utf8(self.bytes[self.at - length..self.at].to_vec()).unwrap()
    }

    /// Type and value; of lists the type of elements, their count and the hash of their bytes.
    fn value(&mut self, kind: u32) -> Value {
        match kind {
            4 => json!(["u32", self.u32()]),
            5 => json!(["i32", i32::from_le_bytes(self.take())]),
            6 => json!(["f32", f64::from(f32::from_le_bytes(self.take()))]),
            7 => json!(["bool", self.take() == [1]]),
            8 => json!(["str", self.text()]),
            9 => {
                let (kind, count) = (self.u32(), self.u64());
                let start = self.at;
                let elements: Vec<Value> = (0..count).map(|_| self.value(kind)).collect();
                let name = elements.first().map_or(Value::Null, |first| first[0].clone());
                json!(["arr", [name, count, sha256(&self.bytes[start..self.at])]])
            }
            other => panic!("value of type {other}"),
        }
    }
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

impl File {
    pub fn read(path: &Path) -> File {
        let bytes = std::fs::read(path).unwrap();
        let mut reader = Reader { bytes: &bytes, at: 0 };
        assert_eq!((reader.take(), reader.u32()), (*b"GGUF", 3));
        let (tensors, keys) = (reader.u64(), reader.u64());
        let key = |reader: &mut Reader| {
            let name = reader.text();
            let kind = reader.u32();
            (name, reader.value(kind))
        };
        let keys: BTreeMap<String, Value> = (0..keys).map(|_| key(&mut reader)).collect();
        let infos: Vec<(String, Vec<u64>, u32, u64)> = (0..tensors)
            .map(|_| {
                let name = reader.text();
                let shape = (0..reader.u32()).map(|_| reader.u64()).collect();
                (name, shape, reader.u32(), reader.u64())
            })
            .collect();
        let data = reader.at.next_multiple_of(32);
        let mut end = 0;
        let mut read = BTreeMap::new();
        for (name, shape, number, offset) in infos {
            let (label, values, size) = kind(number);
            assert_eq!(offset, end, "{name}: readers insist on dense offsets");
            let length = shape.iter().product::<u64>() / values * size;
            let start = data + offset as usize;
            let hash = sha256(&bytes[start..start + length as usize]);
            end = (offset + length).next_multiple_of(32);
            assert!(read.insert(name, (label, shape, hash)).is_none());
        }
        assert_eq!(bytes.len(), data + end as usize);
        File { keys, tensors: read }
    }
}
