//! Quantisers against codes that the reference chose from recorded moments.

use crate::support::shared::{say, shared};
use candle_core::Device;
use olive_core::cancel::CancelFlag;
use olive_data::{Dataset, Sample};
use olive_decoder::Decoder;
use olive_kernels::quant::gptq::{Corrections, Order};
use olive_kernels::quant::{FloatType, Scheme};
use olive_model::ModelFolder;
use olive_quantise::calibration_batch::Together;
use olive_quantise::{CalibrationBatch, Gptq, Sensitivity, divergence_scores};
use safetensors::{SafeTensors, tensor::TensorView};
use std::collections::BTreeMap;
use std::path::Path;

fn floats(view: &TensorView) -> Vec<f32> {
    let bytes = view.data();
    match view.dtype() {
        safetensors::Dtype::F32 => bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
        safetensors::Dtype::BF16 => {
            bytes.as_chunks().0.iter().map(|b| half::bf16::from_le_bytes(*b).to_f32()).collect()
        }
        safetensors::Dtype::F16 => {
            bytes.as_chunks().0.iter().map(|b| half::f16::from_le_bytes(*b).to_f32()).collect()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn gptq_chooses_the_codes_of_the_reference() {
    for arch in ["llama", "qwen3", "phi3"] {
        let Some(base) = shared("goldens") else { return };
        let dir = base.join("passes").join(arch);
        let model = base.join("models").join(arch).join("hf/model.safetensors");
        let model = std::fs::read(model).unwrap();
        let model = SafeTensors::deserialize(&model).unwrap();
        for (case, group, damping, order) in [
            ("gptq-float32", Some(32), 0.01, Order::AsTheyStand),
            ("gptq-channel-float32", None, 0.05, Order::ByActivation),
        ] {
            let Ok(hessians) = std::fs::read(dir.join("gptq-float32/hessians.safetensors")) else { continue };
            let hessians = SafeTensors::deserialize(&hessians).unwrap();
            let Ok(golden) = std::fs::read(dir.join(case).join("model.safetensors")) else { continue };
            let golden = SafeTensors::deserialize(&golden).unwrap();
            let scheme = Scheme { bits: 4, group, symmetric: false, float: FloatType::F32 };
            let (mut all, mut other, mut far) = (0, 0, 0.0f32);
            let modules: &[&str] = if arch == "phi3" {
                &["self_attn.qkv_proj", "self_attn.o_proj", "mlp.gate_up_proj", "mlp.down_proj"]
            } else {
                &[
                    "self_attn.q_proj",
                    "self_attn.k_proj",
                    "self_attn.v_proj",
                    "self_attn.o_proj",
                    "mlp.gate_proj",
                    "mlp.up_proj",
                    "mlp.down_proj",
                ]
            };
            let mut index = 0;
            for layer in 0..2 {
                for module in modules {
                    let name = format!("model.layers.{layer}.{module}");
                    let moments = floats(&hessians.tensor(&format!("H_{index}")).unwrap());
                    index += 1;
                    if layer > 0 && group.is_none() {
                        continue;
                    }
                    let mut weights = floats(&model.tensor(&format!("{name}.weight")).unwrap());
                    let corrections = Corrections::new(moments, damping, order).unwrap();
                    let chosen = corrections.quantise(&mut weights, scheme);
                    let want = golden.tensor(&format!("{name}.qweight")).unwrap();
                    let codes = want.data().iter().flat_map(|byte| [byte & 15, byte >> 4]);
                    all += chosen.codes.len();
                    other += codes.zip(&chosen.codes).filter(|(a, b)| a != *b).count();
                    let scales = floats(&golden.tensor(&format!("{name}.scales")).unwrap());
                    assert_eq!(scales.len(), chosen.grids.len());
                    for (want, got) in scales.iter().zip(&chosen.grids) {
                        far = far.max((want - got.scale).abs() / want);
                    }
                }
            }
            say(&format!("{arch} {case}: {other} of {all} codes differ, scales by {far:.1e}"));
            assert!(all > 0 && other * 1000 <= all && far < 1e-6);
        }
    }
}

fn scheme(bits: u8) -> Scheme {
    Scheme { bits, group: Some(32), symmetric: false, float: FloatType::F32 }
}

/// The samples that the reference was given.
fn calibration(dir: &Path) -> Dataset {
    let bytes = std::fs::read(dir.join("calibration.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let sample = |i: usize| {
        let view = tensors.tensor(&format!("input_ids_{i}")).unwrap();
        let ids: Vec<u32> = view.data().as_chunks().0.iter().map(|b| i64::from_le_bytes(*b) as u32).collect();
        Sample {
            labels: vec![-100; ids.len()],
            input_ids: ids,
            weights: None,
            attention_mask: None,
            documents: None,
        }
    };
    let samples: Vec<Sample> = (0..tensors.len()).map(sample).collect();
    Dataset { rows: samples.len(), samples }
}

#[test]
fn scores_of_sensitivity_are_those_of_the_reference() {
    for arch in ["llama", "qwen3", "phi3"] {
        let Some(base) = shared("goldens") else { return };
        let dir = base.join("passes").join(arch);
        let folder = ModelFolder::open(&base.join("models").join(arch).join("hf")).unwrap();
        let (cancel, events) = (CancelFlag::default(), ());
        let load = || Decoder::load(&folder, None, None, &Device::Cpu).unwrap();
        let (float, checkpoint) = (load(), folder.checkpoint().unwrap());
        let of = Sensitivity {
            float: &float,
            checkpoint: &checkpoint,
            low: scheme(4),
            high: scheme(8),
            cancel: &cancel,
            events: &events,
        };
        let batches = CalibrationBatch::of(&calibration(&dir), Together::OfOneLength);
        let got: BTreeMap<_, _> = divergence_scores(&of, load(), &batches).unwrap().into_iter().collect();
        let scores: serde_json::Value =
            serde_json::from_slice(&std::fs::read(dir.join("scores.json")).unwrap()).unwrap();
        let scores = &scores["kld_gradient-float32"];
        let mut far = 0.0f64;
        for (unit, want) in scores["scores"].as_object().unwrap() {
            let sum: f64 = unit.split('+').map(|module| got[module]).sum();
            let score = -sum / (scores["numels"][unit].as_f64().unwrap() / 1e6);
            far = far.max((score / want.as_f64().unwrap() - 1.0).abs());
        }
        say(&format!("{arch}: scores by {far:.1e}"));
        assert!(far < 1e-4);
    }
}

#[test]
fn gptq_layer_by_layer_chooses_the_codes_of_the_reference() {
    for arch in ["llama", "qwen3", "phi3"] {
        let Some(base) = shared("goldens") else { return };
        let dir = base.join("passes").join(arch);
        let Ok(golden) = std::fs::read(dir.join("gptq-float32/model.safetensors")) else { continue };
        let golden = SafeTensors::deserialize(&golden).unwrap();
        let folder = ModelFolder::open(&base.join("models").join(arch).join("hf")).unwrap();
        let (cancel, events) = (CancelFlag::default(), ());
        let load = || Decoder::load(&folder, None, None, &Device::Cpu).unwrap();
        let (float, checkpoint) = (load(), folder.checkpoint().unwrap());
        let gptq = Gptq {
            float: &float,
            source: &checkpoint,
            scheme: &|module| (module != "lm_head").then(|| scheme(4)),
            order: Order::AsTheyStand,
            damping: 0.01,
            cancel: &cancel,
            events: &events,
        };
        let batches = CalibrationBatch::of(&calibration(&dir), Together::Any);
        let (mut all, mut other) = (0, 0);
        let mut done = |layer: olive_quantise::LayerCodes| {
            for module in layer.modules {
                let want = golden.tensor(&format!("{}.qweight", module.module)).unwrap();
                let codes = want.data().iter().flat_map(|byte| [byte & 15, byte >> 4]);
                all += module.chosen.codes.len();
                other += codes.zip(&module.chosen.codes).filter(|(a, b)| a != *b).count();
            }
            Ok(())
        };
        gptq.run(load(), &batches, &mut |_| Ok(None), &mut done).unwrap();
        say(&format!("{arch}: {other} of {all} codes differ"));
        assert!(all > 0 && other * 300 <= all);
    }
}
