//! The same in plain candle operations, one document at a time.

use super::segments::{Segment, Segments};
use super::spec::AttentionSpec;
use crate::softmax::softmax;
use candle_core::{D, DType, Tensor};
use olive_core::Result;

pub(super) fn forward(
    spec: &AttentionSpec,
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    segments: &Segments,
) -> Result<Tensor> {
    let mut outputs = Vec::new();
    for segment in segments.iter() {
        let document = Document::new(spec, [q, k, v], segment)?;
        let weights = document.weights(&document.scores()?)?;
        let output = weights.to_dtype(v.dtype())?.matmul(&document.v)?; // [heads, queries, head_dim]
        outputs.push(rows(&output)?);
    }
    Ok(Tensor::cat(&outputs, 0)?)
}

/// Gradients of q, k and v. With `P` the weights and `s` the capped scores: `dv = Pᵀ·do`, `dP = do·vᵀ`,
/// `ds = P ∘ (dP − Σ dP∘P) ∘ (1 − (s/cap)²)`, `dq = scale · ds·k` and `dk = scale · dsᵀ·q`; those of k and v are summed over the
/// heads that share them.
pub(super) fn backward(
    spec: &AttentionSpec,
    [q, k, v]: [&Tensor; 3],
    d_output: &Tensor,
    segments: &Segments,
) -> Result<[Tensor; 3]> {
    let mut gradients: [Vec<Tensor>; 3] = Default::default();
    for segment in segments.iter() {
        let document = Document::new(spec, [q, k, v], segment)?;
        let scores = document.scores()?;
        let weights = document.weights(&scores)?;
        let d_output = heads(d_output, segment.query_rows(), spec.heads)?;
        let d_v = weights.to_dtype(v.dtype())?.t()?.matmul(&d_output)?;
        let d_weights = d_output.matmul(&document.v.t()?)?.to_dtype(DType::F32)?;
        let mean = (&d_weights * &weights)?.sum_keepdim(D::Minus1)?;
        let mut d_scores = (weights * d_weights.broadcast_sub(&mean)?)?;
        if let Some(cap) = spec.softcap {
            d_scores = (d_scores * (scores / cap)?.sqr()?.affine(-1.0, 1.0)?)?;
        }
        let d_scores = (d_scores * spec.scale)?.to_dtype(q.dtype())?;
        gradients[0].push(rows(&d_scores.matmul(&document.k)?)?);
        gradients[1].push(rows(&document.shared(&d_scores.t()?.matmul(&document.q)?)?)?);
        gradients[2].push(rows(&document.shared(&d_v)?)?);
    }
    let [d_q, d_k, d_v] = gradients;
    Ok([Tensor::cat(&d_q, 0)?, Tensor::cat(&d_k, 0)?, Tensor::cat(&d_v, 0)?])
}

/// One document; k and v as often as heads read them.
struct Document<'a> {
    spec: &'a AttentionSpec,
    segment: &'a Segment,
    /// `[heads, queries, head_dim]`.
    q: Tensor,
    /// `[heads, keys, head_dim]`.
    k: Tensor,
    /// `[heads, keys, head_dim]`.
    v: Tensor,
}

impl<'a> Document<'a> {
    fn new(spec: &'a AttentionSpec, [q, k, v]: [&Tensor; 3], segment: &'a Segment) -> Result<Document<'a>> {
        let repeat = |x: &Tensor| -> Result<Tensor> {
            let shape = (spec.kv_heads, spec.heads / spec.kv_heads, segment.keys(), spec.head_dim);
            let x = heads(x, segment.key_rows(), spec.kv_heads)?;
            let repeated = x.unsqueeze(1)?.expand(shape)?.contiguous()?;
            Ok(repeated.reshape((spec.heads, segment.keys(), spec.head_dim))?)
        };
        let q = heads(q, segment.query_rows(), spec.heads)?;
        Ok(Document { spec, segment, q, k: repeat(k)?, v: repeat(v)? })
    }

    /// `[heads, queries, keys]`, capped.
    fn scores(&self) -> Result<Tensor> {
        let scores = (self.q.matmul(&self.k.t()?)?.to_dtype(DType::F32)? * self.spec.scale)?;
        Ok(match self.spec.softcap {
            None => scores,
            Some(cap) => ((scores / cap)?.tanh()? * cap)?,
        })
    }

    /// The softmax over what a query sees.
    fn weights(&self, scores: &Tensor) -> Result<Tensor> {
        let (queries, keys) = (self.segment.queries(), self.segment.keys());
        let mut mask = vec![f32::NEG_INFINITY; queries * keys];
        for (query, row) in mask.chunks_exact_mut(keys).enumerate() {
            row[self.segment.visible(query, self.spec.window)].fill(0.0);
        }
        let mask = Tensor::from_vec(mask, (queries, keys), scores.device())?;
        Ok(softmax(&scores.broadcast_add(&mask)?)?)
    }

    /// The sum over the heads that share keys and values: `[kv_heads, keys, head_dim]`.
    fn shared(&self, gradient: &Tensor) -> Result<Tensor> {
        let spec = self.spec;
        let grouped = (spec.kv_heads, spec.heads / spec.kv_heads, self.segment.keys(), spec.head_dim);
        Ok(gradient.reshape(grouped)?.sum(1)?)
    }
}

/// `[rows, heads · head_dim]` to `[heads, rows, head_dim]`.
fn heads(x: &Tensor, rows: std::ops::Range<usize>, heads: usize) -> Result<Tensor> {
    let part = x.narrow(0, rows.start, rows.len())?.contiguous()?;
    Ok(part.reshape((rows.len(), heads, ()))?.transpose(0, 1)?.contiguous()?)
}

/// `[heads, rows, head_dim]` to `[rows, heads · head_dim]`.
fn rows(x: &Tensor) -> Result<Tensor> {
    let rows = x.dim(1)?;
    Ok(x.transpose(0, 1)?.contiguous()?.reshape((rows, ()))?)
}
