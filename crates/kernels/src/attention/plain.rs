//! The same in plain candle operations, one document at a time.

use super::{AttentionSpec, Segment};
use candle_core::{D, DType, Tensor};
use olive_core::Result;

pub(super) fn forward(
    spec: &AttentionSpec,
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    segments: &[Segment],
) -> Result<Tensor> {
    let group = spec.heads / spec.kv_heads;
    let mut outputs = Vec::with_capacity(segments.len());
    for segment in segments {
        let heads = |x: &Tensor, first: usize, len: usize, heads: usize| -> candle_core::Result<Tensor> {
            x.narrow(0, first, len)?
                .contiguous()?
                .reshape((len, heads, spec.head_dim))?
                .transpose(0, 1)?
                .contiguous() // [heads, len, head_dim]
        };
        let repeat = |x: Tensor| -> candle_core::Result<Tensor> {
            x.unsqueeze(1)?
                .expand((spec.kv_heads, group, segment.keys, spec.head_dim))?
                .contiguous()?
                .reshape((spec.heads, segment.keys, spec.head_dim))
        };
        let q = heads(q, segment.first_query, segment.queries, spec.heads)?;
        let k = repeat(heads(k, segment.first_key, segment.keys, spec.kv_heads)?)?;
        let v = repeat(heads(v, segment.first_key, segment.keys, spec.kv_heads)?)?;
        let mut scores = (q.matmul(&k.t()?)?.to_dtype(DType::F32)? * spec.scale)?; // [heads, queries, keys]
        if let Some(cap) = spec.softcap {
            scores = ((scores / cap)?.tanh()? * cap)?;
        }
        let mut mask = vec![f32::NEG_INFINITY; segment.queries * segment.keys];
        for (query, row) in mask.chunks_exact_mut(segment.keys).enumerate() {
            row[segment.visible(query, spec.window)].fill(0.0);
        }
        let mask = Tensor::from_vec(mask, (segment.queries, segment.keys), scores.device())?;
        let weights = candle_nn::ops::softmax(&scores.broadcast_add(&mask)?, D::Minus1)?;
        let output = weights.to_dtype(v.dtype())?.matmul(&v)?; // [heads, queries, head_dim]
        outputs.push(output.transpose(0, 1)?.contiguous()?.reshape((segment.queries, ()))?);
    }
    Ok(Tensor::cat(&outputs, 0)?)
}
