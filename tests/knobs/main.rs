//! The options of training, against numbers of PEFT, transformers and torch (`tests/fixtures/train/make.py`).

mod exact;
mod numbers;
mod packing;
mod seen;
mod selection;
mod trajectories;

#[path = "../support/mod.rs"]
mod support;

use olive_core::device::Device;
use olive_data::Sample;
use olive_decoder::Decoder;
use olive_model::{Adapter, ModelFolder};
use olive_train::{AdamWOptions, Trainer, TrainerOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

/// A line for whoever runs the tests with `--nocapture`.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// A file or folder of the fixtures.
fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/train").join(name)
}

fn json(path: &Path) -> serde_json::Value {
    serde_json::from_str(&std::fs::read_to_string(path).expect("a readable fixture")).expect("JSON")
}

/// The tiny Qwen2 of the fixtures.
fn model() -> ModelFolder {
    ModelFolder::open(&fixture("model")).expect("a model folder")
}

/// All tokens count.
fn sample(input_ids: Vec<u32>) -> Sample {
    let labels = input_ids.iter().map(|id| *id as i32).collect();
    Sample { input_ids, labels, ..Sample::default() }
}

fn plain_options() -> TrainerOptions {
    TrainerOptions {
        adamw: AdamWOptions { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.0, fast_ratio: 1.0 },
        max_grad_norm: 1.0,
        dropout: 0.0,
        gradient_checkpointing: false,
        neftune_noise_alpha: 0.0,
        seed: 3,
    }
}

/// A trainer on the fixture's model with the adapter that a trajectory begins with.
fn trainer(case: &str, options: TrainerOptions) -> Trainer {
    let adapter = Adapter::open(&fixture(case).join("init")).expect("an adapter");
    let decoder = Decoder::load(&model(), None, Some(&adapter), &Device::Cpu).expect("a decoder");
    Trainer::new(decoder, options).expect("a trainer")
}

/// Largest difference over largest magnitude.
fn relative(got: &[f32], want: &[f32]) -> f64 {
    assert_eq!(got.len(), want.len());
    let largest = want.iter().fold(0f32, |m, v| m.max(v.abs()));
    let worst = got.iter().zip(want).fold(0f32, |m, (a, b)| {
        assert!(a.is_finite());
        m.max((a - b).abs())
    });
    f64::from(worst) / f64::from(largest)
}

fn values(tensor: &candle_core::Tensor) -> Vec<f32> {
    tensor.flatten_all().and_then(|t| t.to_vec1()).expect("values")
}
