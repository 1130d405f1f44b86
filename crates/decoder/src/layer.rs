//! One decoder layer forward, keeping what its backward needs.

use super::cache::LayerCache;
use super::forward_context::ForwardContext;
use super::weights::{Decoder, LayerWeights};
use candle_core::Tensor;
use olive_arch::{LinearKind, QkNorm, RopeUse};
use olive_core::Result;
use olive_kernels::attention::{self, Attended, AttentionSpec};
use olive_kernels::{
    Dora, Dropout, Lora, RotaryTables, Segments, dora, glu, linear, residual, rms_norm, rotary,
};

/// Activations of a layer. Whatever is cheap to compute again (norms, the gated product) is not kept.
pub(super) struct Saved {
    /// Input, `[tokens, hidden]`.
    pub(super) input: Tensor,
    /// Queries and keys before their norm, where they have one.
    pub(super) unnormed: Option<[Tensor; 2]>,
    /// As attention sees them.
    pub(super) qkv: [Tensor; 3],
    pub(super) attended: Attended,
    /// Output of `o_proj`, where a norm follows.
    pub(super) attention_branch: Option<Tensor>,
    /// Residual stream between the two branches.
    pub(super) middle: Tensor,
    pub(super) gate: Tensor,
    pub(super) up: Tensor,
    /// Output of `down_proj`, where a norm follows.
    pub(super) mlp_branch: Option<Tensor>,
    /// Inner values of the adapter branches, in the order of the layer's linear layers.
    pub(super) inner: Vec<Option<Tensor>>,
}

/// What attention reads.
struct Heads {
    /// As attention sees them, `[tokens, heads · head_dim]`.
    qkv: [Tensor; 3],
    /// Queries and keys before their norm, where they have one.
    unnormed: Option<[Tensor; 2]>,
}

/// What follows attention; names as in [`Saved`].
struct Branches {
    branch: Tensor,
    middle: Tensor,
    gate: Tensor,
    up: Tensor,
    mlp: Tensor,
    output: Tensor,
}

/// A layer with what it needs of the decoder.
pub(super) struct LayerOf<'a> {
    pub(super) decoder: &'a Decoder,
    pub(super) index: usize,
    pub(super) weights: &'a LayerWeights,
}

impl Decoder {
    pub(super) fn layer(&self, index: usize) -> LayerOf<'_> {
        LayerOf { decoder: self, index, weights: &self.layers[index] }
    }
}

