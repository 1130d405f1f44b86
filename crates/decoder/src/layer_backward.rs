//! One decoder layer backward.

use super::LoraGradients;
use super::forward_context::ForwardContext;
use super::layer::{LayerOf, Saved};
use super::whole::{LayerNorm, WholeKind};
use candle_core::Tensor;
use olive_arch::LinearKind;
use olive_core::Result;
use olive_kernels::divergence::inner_product;
use olive_kernels::linear::{InputGradient, RanLora};
use olive_kernels::{FrozenWeight, attention, dora, frozen_linear, glu, linear, residual, rms_norm, rotary};

/// A layer on its way back.
struct LayerBackward<'a> {
    layer: &'a LayerOf<'a>,
    saved: &'a Saved,
    context: &'a ForwardContext,
    gradients: Gradients<'a>,
}

/// Where derivatives with respect to weights go.
pub(super) struct Gradients<'a> {
    pub(super) adapter: &'a mut LoraGradients,
    /// Those of this layer's linear layers along directions that somebody asked for.
    pub(super) along: Option<Along<'a>>,
}

/// Directions in the linear layers of one layer, in their order, and the derivatives along them.
pub(super) struct Along<'a> {
    pub(super) directions: &'a [FrozenWeight],
    pub(super) sums: &'a mut [f64],
}

impl LayerOf<'_> {
    /// Gradient of the layer's input, given that of its output; adds those of the adapter. What was saved is used up: some
    /// gradients are written in its place. `None` when the input's is not needed, as in the lowest layer that has an
    /// adapter.
    pub(super) fn backward(
        &self,
        saved: Saved,
        d_output: &Tensor,
        context: &ForwardContext,
        gradients: Gradients<'_>,
        input: InputGradient,
    ) -> Result<Option<Tensor>> {
        let mut step = LayerBackward { layer: self, saved: &saved, context, gradients };
        let d_middle = step.mlp(d_output)?;
        step.attention(&d_middle, input)
    }

    /// From the gradient of the residual stream to that of a branch's last linear layer.
    fn branch_backward(
        &self,
        d_stream: &Tensor,
        branch: Option<&Tensor>,
        norm: Option<&Tensor>,
    ) -> Result<Tensor> {
        let dy = match self.decoder.spec.residual_multiplier {
            None => d_stream.clone(),
            Some(factor) => residual::scale(d_stream, factor)?,
        };
        match branch {
            None => Ok(dy),
            // The norm writes into what it gets, and the stream goes on.
            Some(branch) => self.norm_backward(branch, norm, dy.copy()?),
        }
    }

    fn norm_backward(&self, x: &Tensor, weight: Option<&Tensor>, dy: Tensor) -> Result<Tensor> {
        match weight {
            None => Ok(dy),
            Some(weight) => rms_norm::backward(x, weight, self.decoder.spec.norm_eps, dy),
        }
    }
}

