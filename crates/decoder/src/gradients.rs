//! The decoder in training: loss, and the gradients of the adapter layer by layer.
//!
//! There is no graph over the whole model. The forward keeps each layer's activations, or with checkpointing only its
//! input; the backward goes down the layers, computing again what was not kept, and drops each layer's share as it goes.

use super::forward_context::ForwardContext;
use super::layer::Saved;
use super::layer_backward::Gradients;
use super::training_mode::TrainingMode;
use super::whole::WholeKind;
use super::{Decoder, LoraGradients, Tokens};
use candle_core::Tensor;
use olive_core::Result;
use olive_kernels::linear::InputGradient;
use olive_kernels::lm_loss::{LmLoss, head_gradient, lm_loss};
use olive_kernels::{LossTargets, noise, rms_norm};

/// A layer between forward and backward.
enum Kept {
    All(Box<Saved>),
    Input(Tensor),
}

impl Decoder {
    /// Sum of the cross-entropies of `targets`, one per id.
    ///
    /// # Errors
    /// No target that counts, an id outside the vocabulary, or a device error.
    pub fn loss<'t>(&self, tokens: &Tokens, targets: impl Into<LossTargets<'t>>) -> Result<LmLoss> {
        lm_loss(&self.head_inputs(tokens, |_| {})?, targets, self.head(), None)
    }

    /// As [`Decoder::loss`], and adds the gradients of `factor · sum` to `gradients`.
    ///
    /// # Errors
    /// As [`Decoder::loss`].
    pub fn loss_and_gradients<'t>(
        &self,
        tokens: &Tokens,
        targets: impl Into<LossTargets<'t>>,
        factor: f64,
        mode: TrainingMode,
        gradients: &mut LoraGradients,
    ) -> Result<LmLoss> {
        let targets = targets.into();
        let context = ForwardContext::of_tokens(self, tokens, mode.dropout)?;
        let mut hidden = self.embed(&tokens.ids)?;
        if let Some(key) = mode.noise {
            let bound = key.bound(tokens.sequence_length, self.spec.hidden_size);
            hidden = noise::add_uniform(&hidden, bound, key.key)?;
        }
        // Below the lowest layer with an adapter nothing needs a gradient, so nothing is kept.
        let lowest = self.lowest_trained();
        let embedding = self.whole_index(WholeKind::Embedding);
        let mut kept = Vec::with_capacity(self.spec.num_layers());
        for index in 0..self.spec.num_layers() {
            let (output, saved) = self.layer(index).forward(&hidden, &context, None)?;
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
        if let Some(index) = self.whole_index(WholeKind::Head) {
            gradients.add_whole(index, head_gradient(&normed, targets, self.head(), factor)?)?;
        }
        drop(normed);
        let d_normed = loss.d_hidden.take().expect("the gradient was asked for");
        self.add_norm_gradient(WholeKind::FinalNorm, &hidden, &d_normed, gradients)?;
        let mut d_hidden = rms_norm::backward(&hidden, &self.final_norm, self.spec.norm_eps, d_normed)?;
        drop(hidden);
        while let Some(layer) = kept.pop() {
            let index = lowest + kept.len();
            let layer_of = self.layer(index);
            let saved = match layer {
                Kept::All(saved) => *saved,
                Kept::Input(input) => layer_of.forward(&input, &context, None)?.1,
            };
            let input = InputGradient::needed_if(index > lowest || embedding.is_some());
            match layer_of.backward(
                saved,
                &d_hidden,
                &context,
                Gradients { adapter: &mut *gradients, along: None },
                input,
            )? {
                Some(next) => d_hidden = next,
                None => break,
            }
        }
        if let Some(index) = embedding {
            let d_rows = match self.spec.embedding_multiplier {
                None => d_hidden,
                Some(multiplier) => (d_hidden * multiplier)?,
            };
            let ids = Tensor::new(tokens.ids.as_slice(), d_rows.device())?;
            let zeros = self.whole[index].value.zeros_like()?;
            gradients.add_whole(index, zeros.index_add(&ids, &d_rows.to_dtype(zeros.dtype())?, 0)?)?;
        }
        Ok(loss)
    }

    fn lowest_trained(&self) -> usize {
        let trained = |l: &super::weights::LayerWeights| l.linears.iter().any(|l| l.lora.is_some());
        let adapted = self.layers.iter().position(trained).unwrap_or(self.layers.len());
        let whole = self.whole.iter().filter_map(|module| match module.kind {
            WholeKind::Embedding => Some(0),
            WholeKind::LayerNorm(layer, _) => Some(layer),
            WholeKind::Head | WholeKind::FinalNorm => None,
        });
        whole.min().map_or(adapted, |whole| whole.min(adapted))
    }
}
