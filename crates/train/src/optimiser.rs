//! AdamW with decoupled weight decay and f32 state, by PyTorch's formula (`torch.optim.AdamW`).

use candle_core::Tensor;
use olive_config::canonical::TrainingArgs;
use olive_core::Result;
use olive_decoder::parameters::Role;
use olive_decoder::{Decoder, LoraGradients};
use olive_kernels::adamw::{self, Update};

/// Hyperparameters, without the learning rate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamWOptions {
    pub beta1: f64,
    pub beta2: f64,
    pub epsilon: f64,
    pub weight_decay: f64,
    /// Learning rate of B and of vectors relative to that of A (LoRA+, <https://arxiv.org/abs/2402.12354>); 1 is plain
    /// LoRA.
    pub fast_ratio: f64,
}

impl From<&TrainingArgs> for AdamWOptions {
    fn from(args: &TrainingArgs) -> AdamWOptions {
        AdamWOptions {
            beta1: args.adam_beta1,
            beta2: args.adam_beta2,
            epsilon: args.adam_epsilon,
            weight_decay: args.weight_decay,
            fast_ratio: args.loraplus_lr_ratio.unwrap_or(1.0),
        }
    }
}

/// The optimiser's state, one entry per parameter of the decoder.
#[derive(Debug, Clone)]
pub struct AdamW {
    pub options: AdamWOptions,
    /// Steps done.
    pub steps: usize,
    /// First and second moments of the gradients, in the shapes of the parameters.
    pub moments: Vec<[Tensor; 2]>,
}

impl AdamW {
    /// The state before the first step, with moments of zero.
    ///
    /// # Errors
    /// The device has no room.
    pub fn new(options: AdamWOptions, decoder: &Decoder) -> Result<AdamW> {
        let moments = decoder
            .parameters()
            .map(|(_, value)| Ok([value.zeros_like()?, value.zeros_like()?]))
            .collect::<Result<_>>()?;
        Ok(AdamW { options, steps: 0, moments })
    }

    /// One step. The gradients are multiplied by `gradient_factor`, with which the caller clips them.
    ///
    /// # Errors
    /// A device error.
    pub fn step(
        &mut self,
        decoder: &mut Decoder,
        gradients: &LoraGradients,
        gradient_factor: f64,
        learning_rate: f64,
    ) -> Result<()> {
        self.steps += 1;
        let o = self.options;
        let power = |beta: f64| beta.powi(i32::try_from(self.steps).unwrap_or(i32::MAX));
        let update = |learning_rate: f64| Update {
            gradient_factor,
            decay: 1.0 - learning_rate * o.weight_decay,
            beta1: o.beta1,
            beta2: o.beta2,
            epsilon: o.epsilon,
            step_size: learning_rate / (1.0 - power(o.beta1)),
            correction: (1.0 - power(o.beta2)).sqrt(),
        };
        let (base, fast) = (update(learning_rate), update(learning_rate * o.fast_ratio));
        for (parameter, moments) in decoder.parameters_mut(Some(gradients)).zip(&mut self.moments) {
            let Some(gradient) = parameter.gradient else { continue };
            let update = match parameter.role {
                Role::Base => &base,
                Role::Fast => &fast,
            };
            adamw::step(update, parameter.value, moments, gradient)?;
        }
        decoder.refresh()
    }
}
