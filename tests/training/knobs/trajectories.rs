//! Steps of training with rsLoRA, LoRA+, DoRA and whole modules against PEFT and PyTorch; what is merged against what is
//! not.

use crate::support::passes;
use crate::support::training::relative;
use crate::support::trajectory::{Trajectory, fixture_model};
use olive_core::device::Device;
use olive_decoder::Decoder;
use olive_model::{Adapter, ModelFolder, safetensors_file};
use std::path::Path;

fn agrees_with_peft(case: &str) {
    let trajectory = Trajectory::of_fixtures(case);
    let dir = tempfile::tempdir().expect("a folder");
    trajectory.train(dir.path());
    merged_and_not(dir.path(), &trajectory.batches[0], &trajectory.logits);
}

/// The model in float32, so that merging does not round.
fn wide(dir: &Path) {
    let narrow = fixture_model();
    std::fs::copy(narrow.dir.join("config.json"), dir.join("config.json")).expect("copied");
    let checkpoint = narrow.checkpoint().expect("a checkpoint");
    let tensors: Vec<_> = checkpoint
        .tensors()
        .map(|t| (t.name.clone(), t.shape.clone(), t.to_f32().expect("values")))
        .collect();
    let views: Vec<_> = tensors.iter().map(|(n, s, v)| (n.clone(), s.clone(), v.as_slice())).collect();
    safetensors_file::write_f32(&dir.join("model.safetensors"), &views).expect("written");
}

/// Logits with the adapter, step by step through a cache, and after merging it, against PEFT's.
fn merged_and_not(adapter: &Path, ids: &[u32], want: &[f32]) {
    let (base, merged) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    wide(base.path());
    let folder = ModelFolder::open(base.path()).expect("a model");
    let with = Adapter::open(adapter).expect("an adapter");
    let decoder = Decoder::load(&folder, None, Some(&with), &Device::Cpu).expect("a decoder");
    let mut cache = decoder.new_cache(ids.len()).expect("a cache");
    let mut logits = Vec::new();
    for part in ids.chunks(5) {
        logits = decoder.logits(part, &mut cache).expect("logits");
    }
    passes::merge(base.path(), adapter, merged.path()).expect("merged");
    let folder = ModelFolder::open(merged.path()).expect("a model");
    let decoder = Decoder::load(&folder, None, None, &Device::Cpu).expect("a decoder");
    let mut cache = decoder.new_cache(ids.len()).expect("a cache");
    let merged = decoder.logits(ids, &mut cache).expect("logits");
    assert!(relative(&merged, &logits) < 1e-5, "merged is the same as not merged");
    let error = relative(&logits, want);
    assert!(error < 1e-3, "logits are off by {error:.1e}");
}

#[test]
fn rslora_trains_as_in_peft() {
    agrees_with_peft("rslora");
}

#[test]
fn loraplus_trains_as_in_peft() {
    agrees_with_peft("loraplus");
}

#[test]
fn dora_trains_as_in_peft() {
    agrees_with_peft("dora");
}

#[test]
fn dora_and_loraplus_together_train_as_in_peft() {
    agrees_with_peft("dora-loraplus");
}

#[test]
fn whole_modules_train_as_in_peft() {
    agrees_with_peft("whole-modules");
}
