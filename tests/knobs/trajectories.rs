//! Steps of training with rsLoRA, LoRA+, DoRA and whole modules against PEFT and PyTorch; what is merged against what is
//! not.

use crate::{fixture, json, model, plain_options, relative, sample, say, trainer, values};
use olive_core::cancel::CancelFlag;
use olive_core::device::Device;
use olive_core::handle::ModelHandle;
use olive_data::MicroBatch;
use olive_decoder::Decoder;
use olive_engine::passes::{MergePass, Pass, RunContext};
use olive_model::{Adapter, Checkpoint, ModelFolder, safetensors_file};
use olive_train::TrainerOptions;
use std::path::Path;

fn numbers(value: &serde_json::Value) -> Vec<f32> {
    value.as_array().expect("a list").iter().map(|v| v.as_f64().expect("a number") as f32).collect()
}

fn agrees_with_peft(case: &str) {
    let golden = json(&fixture(case).join("trajectory.json"));
    let number = |key: &str| golden[key].as_f64();
    let mut options = plain_options();
    options.adamw.weight_decay = number("weight_decay").expect("a number");
    options.adamw.fast_ratio = number("ratio").unwrap_or(1.0);
    let options = TrainerOptions { max_grad_norm: number("clip").expect("a number"), ..options };
    let mut trainer = trainer(case, options);
    let batches: Vec<MicroBatch> = golden["batches"]
        .as_array()
        .expect("batches")
        .iter()
        .map(|ids| MicroBatch::new([(0, &sample(numbers(ids).into_iter().map(|id| id as u32).collect()))]))
        .collect();
    let accumulation = golden["accumulation"].as_u64().expect("a number") as usize;
    let cancel = CancelFlag::default();

    let (_, gradients) = trainer.gradients(&batches[..accumulation], &cancel).expect("gradients");
    let norm = gradients.norm().expect("a norm");
    let reference = Checkpoint::open_file(&fixture(case).join("gradients.safetensors")).expect("tensors");
    let mut worst = 0f64;
    let mut compared = 0;
    for parameter in trainer.decoder.parameters_mut(Some(&gradients)) {
        let names = ["", ".weight", ".modules_to_save.weight"]
            .map(|end| format!("base_model.model.{}{end}", parameter.name));
        let want =
            names.iter().find_map(|name| reference.get(name)).expect("a reference for every parameter");
        let got = values(parameter.gradient.expect("a gradient for every parameter"));
        worst = worst.max(relative(&got, &want.to_f32().expect("values")));
        compared += 1;
    }
    assert_eq!(compared, reference.tensors().count(), "{case}: every gradient");
    assert!(worst < 1e-4, "{case}: gradients are off by {worst:.1e}");
    let want = golden["log"][0]["grad_norm"].as_f64().expect("a number");
    assert!((norm / want - 1.0).abs() < 1e-4, "{case}");

    let (mut loss_error, mut norm_error) = (0f64, 0f64);
    for (step, parts) in golden["log"].as_array().expect("a log").iter().zip(batches.chunks(accumulation)) {
        let report = trainer.step(parts, number("rate").expect("a number"), &cancel).expect("a step");
        loss_error = loss_error.max((report.loss - step["loss"].as_f64().expect("a number")).abs());
        let want = step["grad_norm"].as_f64().expect("a number");
        norm_error = norm_error.max((report.grad_norm / want - 1.0).abs());
    }
    assert!(loss_error < 2e-5, "{case}: losses are off by {loss_error:.1e}");
    assert!(norm_error < 1e-4, "{case}: gradient norms are off by {norm_error:.1e}");

    // The adapter as written and read again is PEFT's.
    let config = Adapter::open(&fixture(case).join("init")).expect("an adapter").config;
    let dir = tempfile::tempdir().expect("a folder");
    trainer.decoder.to_adapter(config).and_then(|a| a.save(dir.path())).expect("saved");
    let written = Checkpoint::open_file(&dir.path().join("adapter_model.safetensors")).expect("tensors");
    let last = fixture(case).join("final/adapter_model.safetensors");
    let reference = Checkpoint::open_file(&last).expect("tensors");
    let mut adapter_error = 0f64;
    for tensor in reference.tensors() {
        let got = written.tensor_of(&tensor.name, &tensor.shape).expect("PEFT's name and shape");
        let (got, want) = (got.to_f32().expect("values"), tensor.to_f32().expect("values"));
        adapter_error = adapter_error.max(relative(&got, &want));
    }
    assert_eq!(written.tensors().count(), reference.tensors().count(), "{case}: every tensor");
    assert!(adapter_error < 1e-3, "{case}: the adapter is off by {adapter_error:.1e}");

    let ids: Vec<u32> = numbers(&golden["batches"][0]).into_iter().map(|id| id as u32).collect();
    let logits_error = merged_and_not(dir.path(), &ids, &numbers(&golden["last_logits"]));
    say(&format!(
        "{case}: gradients {worst:.1e}, losses {loss_error:.1e}, norms {norm_error:.1e}, adapter {adapter_error:.1e}, \
         logits {logits_error:.1e}"
    ));
}

/// The model in float32, so that merging does not round.
fn wide(dir: &Path) {
    let narrow = model();
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
fn merged_and_not(adapter: &Path, ids: &[u32], want: &[f32]) -> f64 {
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
    let cancel = CancelFlag::default();
    let context =
        RunContext { device: Device::Cpu, cancel: &cancel, events: &(), base: None, artefacts: None };
    let input = ModelHandle::HfWithAdapter { base: base.path().into(), adapter: adapter.into() };
    MergePass { options: Default::default() }.run(&input, merged.path(), &context).expect("merged");
    let folder = ModelFolder::open(merged.path()).expect("a model");
    let decoder = Decoder::load(&folder, None, None, &Device::Cpu).expect("a decoder");
    let mut cache = decoder.new_cache(ids.len()).expect("a cache");
    let merged = decoder.logits(ids, &mut cache).expect("logits");
    assert!(relative(&merged, &logits) < 1e-5, "merged is the same as not merged");
    let error = relative(&logits, want);
    assert!(error < 1e-3, "logits are off by {error:.1e}");
    error
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
