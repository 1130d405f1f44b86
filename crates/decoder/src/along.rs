//! Derivatives along given changes of the weights: one number per matrix, without the gradient of any.
//!
//! With y = x Wᵀ the derivative along D is `Σ dy ∘ (x Dᵀ)`, so a matrix costs one product more and no memory of its size.

use super::forward_context::ForwardContext;
use super::layer_backward::{Along, Gradients};
use super::{Decoder, LoraGradients, Tokens};
use olive_core::Result;
use olive_kernels::divergence::{Predictor, divergence, inner_product};
use olive_kernels::linear::InputGradient;
use olive_kernels::{FrozenWeight, residual, rms_norm};

/// A change of the weights of a decoder.
pub struct Directions {
    /// By layer, in the order in which `Spec::linears` names them.
    pub layers: Vec<Vec<FrozenWeight>>,
    pub head: FrozenWeight,
    /// Where the embedding changes as well.
    pub embedding: Option<FrozenWeight>,
}

/// Derivatives along [`Directions`].
#[derive(Debug, Clone, PartialEq)]
pub struct Derivatives {
    pub layers: Vec<Vec<f64>>,
    /// Of the head, and of the embedding if it changes: a tied model has one matrix for both.
    pub head: f64,
}

impl Directions {
    /// Derivatives of nothing.
    pub fn zeros(&self) -> Derivatives {
        Derivatives { layers: self.layers.iter().map(|layer| vec![0.0; layer.len()]).collect(), head: 0.0 }
    }
}

impl Derivatives {
    /// Adds others, so many times.
    pub fn add(&mut self, other: &Derivatives, factor: f64) {
        for (sums, others) in self.layers.iter_mut().zip(&other.layers) {
            sums.iter_mut().zip(others).for_each(|(sum, other)| *sum += factor * other);
        }
        self.head += factor * other.head;
    }
}

impl Decoder {
    /// The mean divergence of this model's predictions of all positions from those of `teacher`; adds its derivatives along
    /// `directions` to `sums`. Of each layer only the input is kept for the way back.
    ///
    /// # Errors
    /// An id outside the vocabulary, or a device error.
    pub fn divergence_along(
        &self,
        teacher: &Decoder,
        tokens: &Tokens,
        directions: &Directions,
        sums: &mut Derivatives,
    ) -> Result<f64> {
        let of_teacher = teacher.head_inputs(tokens, |_| {})?;
        let context = ForwardContext::of_tokens(self, tokens, None)?;
        let mut hidden = self.embed(&tokens.ids)?;
        let mut inputs = Vec::with_capacity(self.spec.num_layers());
        for index in 0..self.spec.num_layers() {
            let (output, saved) = self.layer(index).forward(&hidden, &context, None)?;
            inputs.push(saved.input);
            hidden = output;
        }
        let normed = self.final_norm(&hidden)?;
        let factor = 1.0 / tokens.ids.len().max(1) as f64;
        let student = Predictor { hidden: &normed, head: self.head() };
        let teacher = Predictor { hidden: &of_teacher, head: teacher.head() };
        let end = divergence(student, teacher, &directions.head, factor)?;
        sums.head += end.along;
        let mut d_hidden = rms_norm::backward(&hidden, &self.final_norm, self.spec.norm_eps, end.d_hidden)?;
        drop((hidden, normed, of_teacher));
        while let Some(input) = inputs.pop() {
            let index = inputs.len();
            let layer = self.layer(index);
            let saved = layer.forward(&input, &context, None)?.1;
            let along = Along { directions: &directions.layers[index], sums: &mut sums.layers[index] };
            let mut adapter = LoraGradients::new(self.lora.len());
            let gradients = Gradients { adapter: &mut adapter, along: Some(along) };
            let needed = InputGradient::needed_if(index > 0 || directions.embedding.is_some());
            match layer.backward(saved, &d_hidden, &context, gradients, needed)? {
                Some(next) => d_hidden = next,
                None => break,
            }
        }
        if let Some(direction) = &directions.embedding {
            let moved = direction.gather(&tokens.ids)?.to_dtype(d_hidden.dtype())?;
            let moved = match self.spec.embedding_multiplier {
                None => moved,
                Some(factor) => residual::scale(&moved, factor)?,
            };
            sums.head += inner_product(&d_hidden, &moved)?;
        }
        Ok(factor * end.sum)
    }
}
