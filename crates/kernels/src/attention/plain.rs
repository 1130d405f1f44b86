//! The same in plain candle operations, one document at a time.

use super::segments::Segments;
use super::spec::AttentionSpec;
use candle_core::{D, DType, Tensor};
use olive_core::Result;
use std::ops::Range;

pub(super) fn forward(
    spec: &AttentionSpec,
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    segments: &Segments,
) -> Result<Tensor> {
    let group = spec.heads / spec.kv_heads;
    let mut outputs = Vec::new();
    for segment in segments.iter() {
        let (queries, keys) = (segment.query_rows(), segment.key_rows());
        let heads = |x: &Tensor, rows: Range<usize>, heads: usize| -> candle_core::Result<Tensor> {
            x.narrow(0, rows.start, rows.len())?
                .contiguous()?
                .reshape((rows.len(), heads, spec.head_dim))?
                .transpose(0, 1)?
                .contiguous() // [heads, rows, head_dim]
        };
        let repeat = |x: Tensor| -> candle_core::Result<Tensor> {
            x.unsqueeze(1)?
                .expand((spec.kv_heads, group, segment.keys(), spec.head_dim))?
                .contiguous()?
                .reshape((spec.heads, segment.keys(), spec.head_dim))
        };
        let q = heads(q, queries, spec.heads)?;
        let k = repeat(heads(k, keys.clone(), spec.kv_heads)?)?;
        let v = repeat(heads(v, keys, spec.kv_heads)?)?;
        let mut scores = (q.matmul(&k.t()?)?.to_dtype(DType::F32)? * spec.scale)?; // [heads, queries, keys]
        if let Some(cap) = spec.softcap {
            scores = ((scores / cap)?.tanh()? * cap)?;
        }
        let mut mask = vec![f32::NEG_INFINITY; segment.queries() * segment.keys()];
        for (query, row) in mask.chunks_exact_mut(segment.keys()).enumerate() {
            row[segment.visible(query, spec.window)].fill(0.0);
        }
        let mask = Tensor::from_vec(mask, (segment.queries(), segment.keys()), scores.device())?;
        let weights = candle_nn::ops::softmax(&scores.broadcast_add(&mask)?, D::Minus1)?;
        let output = weights.to_dtype(v.dtype())?.matmul(&v)?; // [heads, queries, head_dim]
        outputs.push(output.transpose(0, 1)?.contiguous()?.reshape((segment.queries(), ()))?);
    }
    Ok(Tensor::cat(&outputs, 0)?)
}