impl LayerBackward<'_> {
    /// The input of some linear layers, made again where a derivative with respect to one of them needs it.
    fn if_needed(
        &self,
        kinds: &[LinearKind],
        input: impl FnOnce() -> Result<Tensor>,
    ) -> Result<Option<Tensor>> {
        let layer = self.layer;
        let adapted = |kind: &LinearKind| layer.weights.linears[layer.position(*kind)].lora.is_some();
        (self.gradients.along.is_some() || kinds.iter().any(adapted)).then(input).transpose()
    }

    fn mlp(&mut self, d_output: &Tensor) -> Result<Tensor> {
        let spec = &self.layer.decoder.spec;
        self.branch_norm_gradient(LayerNorm::MlpOutput, d_output, self.saved.mlp_branch.as_ref())?;
        let d_branch = self.layer.branch_backward(
            d_output,
            self.saved.mlp_branch.as_ref(),
            self.layer.weights.mlp_output_norm.as_ref(),
        )?;
        let product = || glu::forward(&self.saved.gate, &self.saved.up, spec.mlp.activation);
        let product = self.if_needed(&[LinearKind::Down], product)?;
        let d_product = self.linear_backward(LinearKind::Down, &d_branch, product.as_ref())?;
        drop(product);
        let [d_gate, d_up] =
            glu::backward(self.saved.gate.clone(), self.saved.up.clone(), spec.mlp.activation, &d_product)?;
        let x = || self.layer.norm_or_same(&self.saved.middle, self.layer.weights.mlp_norm.as_ref());
        let dx = if spec.mlp.packed_gate_up {
            let x = self.if_needed(&[LinearKind::GateUp], x)?;
            let packed = Tensor::cat(&[d_gate, d_up], 1)?;
            self.linear_backward(LinearKind::GateUp, &packed, x.as_ref())?
        } else {
            let x = self.if_needed(&[LinearKind::Gate, LinearKind::Up], x)?;
            let through_gate = self.linear_backward(LinearKind::Gate, &d_gate, x.as_ref())?;
            let through_up = self.linear_backward(LinearKind::Up, &d_up, x.as_ref())?;
            residual::add_scaled(&through_gate, through_up, None)?
        };
        self.norm_gradient(LayerNorm::Mlp, &self.saved.middle, &dx)?;
        let dx = self.layer.norm_backward(&self.saved.middle, self.layer.weights.mlp_norm.as_ref(), dx)?;
        residual::add_scaled(d_output, dx, None)
    }

    fn attention(&mut self, d_middle: &Tensor, input: InputGradient) -> Result<Option<Tensor>> {
        let a = &self.layer.decoder.spec.attention;
        let branch = self.saved.attention_branch.as_ref();
        self.branch_norm_gradient(LayerNorm::AttentionOutput, d_middle, branch)?;
        let d_branch = self.layer.branch_backward(
            d_middle,
            self.saved.attention_branch.as_ref(),
            self.layer.weights.attention_output_norm.as_ref(),
        )?;
        let attended = &self.saved.attended;
        let d_attended = self.linear_backward(LinearKind::O, &d_branch, Some(&attended.output))?;
        let [q, k, v] = &self.saved.qkv;
        let [mut dq, mut dk, dv] = attention::backward(
            &self.layer.attention(),
            [q, k, v],
            attended,
            &d_attended,
            &self.context.segments,
        )?;
        if let Some(tables) = self.layer.rotary(self.context) {
            dq = rotary::backward(dq, tables, a.head_dim)?;
            dk = rotary::backward(dk, tables, a.head_dim)?;
        }
        if let (Some([wq, wk]), Some([q, k])) = (&self.layer.weights.qk_norm, &self.saved.unnormed) {
            let norm = |x: &Tensor, w: &Tensor, dy: Tensor| -> Result<Tensor> {
                let dx = rms_norm::backward(
                    &self.layer.norm_rows(x)?,
                    w,
                    self.layer.decoder.spec.norm_eps,
                    self.layer.norm_rows(&dy)?,
                )?;
                Ok(dx.reshape(x.shape())?)
            };
            self.norm_gradient(LayerNorm::Query, &self.layer.norm_rows(q)?, &self.layer.norm_rows(&dq)?)?;
            self.norm_gradient(LayerNorm::Key, &self.layer.norm_rows(k)?, &self.layer.norm_rows(&dk)?)?;
            dq = norm(q, wq, dq)?;
            dk = norm(k, wk, dk)?;
        }
        let parts = if a.packed_qkv {
            vec![(LinearKind::Qkv, Tensor::cat(&[dq, dk, dv], 1)?)]
        } else {
            vec![(LinearKind::Q, dq), (LinearKind::K, dk), (LinearKind::V, dv)]
        };
        // The weight of the norm before them needs the gradient of their input, too.
        let kind = WholeKind::LayerNorm(self.layer.index, LayerNorm::Input);
        let input = match self.layer.decoder.whole_index(kind) {
            Some(_) => InputGradient::Needed,
            None => input,
        };
        let kinds: Vec<LinearKind> = parts.iter().map(|(kind, _)| *kind).collect();
        let x = || self.layer.norm_or_same(&self.saved.input, self.layer.weights.input_norm.as_ref());
        let x = self.if_needed(&kinds, x)?;
        let mut dx: Option<Tensor> = None;
        for (kind, dy) in parts {
            let part = self.linear_step(kind, &dy, x.as_ref(), input)?;
            dx = match (dx, part) {
                (Some(sum), Some(part)) => Some(residual::add_scaled(&sum, part, None)?),
                (sum, part) => sum.or(part),
            };
        }
        match dx {
            None => Ok(None),
            Some(dx) => {
                self.norm_gradient(LayerNorm::Input, &self.saved.input, &dx)?;
                let dx = self.layer.norm_backward(
                    &self.saved.input,
                    self.layer.weights.input_norm.as_ref(),
                    dx,
                )?;
                Ok(Some(residual::add_scaled(d_middle, dx, None)?))
            }
        }
    }

    /// The gradient of a norm's weight from that of its output, if it is trained.
    fn norm_gradient(&mut self, norm: LayerNorm, x: &Tensor, dy: &Tensor) -> Result<()> {
        let kind = WholeKind::LayerNorm(self.layer.index, norm);
        self.layer.decoder.add_norm_gradient(kind, x, dy, self.gradients.adapter)
    }

    /// The same for a norm at the end of a branch, from the gradient of the residual stream.
    fn branch_norm_gradient(
        &mut self,
        norm: LayerNorm,
        d_stream: &Tensor,
        branch: Option<&Tensor>,
    ) -> Result<()> {
        let Some(branch) = branch else { return Ok(()) };
        if self.layer.decoder.whole_index(WholeKind::LayerNorm(self.layer.index, norm)).is_none() {
            return Ok(());
        }
        let dy = match self.layer.decoder.spec.residual_multiplier {
            None => d_stream.clone(),
            Some(factor) => residual::scale(d_stream, factor)?,
        };
        self.norm_gradient(norm, branch, &dy)
    }

    fn linear_backward(&mut self, kind: LinearKind, dy: &Tensor, x: Option<&Tensor>) -> Result<Tensor> {
        let dx = self.linear_step(kind, dy, x, InputGradient::Needed)?;
        Ok(dx.expect("the gradient of the input was asked for"))
    }

    fn linear_step(
        &mut self,
        kind: LinearKind,
        dy: &Tensor,
        x: Option<&Tensor>,
        input: InputGradient,
    ) -> Result<Option<Tensor>> {
        let position = self.layer.position(kind);
        let weights = &self.layer.weights.linears[position];
        if let (Some(along), Some(x)) = (&mut self.gradients.along, x) {
            let moved = frozen_linear::forward(x, &along.directions[position])?;
            along.sums[position] += inner_product(dy, &moved)?;
        }
        let ran = self.layer.branch(position, self.context).zip(self.saved.inner[position].as_ref()).map(
            |(lora, inner)| {
                let x = x.expect("the input of an adapted layer is made again");
                RanLora { lora, x, inner }
            },
        );
        if let (Some(module), Some(ran), Some(lengths)) = (weights.lora, ran, self.layer.lengths(position)) {
            let step = dora::backward(dy, &weights.weight, ran, &lengths, input)?;
            self.gradients.adapter.add(module, step.pair)?;
            self.gradients.adapter.add_magnitude(module, step.magnitude)?;
            return Ok(step.x);
        }
        let step = linear::backward(dy, &weights.weight, ran, input)?;
        if let (Some(module), Some(pair)) = (weights.lora, step.lora) {
            self.gradients.adapter.add(module, pair)?;
        }
        Ok(step.x)
    }
}
