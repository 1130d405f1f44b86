//! A decoder one layer at a time, for whoever changes weights in between.

use super::forward_context::ForwardContext;
use super::{Decoder, Tokens};
use candle_core::Tensor;
use olive_arch::LinearKind;
use olive_core::Result;
use olive_kernels::lm_loss::{LmLoss, lm_loss};
use olive_kernels::{FrozenWeight, glu};

/// The residual stream of some sequences on its way through the layers.
pub struct HiddenStates {
    context: ForwardContext,
    hidden: Tensor, // [tokens, hidden]
}

impl HiddenStates {
    /// The embeddings of `tokens`.
    ///
    /// # Errors
    /// An id outside the vocabulary, or a device error.
    pub fn embed(decoder: &Decoder, tokens: &Tokens) -> Result<HiddenStates> {
        let context = ForwardContext::of_tokens(decoder, tokens, None)?;
        Ok(HiddenStates { context, hidden: decoder.embed(&tokens.ids)? })
    }

    /// Goes through layer `index`, as `decoder` has it at this time.
    ///
    /// # Errors
    /// A device error.
    pub fn advance(&mut self, decoder: &Decoder, index: usize) -> Result<()> {
        self.hidden = decoder.layer(index).forward(&self.hidden, &self.context, None)?.0;
        Ok(())
    }

    /// What the linear layers of layer `index` would be given, `[tokens, in]`; those that share an input are together.
    ///
    /// # Errors
    /// A device error.
    pub fn linear_inputs(
        &self,
        decoder: &Decoder,
        index: usize,
    ) -> Result<[(&'static [LinearKind], Tensor); 4]> {
        use LinearKind::{Down, Gate, GateUp, K, O, Q, Qkv, Up, V};
        let layer = decoder.layer(index);
        let saved = layer.forward(&self.hidden, &self.context, None)?.1;
        let attention = layer.norm_or_same(&saved.input, layer.weights.input_norm.as_ref())?;
        let mlp = layer.norm_or_same(&saved.middle, layer.weights.mlp_norm.as_ref())?;
        let product = glu::forward(&saved.gate, &saved.up, decoder.spec.mlp.activation)?;
        Ok([
            (&[Qkv, Q, K, V], attention),
            (&[O], saved.attended.output),
            (&[GateUp, Gate, Up], mlp),
            (&[Down], product),
        ])
    }

    /// What the head is given, `[tokens, hidden]`.
    ///
    /// # Errors
    /// A device error.
    pub fn head_input(&self, decoder: &Decoder) -> Result<Tensor> {
        decoder.final_norm(&self.hidden)
    }

    /// Sum of the cross-entropies of `targets`, one per token; negative ones do not count.
    ///
    /// # Errors
    /// No target that counts, or a device error.
    pub fn loss(&self, decoder: &Decoder, targets: &[i32]) -> Result<LmLoss> {
        lm_loss(&decoder.final_norm(&self.hidden)?, targets, decoder.head(), None)
    }
}

impl Decoder {
    /// Puts another weight in the place of one linear layer's; gives the old one back.
    ///
    /// # Panics
    /// The layer has no linear layer of that kind, or it is of another shape.
    pub fn replace_linear(&mut self, layer: usize, kind: LinearKind, weight: FrozenWeight) -> FrozenWeight {
        let mut linears = self.layers[layer].linears.iter_mut();
        let slot = linears.find(|l| l.linear.kind == kind).expect("the spec lists every linear layer");
        let shape = |w: &FrozenWeight| (w.out_features, w.in_features);
        assert_eq!(shape(&slot.weight), shape(&weight), "a weight is replaced by one of its shape");
        std::mem::replace(&mut slot.weight, weight)
    }

    /// Puts another embedding matrix in place; gives the old one back.
    pub fn replace_embedding(&mut self, weight: FrozenWeight) -> FrozenWeight {
        std::mem::replace(&mut self.embedding, weight)
    }

    /// Puts another head in place; gives the old one back.
    pub fn replace_head(&mut self, weight: FrozenWeight) -> FrozenWeight {
        std::mem::replace(&mut self.head, weight)
    }
}
