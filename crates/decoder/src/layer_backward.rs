//! One decoder layer backward.

use super::LoraGradients;
use super::forward_context::ForwardContext;
use super::layer::{LayerOf, Saved};
use super::whole::{LayerNorm, WholeKind};
use candle_core::Tensor;
use olive_arch::LinearKind;
use olive_core::Result;
use olive_kernels::linear::RanLora;
use olive_kernels::{attention, dora, glu, linear, residual, rms_norm, rotary};

impl LayerOf<'_> {
    /// Gradient of the layer's input, given that of its output; adds those of the adapter. What was saved is used up: some
    /// gradients are written in its place. `None` when the input's is not needed, as in the lowest layer that has an
    /// adapter.
    pub(super) fn backward(
        &self,
        saved: Saved,
        d_output: &Tensor,
        context: &ForwardContext,
        gradients: &mut LoraGradients,
        need_input: bool,
    ) -> Result<Option<Tensor>> {
        let d_middle = self.mlp_backward(&saved, d_output, context, gradients)?;
        self.attention_backward(&saved, &d_middle, context, gradients, need_input)
    }

    fn mlp_backward(
        &self,
        saved: &Saved,
        d_output: &Tensor,
        context: &ForwardContext,
        gradients: &mut LoraGradients,
    ) -> Result<Tensor> {
        let spec = &self.decoder.spec;
        self.branch_norm_gradient(LayerNorm::MlpOutput, d_output, saved.mlp_branch.as_ref(), gradients)?;
        let d_branch =
            self.branch_backward(d_output, saved.mlp_branch.as_ref(), self.weights.mlp_output_norm.as_ref())?;
        let product = || glu::forward(&saved.gate, &saved.up, spec.mlp.activation);
        let product = self.if_adapted(&[LinearKind::Down], product)?;
        let d_product =
            self.linear_backward(LinearKind::Down, &d_branch, product.as_ref(), saved, context, gradients)?;
        drop(product);
        let [d_gate, d_up] =
            glu::backward(saved.gate.clone(), saved.up.clone(), spec.mlp.activation, &d_product)?;
        let x = || self.norm_or_same(&saved.middle, self.weights.mlp_norm.as_ref());
        let dx = if spec.mlp.packed_gate_up {
            let x = self.if_adapted(&[LinearKind::GateUp], x)?;
            let packed = Tensor::cat(&[d_gate, d_up], 1)?;
            self.linear_backward(LinearKind::GateUp, &packed, x.as_ref(), saved, context, gradients)?
        } else {
            let x = self.if_adapted(&[LinearKind::Gate, LinearKind::Up], x)?;
            let through_gate =
                self.linear_backward(LinearKind::Gate, &d_gate, x.as_ref(), saved, context, gradients)?;
            let through_up =
                self.linear_backward(LinearKind::Up, &d_up, x.as_ref(), saved, context, gradients)?;
            residual::add_scaled(&through_gate, through_up, None)?
        };
        self.norm_gradient(LayerNorm::Mlp, &saved.middle, &dx, gradients)?;
        let dx = self.norm_backward(&saved.middle, self.weights.mlp_norm.as_ref(), dx)?;
        residual::add_scaled(d_output, dx, None)
    }

    fn attention_backward(
        &self,
        saved: &Saved,
        d_middle: &Tensor,
        context: &ForwardContext,
        gradients: &mut LoraGradients,
        need_input: bool,
    ) -> Result<Option<Tensor>> {
        let a = &self.decoder.spec.attention;
        let branch = saved.attention_branch.as_ref();
        self.branch_norm_gradient(LayerNorm::AttentionOutput, d_middle, branch, gradients)?;
        let d_branch = self.branch_backward(
            d_middle,
            saved.attention_branch.as_ref(),
            self.weights.attention_output_norm.as_ref(),
        )?;
        let attended = &saved.attended;
        let d_attended = self.linear_backward(
            LinearKind::O,
            &d_branch,
            Some(&attended.output),
            saved,
            context,
            gradients,
        )?;
        let [q, k, v] = &saved.qkv;
        let [mut dq, mut dk, dv] =
            attention::backward(&self.attention(), [q, k, v], attended, &d_attended, &context.segments)?;
        if let Some(tables) = self.rotary(context) {
            dq = rotary::backward(dq, tables, a.head_dim)?;
            dk = rotary::backward(dk, tables, a.head_dim)?;
        }
        if let (Some([wq, wk]), Some([q, k])) = (&self.weights.qk_norm, &saved.unnormed) {
            let norm = |x: &Tensor, w: &Tensor, dy: Tensor| -> Result<Tensor> {
                let dx = rms_norm::backward(
                    &self.norm_rows(x)?,
                    w,
                    self.decoder.spec.norm_eps,
                    self.norm_rows(&dy)?,
                )?;
                Ok(dx.reshape(x.shape())?)
            };
            self.norm_gradient(LayerNorm::Query, &self.norm_rows(q)?, &self.norm_rows(&dq)?, gradients)?;
            self.norm_gradient(LayerNorm::Key, &self.norm_rows(k)?, &self.norm_rows(&dk)?, gradients)?;
            dq = norm(q, wq, dq)?;
            dk = norm(k, wk, dk)?;
        }
        let parts = if a.packed_qkv {
            vec![(LinearKind::Qkv, Tensor::cat(&[dq, dk, dv], 1)?)]
        } else {
            vec![(LinearKind::Q, dq), (LinearKind::K, dk), (LinearKind::V, dv)]
        };
        // The weight of the norm before them needs the gradient of their input, too.
        let kind = WholeKind::LayerNorm(self.index, LayerNorm::Input);
        let need_input = need_input || self.decoder.whole_index(kind).is_some();
        let kinds: Vec<LinearKind> = parts.iter().map(|(kind, _)| *kind).collect();
        let x = || self.norm_or_same(&saved.input, self.weights.input_norm.as_ref());
        let x = self.if_adapted(&kinds, x)?;
        let mut dx: Option<Tensor> = None;
        for (kind, dy) in parts {
            let part = self.linear_step(kind, &dy, x.as_ref(), saved, context, gradients, need_input)?;
            dx = match (dx, part) {
                (Some(sum), Some(part)) => Some(residual::add_scaled(&sum, part, None)?),
                (sum, part) => sum.or(part),
            };
        }
        match dx {
            None => Ok(None),
            Some(dx) => {
                self.norm_gradient(LayerNorm::Input, &saved.input, &dx, gradients)?;
                let dx = self.norm_backward(&saved.input, self.weights.input_norm.as_ref(), dx)?;
                Ok(Some(residual::add_scaled(d_middle, dx, None)?))
            }
        }
    }

    /// The gradient of a norm's weight from that of its output, if it is trained.
    fn norm_gradient(
        &self,
        norm: LayerNorm,
        x: &Tensor,
        dy: &Tensor,
        gradients: &mut LoraGradients,
    ) -> Result<()> {
        self.decoder.add_norm_gradient(WholeKind::LayerNorm(self.index, norm), x, dy, gradients)
    }

    /// The same for a norm at the end of a branch, from the gradient of the residual stream.
    fn branch_norm_gradient(
        &self,
        norm: LayerNorm,
        d_stream: &Tensor,
        branch: Option<&Tensor>,
        gradients: &mut LoraGradients,
    ) -> Result<()> {
        let Some(branch) = branch else { return Ok(()) };
        if self.decoder.whole_index(WholeKind::LayerNorm(self.index, norm)).is_none() {
            return Ok(());
        }
        let dy = match self.decoder.spec.residual_multiplier {
            None => d_stream.clone(),
            Some(factor) => residual::scale(d_stream, factor)?,
        };
        self.norm_gradient(norm, branch, &dy, gradients)
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

    /// The input of some linear layers, made again where one of them has an adapter, which needs it.
    fn if_adapted(
        &self,
        kinds: &[LinearKind],
        input: impl FnOnce() -> Result<Tensor>,
    ) -> Result<Option<Tensor>> {
        let adapted = |kind: &LinearKind| self.weights.linears[self.position(*kind)].lora.is_some();
        kinds.iter().any(adapted).then(input).transpose()
    }

    fn linear_backward(
        &self,
        kind: LinearKind,
        dy: &Tensor,
        x: Option<&Tensor>,
        saved: &Saved,
        context: &ForwardContext,
        gradients: &mut LoraGradients,
    ) -> Result<Tensor> {
        let dx = self.linear_step(kind, dy, x, saved, context, gradients, true)?;
        Ok(dx.expect("the gradient of the input was asked for"))
    }

    #[expect(clippy::too_many_arguments, reason = "the operands of one backward step")]
    fn linear_step(
        &self,
        kind: LinearKind,
        dy: &Tensor,
        x: Option<&Tensor>,
        saved: &Saved,
        context: &ForwardContext,
        gradients: &mut LoraGradients,
        need_x: bool,
    ) -> Result<Option<Tensor>> {
        let position = self.position(kind);
        let weights = &self.weights.linears[position];
        let ran = self.branch(position, context).zip(saved.inner[position].as_ref()).map(|(lora, inner)| {
            let x = x.expect("the input of an adapted layer is made again");
            RanLora { lora, x, inner }
        });
        if let (Some(module), Some(ran), Some(lengths)) = (weights.lora, ran, self.lengths(position)) {
            let step = dora::backward(dy, &weights.weight, ran, &lengths, need_x)?;
            gradients.add(module, step.pair)?;
            gradients.add_magnitude(module, step.magnitude)?;
            return Ok(step.x);
        }
        let step = linear::backward(dy, &weights.weight, ran, need_x)?;
        if let (Some(module), Some(pair)) = (weights.lora, step.lora) {
            gradients.add(module, pair)?;
        }
        Ok(step.x)
    }
}
