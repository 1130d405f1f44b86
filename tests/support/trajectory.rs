//! Steps of training that PEFT and PyTorch have made, to be made again.

use super::models::{fixture, name, read_json};
use super::training::{Worst, plain_options, relative, sample, values};
use olive_core::cancel::CancelFlag;
use olive_core::device::Device;
use olive_data::MicroBatch;
use olive_decoder::Decoder;
use olive_model::{Adapter, Checkpoint, ModelFolder};
use olive_train::{AdamWOptions, Trainer, TrainerOptions};
use serde_json::Value;
use std::path::{Path, PathBuf};

pub struct Trajectory {
    pub name: String,
    pub model: ModelFolder,
    /// The adapter before the first step and after the last one.
    pub init: PathBuf,
    pub last: PathBuf,
    /// Of the first step.
    gradients: PathBuf,
    options: TrainerOptions,
    learning_rate: f64,
    accumulation: usize,
    /// One row each.
    pub batches: Vec<Vec<u32>>,
    /// Of the first row with the last adapter: after each token (goldens) or after the last one (fixtures).
    pub logits: Vec<f32>,
    /// Per step the loss, the gradients' norm and, in the goldens, the number of labels.
    log: Vec<Value>,
}

fn number(value: &Value) -> f64 {
    value.as_f64().expect("a number")
}

fn numbers(value: &Value) -> Vec<f32> {
    value.as_array().expect("a list").iter().map(|v| number(v) as f32).collect()
}

fn log(trajectory: &Value) -> Vec<Value> {
    trajectory["log"].as_array().expect("a log").clone()
}

/// The tiny Qwen2 that the trajectories of the fixtures train.
pub fn fixture_model() -> ModelFolder {
    ModelFolder::open(&fixture("train/model")).expect("a model folder")
}

impl Trajectory {
    /// One of `tests/fixtures/train`, made by the `make.py` there.
    pub fn of_fixtures(case: &str) -> Trajectory {
        let folder = fixture("train").join(case);
        let json = read_json(&folder.join("trajectory.json"));
        let mut options = plain_options();
        options.max_grad_norm = number(&json["clip"]);
        options.adamw.weight_decay = number(&json["weight_decay"]);
        options.adamw.fast_ratio = json["ratio"].as_f64().unwrap_or(1.0);
        let batches = json["batches"].as_array().expect("batches").iter();
        Trajectory {
            name: case.into(),
            model: fixture_model(),
            init: folder.join("init"),
            last: folder.join("final"),
            gradients: folder.join("gradients.safetensors"),
            options,
            learning_rate: number(&json["rate"]),
            accumulation: number(&json["accumulation"]) as usize,
            batches: batches.map(|ids| numbers(ids).into_iter().map(|id| id as u32).collect()).collect(),
            logits: numbers(&json["last_logits"]),
            log: log(&json),
        }
    }

    /// One of the shared goldens, made by `tools/train_golden.py` there.
    pub fn of_goldens(folder: &Path) -> Trajectory {
        let json = read_json(&folder.join("trajectory.json"));
        let arch = json["arch"].as_str().expect("a name");
        let adamw = AdamWOptions {
            beta1: number(&json["betas"][0]),
            beta2: number(&json["betas"][1]),
            epsilon: number(&json["eps"]),
            weight_decay: number(&json["weight_decay"]),
            fast_ratio: 1.0,
        };
        let max_grad_norm = number(&json["max_grad_norm"]);
        let io = Checkpoint::open_file(&folder.join("io.safetensors")).expect("tensors");
        let ids = |bytes: &[u8]| u32::try_from(i64::from_le_bytes(bytes.try_into().unwrap())).expect("an id");
        let logits = io.tensor("logits_adapter").and_then(|t| t.to_f32()).expect("logits");
        let batches = (0..).map_while(|i| io.get(&format!("batch_{i}")));
        Trajectory {
            name: name(folder),
            model: ModelFolder::open(&folder.join("../../models").join(arch).join("hf")).expect("a model"),
            init: folder.join("adapter_init"),
            last: folder.join("adapter_final"),
            gradients: folder.join("grads_step0.safetensors"),
            options: TrainerOptions { adamw, max_grad_norm, ..plain_options() },
            learning_rate: number(&json["lr"]),
            accumulation: number(&json["grad_accum"]) as usize,
            batches: batches.map(|tensor| tensor.bytes().chunks_exact(8).map(ids).collect()).collect(),
            logits,
            log: log(&json),
        }
    }

