//! LoRA training against trajectories of PEFT and PyTorch, and logits against transformers.

use crate::say;
use olive_core::cancel::CancelFlag;
use olive_core::device::Device;
use olive_data::{MicroBatch, Sample};
use olive_decoder::{Decoder, lora};
use olive_model::{Adapter, Checkpoint, ModelError, ModelFolder};
use olive_train::{AdamWOptions, Trainer, TrainerOptions};
use std::path::Path;

fn name(path: &Path) -> &str {
    path.file_name().and_then(|n| n.to_str()).expect("a folder name")
}

fn json(path: &Path) -> serde_json::Value {
    serde_json::from_str(&std::fs::read_to_string(path).expect("a readable golden")).expect("JSON")
}

/// `None`, after saying so, for an architecture that the program does not know.
fn open(folder: &Path, case: &str) -> Option<ModelFolder> {
    let folder = ModelFolder::open(folder).expect("a model folder");
    match folder.spec() {
        Ok(_) => Some(folder),
        Err(olive_core::Error(ModelError::UnsupportedArchitecture { found, .. })) => {
            say(&format!("skipped: {case} ({found} is not supported)"));
            None
        }
        Err(error) => panic!("{case}: {error}"),
    }
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

/// Values of a NumPy file of f32, whatever its shape.
fn npy(path: &Path) -> Vec<f32> {
    let bytes = std::fs::read(path).expect("a readable golden");
    let header = u16::from_le_bytes([bytes[8], bytes[9]]) as usize;
    let text = String::from_utf8_lossy(&bytes[10..10 + header]);
    assert!(text.contains("'<f4'") && text.contains("False"), "{text}");
    bytes[10 + header..].chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

fn prompts(golden: &serde_json::Value) -> Vec<Vec<u32>> {
    golden["prompts"]
        .as_array()
        .expect("prompts")
        .iter()
        .map(|p| {
            p["input_ids"].as_array().expect("ids").iter().map(|id| id.as_u64().expect("id") as u32).collect()
        })
        .collect()
}

#[test]
fn logits_agree_with_transformers() {
    for folder in crate::cases("models") {
        let case = name(&folder);
        let Some(model) = open(&folder.join("hf"), case) else { continue };
        let decoder = Decoder::load(&model, None, None, &Device::Cpu).expect("a decoder");
        for (i, ids) in prompts(&json(&folder.join("golden.json"))).iter().enumerate() {
            let want = npy(&folder.join(format!("logits_p{i}_hf_fp32.npy")));
            let all = decoder.all_logits(ids).and_then(|l| Ok(l.flatten_all()?.to_vec1::<f32>()?));
            let whole = relative(&all.expect("logits"), &want);
            // The same last position, reached in two pieces and then one by one.
            let mut cache = decoder.new_cache(ids.len()).expect("a cache");
            let cut = ids.len() / 2;
            let mut last = decoder.logits(&ids[..cut], &mut cache).expect("logits");
            for id in &ids[cut..] {
                last = decoder.logits(&[*id], &mut cache).expect("logits");
            }
            let cached = relative(&last, &want[want.len() - last.len()..]);
            say(&format!("{case} prompt {i}: logits {whole:.1e}, with a cache {cached:.1e}"));
            assert!(whole < 2e-5 && cached < 2e-5, "{case}");
        }
    }
}

/// The micro-batches of a trajectory, in order.
fn batches(io: &Checkpoint) -> Vec<MicroBatch> {
    (0..)
        .map_while(|i| io.get(&format!("batch_{i}")))
        .enumerate()
        .map(|(row, tensor)| {
            let ids =
                tensor.bytes().chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().expect("8 bytes")));
            let input_ids: Vec<u32> = ids.map(|id| u32::try_from(id).expect("an id")).collect();
            let labels = input_ids.iter().map(|id| *id as i32).collect();
            MicroBatch::new([(row, &Sample { input_ids, labels, ..Sample::default() })])
        })
        .collect()
}

fn trainer(model: &ModelFolder, adapter: &Adapter, trajectory: &serde_json::Value) -> Trainer {
    let decoder =
        Decoder::load(model, None, Some(adapter), &Device::Cpu).expect("a decoder with the adapter");
    let number = |key: &str| trajectory[key].as_f64().expect("a number");
    let adamw = AdamWOptions {
        beta1: trajectory["betas"][0].as_f64().expect("a number"),
        beta2: trajectory["betas"][1].as_f64().expect("a number"),
        epsilon: number("eps"),
        weight_decay: number("weight_decay"),
        fast_ratio: 1.0,
    };
    let options = TrainerOptions {
        adamw,
        max_grad_norm: number("max_grad_norm"),
        dropout: 0.0,
        gradient_checkpointing: false,
        neftune_noise_alpha: 0.0,
        seed: 0,
    };
    Trainer::new(decoder, options).expect("a trainer")
}

