//! The tiny checkpoints of `tests/fixtures`.

use super::binary::root;
use super::shared::folders;
use half::bf16;
use olive_model::ModelFolder;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A file or folder of the fixtures.
pub fn fixture(name: &str) -> PathBuf {
    root().join("tests/fixtures").join(name)
}

/// All families that have something special, in the order of their names; `tests/fixtures/models/make.py` made them.
pub fn families() -> Vec<PathBuf> {
    let all = folders(&fixture("models"));
    assert_eq!(all.len(), 16);
    all
}

/// One of them. Their vocabulary is 128 tokens, their context 256, and they have no tokenizer.
pub fn family(name: &str) -> ModelFolder {
    ModelFolder::open(&fixture("models").join(name)).expect("a model folder")
}

pub fn name(folder: &Path) -> String {
    folder.file_name().expect("a name").display().to_string()
}

pub fn read_json(path: &Path) -> serde_json::Value {
    let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Values of a NumPy file of f32, whatever its shape.
pub fn npy(path: &Path) -> Vec<f32> {
    let bytes = std::fs::read(path).expect("a readable golden");
    let header = u16::from_le_bytes([bytes[8], bytes[9]]) as usize;
    let text = String::from_utf8_lossy(&bytes[10..10 + header]);
    assert!(text.contains("'<f4'") && text.contains("False"), "{text}");
    bytes[10 + header..].chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

/// Stores the tensors of a file, which are in bf16, in f64.
pub fn in_double_precision(path: &Path) {
    let stored = std::fs::read(path).unwrap();
    let doubled: BTreeMap<String, (Vec<usize>, Vec<u8>)> = SafeTensors::deserialize(&stored)
        .unwrap()
        .tensors()
        .into_iter()
        .map(|(name, view)| {
            assert_eq!(view.dtype(), Dtype::BF16);
            let halves = view.data().chunks_exact(2).map(|b| bf16::from_le_bytes([b[0], b[1]]));
            (name, (view.shape().to_vec(), halves.flat_map(|x| x.to_f64().to_le_bytes()).collect()))
        })
        .collect();
    let views = doubled.iter().map(|(name, (shape, bytes))| {
        (name.clone(), TensorView::new(Dtype::F64, shape.clone(), bytes).unwrap())
    });
    safetensors::serialize_to_file(views, None, path).unwrap();
}
