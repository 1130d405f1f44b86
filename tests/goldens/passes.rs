//! Quantisers against codes that the reference chose from recorded moments.

use crate::support::shared::{say, shared};
use olive_kernels::quant::gptq::{Corrections, Order};
use olive_kernels::quant::{FloatType, Scheme};
use safetensors::{SafeTensors, tensor::TensorView};

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