#[test]
fn trajectories_agree_with_peft() {
    for folder in crate::cases("train") {
        let case = name(&folder);
        let trajectory = json(&folder.join("trajectory.json"));
        let arch = trajectory["arch"].as_str().expect("a name");
        let Some(model) = open(&folder.join("../../models").join(arch).join("hf"), case) else { continue };
        if trajectory["use_dora"] == true {
            say(&format!("skipped: {case} (DoRA is not supported)"));
            continue;
        }
        let initial = Adapter::open(&folder.join("adapter_init")).expect("an adapter");
        let mut trainer = trainer(&model, &initial, &trajectory);
        let io = Checkpoint::open_file(&folder.join("io.safetensors")).expect("tensors");
        let batches = batches(&io);
        let accumulation = trajectory["grad_accum"].as_u64().expect("a number") as usize;
        let cancel = CancelFlag::default();

        let (_, gradients) = trainer.gradients(&batches[..accumulation], &cancel).expect("gradients");
        let reference = Checkpoint::open_file(&folder.join("grads_step0.safetensors")).expect("tensors");
        let mut gradient_error = 0f64;
        for (index, module) in trainer.decoder.lora().iter().enumerate() {
            let (a, b) = gradients.get(index).expect("a gradient for every module");
            for (gradient, half) in [(a, "lora_A"), (b, "lora_B")] {
                let got = gradient.flatten_all().and_then(|g| g.to_vec1::<f32>()).expect("values");
                let name = format!("base_model.model.{}.{half}.weight", module.name);
                let want = reference.tensor(&name).and_then(|t| t.to_f32()).expect("a reference");
                gradient_error = gradient_error.max(relative(&got, &want));
            }
        }
        assert_eq!(reference.tensors().count(), 2 * trainer.decoder.lora().len(), "{case}: every gradient");

        let (mut loss_error, mut norm_error) = (0f64, 0f64);
        let steps = trajectory["log"].as_array().expect("a log");
        assert_eq!(batches.len(), steps.len() * accumulation, "{case}: every batch");
        for (step, batches) in steps.iter().zip(batches.chunks(accumulation)) {
            let learning_rate = trajectory["lr"].as_f64().expect("a number");
            let report = trainer.step(batches, learning_rate, &cancel).expect("a step");
            let number = |key: &str| step[key].as_f64().expect("a number");
            assert_eq!(report.labels as f64, number("tokens"), "{case}: labels");
            loss_error = loss_error.max((report.loss - number("loss")).abs());
            norm_error = norm_error.max((report.grad_norm / number("grad_norm") - 1.0).abs());
        }

        let last = lora::to_adapter(trainer.decoder.lora(), initial.config).expect("an adapter");
        let reference = Adapter::open(&folder.join("adapter_final")).expect("an adapter");
        let mut adapter_error = 0f64;
        assert_eq!(last.modules.len(), reference.modules.len(), "{case}: every module");
        for (module, want) in &reference.modules {
            let got = &last.modules[module];
            adapter_error = adapter_error.max(relative(&got.a, &want.a)).max(relative(&got.b, &want.b));
        }
        let ids: Vec<u32> = io
            .tensor("batch_0")
            .expect("ids")
            .bytes()
            .chunks_exact(8)
            .map(|b| u32::from(b[0]) | u32::from(b[1]) << 8)
            .collect();
        let logits = trainer.decoder.all_logits(&ids).and_then(|l| Ok(l.flatten_all()?.to_vec1::<f32>()?));
        let want = io.tensor("logits_adapter").and_then(|t| t.to_f32()).expect("logits");
        let logit_error = relative(&logits.expect("logits"), &want);
        say(&format!(
            "{case}: gradients {gradient_error:.1e}, losses {loss_error:.1e}, gradient norms {norm_error:.1e}, \
             adapter {adapter_error:.1e}, logits {logit_error:.1e}"
        ));
        assert!(gradient_error < 1e-4, "{case}: gradients");
        assert!(loss_error < 1e-4, "{case}: losses");
        assert!(norm_error < 1e-4, "{case}: gradient norms");
        assert!(adapter_error < 1e-3, "{case}: adapter");
        assert!(logit_error < 1e-3, "{case}: logits");
    }
}
