//! AdamW with decoupled weight decay and f32 state, by PyTorch's formula (`torch.optim.AdamW`).

use crate::Result;
use crate::config::canonical::TrainingArgs;
use crate::decoder::{LoraGradients, LoraModule};
use crate::ops::adamw::{self, Update};
use candle_core::Tensor;

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamWOptions {
    pub beta1: f64,
    pub beta2: f64,
    pub epsilon: f64,
    pub weight_decay: f64,
}

impl From<&TrainingArgs> for AdamWOptions {
    fn from(args: &TrainingArgs) -> AdamWOptions {
        AdamWOptions {
            beta1: args.adam_beta1,
            beta2: args.adam_beta2,
            epsilon: args.adam_epsilon,
            weight_decay: args.weight_decay,
        }
    }
}

/// First and second moments of A and B of one module.
#[derive(Debug, Clone)]
pub struct Moments {
    /// `[m, v]` of A, then of B.
    pub a: [Tensor; 2],
    pub b: [Tensor; 2],
}

/// The optimiser's state, one entry per adapter module.
#[derive(Debug, Clone)]
pub struct AdamW {
    pub options: AdamWOptions,
    /// Steps done.
    pub steps: usize,
    pub moments: Vec<Moments>,
}

impl AdamW {
    /// # Errors
    /// The device has no room.
    pub fn new(options: AdamWOptions, modules: &[LoraModule]) -> Result<AdamW> {
        let moments = modules
            .iter()
            .map(|m| {
                Ok(Moments {
                    a: [m.a.zeros_like()?, m.a.zeros_like()?],
                    b: [m.b.zeros_like()?, m.b.zeros_like()?],
                })
            })
            .collect::<Result<_>>()?;
        Ok(AdamW { options, steps: 0, moments })
    }

    /// One step; the gradients count `gradient_factor` times, which is how clipping enters.
    ///
    /// # Errors
    /// A device error.
    pub fn step(
        &mut self,
        modules: &mut [LoraModule],
        gradients: &LoraGradients,
        gradient_factor: f64,
        learning_rate: f64,
    ) -> Result<()> {
        self.steps += 1;
        let o = self.options;
        let power = |beta: f64| beta.powi(i32::try_from(self.steps).unwrap_or(i32::MAX));
        let update = Update {
            gradient_factor,
            decay: 1.0 - learning_rate * o.weight_decay,
            beta1: o.beta1,
            beta2: o.beta2,
            epsilon: o.epsilon,
            step_size: learning_rate / (1.0 - power(o.beta1)),
            correction: (1.0 - power(o.beta2)).sqrt(),
        };
        for (index, (module, moments)) in modules.iter_mut().zip(&mut self.moments).enumerate() {
            let Some((da, db)) = gradients.get(index) else { continue };
            adamw::step(&update, &mut module.a, &mut moments.a, da)?;
            adamw::step(&update, &mut module.b, &mut moments.b, db)?;
        }
        Ok(())
    }
}
