//! Training by the library, a step at a time.

use super::shared::say;
use olive_arch::Spec;
use olive_config::canonical::{
    EvalStrategy, Logging, Sampling, Saving, Scheduler, Selection, Targets, TrainingArgs,
};
use olive_core::cancel::CancelFlag;
use olive_data::{MicroBatch, Sample};
use olive_model::Adapter;
use olive_model::adapter::LoraPair;
use olive_model::adapter_config::TargetModules;
use olive_train::{AdamWOptions, LoraShape, Trainer, TrainerOptions, fresh_adapter, targets};

/// All tokens count.
pub fn sample(input_ids: Vec<u32>) -> Sample {
    let labels = input_ids.iter().map(|id| *id as i32).collect();
    Sample { input_ids, labels, ..Sample::default() }
}

pub fn plain_options() -> TrainerOptions {
    TrainerOptions {
        adamw: AdamWOptions { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.0, fast_ratio: 1.0 },
        max_grad_norm: 1.0,
        dropout: 0.0,
        gradient_checkpointing: false,
        neftune_noise_alpha: 0.0,
        seed: 3,
    }
}

/// Twenty steps with a constant rate and evaluations, and what is changed of that.
pub fn arguments(change: impl FnOnce(&mut TrainingArgs)) -> TrainingArgs {
    let mut args = TrainingArgs {
        seed: 5,
        data_seed: 42,
        optim: "adamw_torch".into(),
        per_device_train_batch_size: 1,
        per_device_eval_batch_size: 2,
        gradient_accumulation_steps: 1,
        gradient_checkpointing: false,
        learning_rate: 3e-2,
        weight_decay: 0.0,
        adam_beta1: 0.9,
        adam_beta2: 0.999,
        adam_epsilon: 1e-8,
        max_grad_norm: 1.0,
        num_train_epochs: 1.0,
        max_steps: Some(20),
        lr_scheduler_type: Scheduler::Constant,
        lr_scheduler_kwargs: Default::default(),
        loraplus_lr_ratio: None,
        neftune_noise_alpha: None,
        warmup_ratio: 0.0,
        warmup_steps: 0,
        logging_steps: 100.0,
        eval_strategy: EvalStrategy::Steps,
        eval_steps: Some(2.0),
        sampling: Sampling::Random,
        dataloader_drop_last: false,
        saving: Saving::default(),
        selection: Selection::default(),
        logging: Logging::default(),
    };
    change(&mut args);
    args
}

/// An adapter on all linear layers, whose B is not zero, so that every A has a gradient.
pub fn adapter(spec: &Spec, dropout: f64) -> Adapter {
    let linears = targets::select(spec, Some(&Targets::AllLinear)).expect("targets");
    let shape = LoraShape { rank: 4, alpha: 8.0, dropout, use_rslora: false, use_dora: false };
    let mut adapter = fresh_adapter(&linears, TargetModules::Names(Vec::new()), &shape, 5, None);
    for (i, pair) in adapter.modules.values_mut().enumerate() {
        pair.b.iter_mut().enumerate().for_each(|(j, b)| *b = ((i + j * 37) % 11) as f32 / 200.0 - 0.02);
    }
    adapter
}

/// Loss, and the gradient of every parameter.
pub fn gradients(trainer: &mut Trainer, batches: &[MicroBatch]) -> (f64, Vec<Vec<f32>>) {
    let (loss, gradients) = trainer.gradients(batches, &CancelFlag::default()).expect("gradients");
    let parameters = trainer.decoder.parameters_mut(Some(&gradients));
    (loss, parameters.map(|p| values(p.gradient.expect("a gradient"))).collect())
}

pub fn weights(trainer: &Trainer) -> Vec<Vec<f32>> {
    trainer.decoder.parameters().map(|(_, value)| values(value)).collect()
}

pub fn values(tensor: &candle_core::Tensor) -> Vec<f32> {
    tensor.flatten_all().and_then(|t| t.to_vec1()).expect("values")
}

/// An element of B · A.
pub fn product(pair: &LoraPair, row: usize, col: usize) -> f64 {
    let (b, a) = (&pair.b[row * pair.rank..], &pair.a[col..]);
    b.iter()
        .zip(a.iter().step_by(pair.in_features))
        .take(pair.rank)
        .map(|(b, a)| f64::from(*b) * f64::from(*a))
        .sum()
}

pub fn largest(values: &[f32]) -> f32 {
    values.iter().fold(0f32, |m, v| m.max(v.abs()))
}

/// Largest difference over largest magnitude.
pub fn relative(got: &[f32], want: &[f32]) -> f64 {
    assert_eq!(got.len(), want.len());
    let worst = got.iter().zip(want).fold(0f32, |m, (a, b)| {
        assert!(a.is_finite());
        m.max((a - b).abs())
    });
    f64::from(worst) / f64::from(largest(want))
}

/// The same for several tensors, of which there must be some.
pub fn relative_all(got: &[Vec<f32>], want: &[Vec<f32>]) -> f64 {
    assert_eq!(got.len(), want.len());
    let errors = got.iter().zip(want).map(|(got, want)| relative(got, want));
    errors.reduce(f64::max).expect("a tensor")
}

/// The largest of some errors that must stay below a bound.
pub struct Worst {
    what: &'static str,
    bound: f64,
    error: f64,
}

impl Worst {
    pub fn of(what: &'static str, bound: f64) -> Worst {
        Worst { what, bound, error: 0.0 }
    }

    pub fn add(&mut self, error: f64) {
        self.error = self.error.max(error);
    }

    /// Tells how large the errors were, and fails if one was too large.
    pub fn check(&self, case: &str) {
        say(&format!("{case}: {} {:.1e}", self.what, self.error));
        assert!(self.error < self.bound, "{case}: {} are off by {:.1e}", self.what, self.error);
    }
}