impl LayerOf<'_> {
    /// `[tokens, hidden]` to `[tokens, hidden]`. With a cache, keys and values are appended to it and attention sees all
    /// that it holds.
    pub(super) fn forward(
        &self,
        input: &Tensor,
        context: &ForwardContext,
        cache: Option<&mut LayerCache>,
    ) -> Result<(Tensor, Saved)> {
        let mut inner = Vec::with_capacity(self.weights.linears.len());
        let Heads { qkv: [q, k, v], unnormed } = self.heads(input, context, &mut inner)?;
        let (k, v) = match cache {
            None => (k, v),
            Some(cache) => cache.append(&k, &v)?,
        };
        let attended = attention::forward(&self.attention(), &q, &k, &v, &context.segments)?;
        let Branches { branch, middle, gate, up, mlp, output } =
            self.branches(input, &attended.output, context, &mut inner)?;
        let saved = Saved {
            input: input.clone(),
            unnormed,
            qkv: [q, k, v],
            attended,
            attention_branch: self.weights.attention_output_norm.as_ref().map(|_| branch),
            middle,
            gate,
            up,
            mlp_branch: self.weights.mlp_output_norm.as_ref().map(|_| mlp),
            inner,
        };
        Ok((output, saved))
    }

    /// `[sequences, hidden]` to the same: a token of each sequence, which sees what its own cache holds and is appended to it.
    pub(super) fn forward_each(
        &self,
        input: &Tensor,
        context: &ForwardContext,
        caches: &mut [&mut LayerCache],
    ) -> Result<Tensor> {
        let mut inner = Vec::with_capacity(self.weights.linears.len());
        let Heads { qkv: [q, k, v], .. } = self.heads(input, context, &mut inner)?;
        let mut attended = Vec::with_capacity(caches.len());
        for (row, cache) in caches.iter_mut().enumerate() {
            let segments = Segments::after_cache(cache.len(), 1);
            let (k, v) = cache.append(&k.narrow(0, row, 1)?, &v.narrow(0, row, 1)?)?;
            let q = q.narrow(0, row, 1)?;
            attended.push(attention::forward(&self.attention(), &q, &k, &v, &segments)?.output);
        }
        let attended = Tensor::cat(&attended, 0)?;
        Ok(self.branches(input, &attended, context, &mut inner)?.output)
    }

    /// Queries and keys, normed and rotated, and values.
    fn heads(
        &self,
        input: &Tensor,
        context: &ForwardContext,
        inner: &mut Vec<Option<Tensor>>,
    ) -> Result<Heads> {
        let x = self.norm_or_same(input, self.weights.input_norm.as_ref())?;
        let [q, k, v] = self.project_qkv(&x, context, inner)?;
        let unnormed = self.weights.qk_norm.as_ref().map(|_| [q.clone(), k.clone()]);
        let [q, k] = self.qk_norm([q, k])?;
        let [q, k] = match self.rotary(context) {
            None => [q, k],
            Some(tables) => {
                let dim = self.decoder.spec.attention.head_dim;
                [rotary::forward(q, tables, dim)?, rotary::forward(k, tables, dim)?]
            }
        };
        Ok(Heads { qkv: [q, k, v], unnormed })
    }

    /// What attention gave, added to the residual stream, and the MLP after it.
    fn branches(
        &self,
        input: &Tensor,
        attended: &Tensor,
        context: &ForwardContext,
        inner: &mut Vec<Option<Tensor>>,
    ) -> Result<Branches> {
        let branch = self.apply(LinearKind::O, attended, context, inner)?;
        let normed = self.norm_or_same(&branch, self.weights.attention_output_norm.as_ref())?;
        let middle = self.add_branch(input, normed)?;

        let x = self.norm_or_same(&middle, self.weights.mlp_norm.as_ref())?;
        let [gate, up] = self.project_gate_up(&x, context, inner)?;
        let product = glu::forward(&gate, &up, self.decoder.spec.mlp.activation)?;
        let mlp = self.apply(LinearKind::Down, &product, context, inner)?;
        let normed = self.norm_or_same(&mlp, self.weights.mlp_output_norm.as_ref())?;
        let output = self.add_branch(&middle, normed)?;
        Ok(Branches { branch, middle, gate, up, mlp, output })
    }

    pub(super) fn attention(&self) -> AttentionSpec {
        let spec = &self.decoder.spec;
        let a = &spec.attention;
        AttentionSpec {
            heads: a.heads,
            kv_heads: a.kv_heads,
            head_dim: a.head_dim,
            scale: a.scale,
            window: spec.layers[self.index].window,
            softcap: a.softcap,
        }
    }

    pub(super) fn rotary<'p>(&self, context: &'p ForwardContext) -> Option<&'p RotaryTables> {
        match self.decoder.spec.layers[self.index].rope {
            RopeUse::None => None,
            RopeUse::Global => Some(&context.global),
            RopeUse::Local => context.local.as_ref(),
        }
    }

    /// Position of `kind` among the layer's linear layers.
    pub(super) fn position(&self, kind: LinearKind) -> usize {
        let mut linears = self.weights.linears.iter();
        linears.position(|l| l.linear.kind == kind).expect("the spec lists every linear layer it uses")
    }

    pub(super) fn branch<'a>(&'a self, position: usize, context: &ForwardContext) -> Option<Lora<'a>> {
        let index = self.weights.linears[position].lora?;
        let module = &self.decoder.lora[index];
        let dropout = context.dropout.filter(|d| d.rate > 0.0);
        Some(Lora {
            a: &module.a,
            b: &module.b,
            scale: module.scale,
            dropout: dropout.map(|d| Dropout { rate: d.rate, key: d.key, place: index as u32 }),
        })
    }

    /// DoRA's part of a branch.
    pub(super) fn lengths(&self, position: usize) -> Option<Dora<'_>> {
        let index = self.weights.linears[position].lora?;
        let lengths = self.decoder.lora[index].lengths.as_ref()?;
        Some(Dora { magnitude: &lengths.magnitude, norm: &lengths.norm })
    }

    fn apply(
        &self,
        kind: LinearKind,
        x: &Tensor,
        context: &ForwardContext,
        inner: &mut Vec<Option<Tensor>>,
    ) -> Result<Tensor> {
        let position = self.position(kind);
        let weights = &self.weights.linears[position];
        let branch = self.branch(position, context);
        let bias = weights.bias.as_ref();
        let (y, kept) = match (&branch, self.lengths(position)) {
            (Some(branch), Some(lengths)) => {
                let (y, kept) = dora::forward(x, &weights.weight, bias, branch, &lengths)?;
                (y, Some(kept))
            }
            _ => linear::forward(x, &weights.weight, bias, branch.as_ref())?,
        };
        debug_assert_eq!(inner.len(), position, "linear layers are applied in the order of the spec");
        inner.push(kept);
        Ok(y)
    }

    fn project_qkv(
        &self,
        x: &Tensor,
        context: &ForwardContext,
        inner: &mut Vec<Option<Tensor>>,
    ) -> Result<[Tensor; 3]> {
        let a = &self.decoder.spec.attention;
        if !a.packed_qkv {
            let mut one = |kind| self.apply(kind, x, context, inner);
            return Ok([one(LinearKind::Q)?, one(LinearKind::K)?, one(LinearKind::V)?]);
        }
        let packed = self.apply(LinearKind::Qkv, x, context, inner)?;
        let (q, kv) = (a.q_size(), a.kv_size());
        Ok([packed.narrow(1, 0, q)?, packed.narrow(1, q, kv)?, packed.narrow(1, q + kv, kv)?])
    }

    fn project_gate_up(
        &self,
        x: &Tensor,
        context: &ForwardContext,
        inner: &mut Vec<Option<Tensor>>,
    ) -> Result<[Tensor; 2]> {
        if !self.decoder.spec.mlp.packed_gate_up {
            let mut one = |kind| self.apply(kind, x, context, inner);
            return Ok([one(LinearKind::Gate)?, one(LinearKind::Up)?]);
        }
        let packed = self.apply(LinearKind::GateUp, x, context, inner)?;
        let size = self.decoder.spec.intermediate_size;
        Ok([packed.narrow(1, 0, size)?, packed.narrow(1, size, size)?])
    }

    fn qk_norm(&self, [q, k]: [Tensor; 2]) -> Result<[Tensor; 2]> {
        match &self.weights.qk_norm {
            None => Ok([q, k]),
            Some([wq, wk]) => {
                let norm = |x: &Tensor, w| -> Result<Tensor> {
                    let rows = self.norm_rows(x)?;
                    Ok(rms_norm::forward(&rows, w, self.decoder.spec.norm_eps)?.reshape(x.shape())?)
                };
                Ok([norm(&q, wq)?, norm(&k, wk)?])
            }
        }
    }

    /// A projection with one row per vector that its norm works on.
    pub(super) fn norm_rows(&self, x: &Tensor) -> Result<Tensor> {
        let a = &self.decoder.spec.attention;
        Ok(match a.qk_norm {
            Some(QkNorm::PerHead) => x.contiguous()?.reshape(((), a.head_dim))?,
            Some(QkNorm::Full) | None => x.clone(),
        })
    }

    pub(super) fn norm_or_same(&self, x: &Tensor, weight: Option<&Tensor>) -> Result<Tensor> {
        match weight {
            None => Ok(x.clone()),
            Some(weight) => rms_norm::forward(x, weight, self.decoder.spec.norm_eps),
        }
    }

    /// The sum takes the memory of `branch`: of a norm's output, or of a branch that is not kept because no norm follows.
    fn add_branch(&self, stream: &Tensor, branch: Tensor) -> Result<Tensor> {
        residual::add_scaled(stream, branch, self.decoder.spec.residual_multiplier)
    }
}
