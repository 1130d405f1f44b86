//! The logits of our float decoder against those of candle's own models: implementations that share nothing with ours
//! but tensors.

use candle_core::{DType, Device as Cpu, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::{gemma, llama, mistral};
use olive_core::device::Device;
use olive_decoder::{Decoder, LanguageModel};
use olive_model::ModelFolder;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

const TOLERANCE: f32 = 1e-4;

fn folder(family: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/models").join(family)
}

/// The configuration as transformers wrote it before version 5, which is what candle reads.
fn config(family: &str) -> Value {
    let text = std::fs::read_to_string(folder(family).join("config.json")).unwrap();
    let mut config: Value = serde_json::from_str(&text).unwrap();
    let rope = config["rope_parameters"].take();
    config["rope_theta"] = rope["rope_theta"].clone();
    config["rope_scaling"] = if rope["rope_type"] == "default" { Value::Null } else { rope };
    config["use_flash_attn"] = json!(false);
    config
}

fn weights(family: &str) -> VarBuilder<'static> {
    let bytes = std::fs::read(folder(family).join("model.safetensors")).unwrap();
    VarBuilder::from_buffered_safetensors(bytes, DType::F32, &Cpu::Cpu).unwrap()
}

/// Compares the logits after every token; `theirs` gets the tokens up to and with it, at once.
fn compare(family: &str, mut theirs: impl FnMut(&Tensor) -> candle_core::Result<Tensor>) {
    let model = ModelFolder::open(&folder(family)).unwrap();
    let vocab = config(family)["vocab_size"].as_u64().unwrap() as u32;
    let ids: Vec<u32> = (0..48).map(|i| (i * i * 7 + 5) % vocab).collect();
    let decoder = Decoder::load(&model, None, None, &Device::Cpu).unwrap();
    let mut ours = decoder.new_sequence().unwrap();
    for end in 1..=ids.len() {
        let got = decoder.feed(&mut ours, &ids[end - 1..end]).unwrap();
        let input = Tensor::new(&ids[..end], &Cpu::Cpu).unwrap().unsqueeze(0).unwrap(); // [1, end]
        let want: Vec<f32> =
            theirs(&input).unwrap().to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1().unwrap();
        assert_eq!(got.len(), want.len(), "{family}");
        let largest = got.iter().zip(&want).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(largest <= TOLERANCE, "{family}: after {end} tokens logits differ by {largest}");
        assert!(want.iter().any(|logit| logit.abs() > 0.1), "{family}: logits that say nothing");
    }
}

#[test]
fn llama() {
    let config: llama::LlamaConfig = serde_json::from_value(config("llama31")).unwrap();
    assert!(config.rope_scaling.is_some());
    let config = config.into_config(false);
    let model = llama::Llama::load(weights("llama31"), &config).unwrap();
    compare("llama31", |ids| {
        let mut cache = llama::Cache::new(false, DType::F32, &config, &Cpu::Cpu)?;
        model.forward(ids, 0, &mut cache)
    });
}

#[test]
fn mistral_with_its_window() {
    let mut config: mistral::Config = serde_json::from_value(config("mistral")).unwrap();
    assert_eq!(config.sliding_window, Some(8));
    // Of transformers' window the token itself is part, of candle's it is not.
    config.sliding_window = Some(7);
    let mut model = mistral::Model::new(&config, weights("mistral")).unwrap();
    compare("mistral", |ids| {
        model.clear_kv_cache();
        model.forward(ids, 0)
    });
}

#[test]
fn gemma() {
    let config: gemma::Config = serde_json::from_value(config("gemma")).unwrap();
    let mut model = gemma::Model::new(false, &config, weights("gemma")).unwrap();
    compare("gemma", |ids| {
        model.clear_kv_cache();
        model.forward(ids, 0)
    });
}
