//! The decoder in training: loss, and the gradients of the adapter layer by layer.
//!
//! There is no graph over the whole model. The forward keeps each layer's activations, or with checkpointing only its
//! input; the backward goes down the layers, computing again what was not kept, and drops each layer's share as it goes.

use super::layer::{Pass, Saved};
use super::{Decoder, LoraGradients, Tokens};
use crate::Result;
use crate::ops::lm_loss::{LmLoss, lm_loss};
use crate::ops::rms_norm;
use candle_core::Tensor;

/// Dropout of one micro-batch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DropoutKey {
    pub rate: f64,
    /// Differs for every step and micro-batch.
    pub key: [u8; 32],
}

/// How gradients are computed.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct TrainingMode {
    /// Keep only the input of every layer and compute the rest again in the backward.
    pub checkpointing: bool,
    pub dropout: Option<DropoutKey>,
}

/// A layer between forward and backward.
enum Kept {
    All(Box<Saved>),
    Input(Tensor),
}

impl Decoder {
    /// Sum of the cross-entropies of `targets`, one per id; negative ones do not count.
    ///
    /// # Errors
    /// No target that counts, an id outside the vocabulary, or a device error.
    pub fn loss(&self, tokens: &Tokens, targets: &[i32]) -> Result<LmLoss> {
        let pass = self.pass(tokens, None)?;
        let mut hidden = self.embed(&tokens.ids)?;
        for index in 0..self.spec.num_layers() {
            hidden = self.layer(index).forward(&hidden, &pass, None)?.0;
        }
        lm_loss(&self.final_norm(&hidden)?, targets, self.head(), None)
    }

    /// As [`Decoder::loss`], and adds the gradients of `factor · sum` to `gradients`.
    ///
    /// # Errors
    /// As [`Decoder::loss`].
    pub fn loss_and_gradients(
        &self,
        tokens: &Tokens,
        targets: &[i32],
        factor: f64,
        mode: TrainingMode,
        gradients: &mut LoraGradients,
    ) -> Result<LmLoss> {
        let pass = self.pass(tokens, mode.dropout)?;
        let mut hidden = self.embed(&tokens.ids)?;
        // Below the lowest layer with an adapter nothing needs a gradient, so nothing is kept.
        let lowest = self.lowest_trained();
        let mut kept = Vec::with_capacity(self.spec.num_layers());
        for index in 0..self.spec.num_layers() {
            let (output, saved) = self.layer(index).forward(&hidden, &pass, None)?;
            if index >= lowest {
                kept.push(if mode.checkpointing {
                    Kept::Input(saved.input)
                } else {
                    Kept::All(Box::new(saved))
                });
            }
            hidden = output;
        }
        let normed = self.final_norm(&hidden)?;
        let mut loss = lm_loss(&normed, targets, self.head(), Some(factor))?;
        drop(normed);
        let d_normed = loss.d_hidden.take().expect("the gradient was asked for");
        let mut d_hidden = rms_norm::backward(&hidden, &self.final_norm, self.spec.norm_eps, &d_normed)?;
        drop((hidden, d_normed));
        while let Some(layer) = kept.pop() {
            let index = lowest + kept.len();
            let layer_of = self.layer(index);
            let saved = match layer {
                Kept::All(saved) => *saved,
                Kept::Input(input) => layer_of.forward(&input, &pass, None)?.1,
            };
            match layer_of.backward(&saved, &d_hidden, &pass, gradients, index > lowest)? {
                Some(next) => d_hidden = next,
                None => break,
            }
        }
        Ok(loss)
    }

    fn pass(&self, tokens: &Tokens, dropout: Option<DropoutKey>) -> Result<Pass> {
        Pass::new(self, &tokens.positions(), tokens.sequence_length, tokens.segments(), dropout)
    }

    fn lowest_trained(&self) -> usize {
        let trained = |l: &super::weights::LayerWeights| l.linears.iter().any(|l| l.lora.is_some());
        self.layers.iter().position(trained).unwrap_or(self.layers.len())
    }
}