    /// A trainer at the beginning.
    pub fn trainer(&self, options: TrainerOptions) -> Trainer {
        let adapter = Adapter::open(&self.init).expect("an adapter");
        let decoder = Decoder::load(&self.model, None, Some(&adapter), &Device::Cpu)
            .expect("a decoder with an adapter");
        Trainer::new(decoder, options).expect("a trainer")
    }

    /// Makes all steps, whose gradients, losses and norms must be those of the reference, and writes the adapter, which
    /// must be the reference's, as must what it then predicts.
    pub fn train(&self, out: &Path) {
        let case = &self.name;
        let mut trainer = self.trainer(self.options);
        let batches: Vec<MicroBatch> = self
            .batches
            .iter()
            .enumerate()
            .map(|(row, ids)| MicroBatch::new([(row, &sample(ids.clone()))]))
            .collect();
        assert!(!batches.is_empty());
        assert_eq!(batches.len(), self.log.len() * self.accumulation, "{case}: every batch");
        let cancel = CancelFlag::default();

        let (_, gradients) = trainer.gradients(&batches[..self.accumulation], &cancel).expect("gradients");
        let reference = Checkpoint::open_file(&self.gradients).expect("tensors");
        let mut worst = Worst::of("gradients", 1e-4);
        let mut compared = 0;
        for parameter in trainer.decoder.parameters_mut(Some(&gradients)) {
            let names = ["", ".weight", ".modules_to_save.weight"]
                .map(|end| format!("base_model.model.{}{end}", parameter.name));
            let want = names.iter().find_map(|name| reference.get(name));
            let want = want.expect("a reference for every parameter").to_f32().expect("values");
            let got = values(parameter.gradient.expect("a gradient for every parameter"));
            worst.add(relative(&got, &want));
            compared += 1;
        }
        assert_eq!(compared, reference.tensors().count(), "{case}: every gradient");
        worst.check(case);

        let (mut losses, mut norms) = (Worst::of("losses", 2e-5), Worst::of("gradient norms", 1e-4));
        for (want, parts) in self.log.iter().zip(batches.chunks(self.accumulation)) {
            let report = trainer.step(parts, self.learning_rate, &cancel).expect("a step");
            losses.add((report.loss - number(&want["loss"])).abs());
            norms.add((report.grad_norm / number(&want["grad_norm"]) - 1.0).abs());
            if let Some(labels) = want["tokens"].as_u64() {
                assert_eq!(report.labels as u64, labels, "{case}: labels");
            }
        }
        losses.check(case);
        norms.check(case);

        // The adapter as written and read again is PEFT's.
        let config = Adapter::open(&self.init).expect("an adapter").config;
        trainer.decoder.to_adapter(config).and_then(|a| a.save(out)).expect("saved");
        let open =
            |dir: &Path| Checkpoint::open_file(&dir.join("adapter_model.safetensors")).expect("tensors");
        let (written, reference) = (open(out), open(&self.last));
        let mut worst = Worst::of("tensors of the adapter", 1e-3);
        for tensor in reference.tensors() {
            let got = written.tensor_of(&tensor.name, &tensor.shape).expect("PEFT's name and shape");
            worst.add(relative(&got.to_f32().expect("values"), &tensor.to_f32().expect("values")));
        }
        assert_eq!(written.tensors().count(), reference.tensors().count(), "{case}: every tensor");
        worst.check(case);

        let logits = values(&trainer.decoder.all_logits(&self.batches[0]).expect("logits"));
        let mut worst = Worst::of("logits", 1e-3);
        worst.add(relative(&logits[logits.len() - self.logits.len()..], &self.logits));
        worst.check(case);
    }
}
