//! Tiny checkpoints of families that have something special, against the logits that transformers gives for them:
//! our float decoder, and our fp32 ONNX model in ONNX Runtime.

mod runtime_support;

use candle_core::Device as Cpu;
use olive::decoder::{Continuation, Decoder, NextLogits};
use olive::device::Device;
use olive::model::ModelFolder;
use olive::runtime::{CacheMode, OnnxSession};
use runtime_support::{library, olive};
use std::path::{Path, PathBuf};

const TOLERANCE: f32 = 1e-4;

/// Tokens that are read at once before the others follow one by one. More than a window, less than LongRoPE's original
/// context, whose end the model must pass while it generates.
const PROMPT: usize = 20;

fn families() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/models");
    let mut all: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).filter(|path| path.is_dir()).collect();
    all.sort();
    assert!(all.len() >= 7);
    all
}

/// Token ids, and the logits after each of them.
fn reference(family: &Path) -> (Vec<u32>, Vec<Vec<f32>>) {
    let tensors = candle_core::safetensors::load(family.join("logits.safetensors"), &Cpu::Cpu).unwrap();
    let ids: Vec<i64> = tensors["ids"].to_vec1().unwrap();
    (ids.into_iter().map(|id| id as u32).collect(), tensors["logits"].to_vec2().unwrap())
}

/// The largest difference over all positions from the end of the prompt on.
fn largest_difference(model: &mut dyn NextLogits, family: &Path, count: usize) -> f32 {
    let (ids, want) = reference(family);
    let mut fed = 0;
    let mut largest = 0.0f32;
    for end in PROMPT..=count.min(ids.len()) {
        let got = model.feed(&ids[fed..end]).unwrap();
        fed = end;
        assert_eq!(got.len(), want[end - 1].len());
        largest = got.iter().zip(&want[end - 1]).fold(largest, |most, (a, b)| most.max((a - b).abs()));
    }
    largest
}

#[test]
fn float_logits_are_those_of_transformers() {
    for family in families() {
        let folder = ModelFolder::open(&family).unwrap();
        let decoder = Decoder::load(&folder, None, None, &Device::Cpu).unwrap();
        let difference = largest_difference(&mut Continuation::new(decoder).unwrap(), &family, usize::MAX);
        println!("{}: float differs by {difference:.1e}", family.file_name().unwrap().display());
        assert!(difference <= TOLERANCE, "{}: {difference}", family.display());
    }
}

#[test]
fn onnx_logits_are_those_of_transformers() {
    let library = library();
    for family in families() {
        let name = family.file_name().unwrap().display().to_string();
        let temp = tempfile::tempdir().unwrap();
        let config = temp.path().join("config.json");
        let json = serde_json::json!({
            "input_model": {"type": "HfModel", "model_path": family},
            "passes": {"builder": {"type": "ModelBuilder", "precision": "fp32"}},
            "cache_dir": temp.path().join("cache"), "output_dir": temp.path().join("onnx"),
        });
        std::fs::write(&config, json.to_string()).unwrap();
        let run = olive().arg("run").arg("--config").arg(&config).output().unwrap();
        assert!(run.status.success(), "{name}: {}", String::from_utf8_lossy(&run.stderr));
        let mut session =
            OnnxSession::open(&temp.path().join("onnx"), None, &library, CacheMode::Auto).unwrap();
        // A graph has the keys of earlier positions as they were rotated then, so LongRoPE is compared up to where
        // its factors change.
        let original =
            ModelFolder::open(&family).unwrap().config["original_max_position_embeddings"].as_u64();
        let count = original.map_or(usize::MAX, |n| n as usize);
        let difference = largest_difference(&mut session, &family, count);
        println!("{name}: ONNX differs by {difference:.1e}");
        assert!(difference <= TOLERANCE, "{name}: {difference}");
    }
}
