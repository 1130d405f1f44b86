//! Causal attention with grouped queries, sliding windows, soft-caps and document borders.
//!
//! Work goes by strips: a block of queries of one head against the keys it may see. `[heads, seq, seq]` never exists; the
//! backward recomputes a strip from the saved log-sum-exp, as FlashAttention does (<https://arxiv.org/abs/2205.14135>).

mod backward;
mod forward;
mod plain;
mod segments;
mod spec;
mod strip;

pub use segments::Segments;
pub use spec::{Attended, AttentionSpec};

use super::error::invalid;
use super::host::has_kernel;
use candle_core::Tensor;
use olive_core::Result;

/// `softmax(mask(softcap(scale · q·kᵀ))) · v`; q `[queries, heads · head_dim]`, k and v `[keys, kv_heads · head_dim]`, with the
/// rows of `segments`. The elements of a row are adjacent; rows may lie apart, as those of a packed projection do.
///
/// # Errors
/// Shapes that do not fit, or a device error.
#[tracing::instrument(name = "attention::forward", level = "trace", skip_all)]
pub fn forward(
    spec: &AttentionSpec,
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    segments: &Segments,
) -> Result<Attended> {
    check(spec, [q, k, v], segments)?;
    if has_kernel(q) {
        forward::forward(spec, q, k, v, segments)
    } else {
        Ok(Attended { output: plain::forward(spec, q, k, v, segments)?, log_sum_exp: None })
    }
}

/// Gradients of q `[queries, heads · head_dim]`, k and v `[keys, kv_heads · head_dim]`, given what [`forward`] took and gave
/// and the gradient of its output, `[queries, heads · head_dim]`. Rows may lie apart, those of the gradients are adjacent.
///
/// # Errors
/// Shapes that do not fit, or a device error.
#[tracing::instrument(name = "attention::backward", level = "trace", skip_all)]
pub fn backward(
    spec: &AttentionSpec,
    [q, k, v]: [&Tensor; 3],
    attended: &Attended,
    d_output: &Tensor,
    segments: &Segments,
) -> Result<[Tensor; 3]> {
    check(spec, [q, k, v], segments)?;
    match &attended.log_sum_exp {
        Some(lse) => backward::backward(spec, [q, k, v], &attended.output, lse, d_output, segments),
        None => plain::backward(spec, [q, k, v], d_output, segments),
    }
}

/// Whether the operands have the rows of the segments and the columns of the heads.
fn check(spec: &AttentionSpec, [q, k, v]: [&Tensor; 3], segments: &Segments) -> Result<()> {
    let [q_shape, k_shape] = [(segments.queries(), spec.heads), (segments.keys(), spec.kv_heads)]
        .map(|(rows, heads)| [rows, heads * spec.head_dim]);
    if q.dims() == q_shape && k.dims() == k_shape && v.dims() == k_shape {
        return Ok(());
    }
    Err(invalid(format!(
        "attention needs queries {q_shape:?} and keys and values {k_shape:?}, got {:?}, {:?} and {:?}",
        q.dims(),
        k.dims(),
        v.dims()
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::autograd::vjp;
    use crate::oracle::{assert_close, random};

    fn spec(window: Option<usize>, softcap: Option<f64>) -> AttentionSpec {
        AttentionSpec { heads: 4, kv_heads: 2, head_dim: 8, scale: 0.6, window, softcap }
    }

    fn check(spec: &AttentionSpec, documents: &[usize]) -> Result<()> {
        let (segments, tokens) = (Segments::documents(documents), documents.iter().sum());
        let (width, kv_width) = (spec.heads * spec.head_dim, spec.kv_heads * spec.head_dim);
        let (q, dy) = (random(&[tokens, width], 1)?, random(&[tokens, width], 4)?);
        let (k, v) = (random(&[tokens, kv_width], 2)?, random(&[tokens, kv_width], 3)?);
        let attended = forward(spec, &q, &k, &v, &segments)?;
        assert_close(&attended.output, &plain::forward(spec, &q, &k, &v, &segments)?, 2e-6);
        let want = vjp([&q, &k, &v], &dy, |[q, k, v]| plain::forward(spec, q, k, v, &segments))?;
        let got = backward(spec, [&q, &k, &v], &attended, &dy, &segments)?;
        let plainly = plain::backward(spec, [&q, &k, &v], &dy, &segments)?;
        for (got, want) in got.iter().chain(&plainly).zip(want.iter().cycle()) {
            assert_close(got, want, 1e-5);
        }
        Ok(())
    }

    #[test]
    fn kernel_agrees_with_autograd() -> Result<()> {
        // More queries than a strip has, and more keys than are worked on at a time.
        for (window, softcap) in [(None, None), (Some(9), None), (None, Some(0.7)), (Some(100), Some(2.0))] {
            check(&spec(window, softcap), &[330, 1, 37])?;
        }
        // Windows that begin and end inside strips and parts of the keys, and heads that fill no panel.
        let wide = AttentionSpec { heads: 3, kv_heads: 1, head_dim: 20, scale: 0.2, ..spec(None, None) };
        for window in [None, Some(2), Some(97), Some(300)] {
            check(&AttentionSpec { window, ..wide }, &[610, 2, 96])?;
        }
        Ok(())
    }

    #[test]
    fn queries_after_a_cache_see_what_they_saw_at_once() -> Result<()> {
        let (q, k, v) = (random(&[90, 32], 1)?, random(&[90, 16], 2)?, random(&[90, 16], 3)?);
        for window in [None, Some(20)] {
            let spec = spec(window, None);
            let whole = forward(&spec, &q, &k, &v, &Segments::documents(&[90]))?.output;
            for queries in [1, 13] {
                let segments = Segments::after_cache(90 - queries, queries);
                let tail = forward(&spec, &q.narrow(0, 90 - queries, queries)?, &k, &v, &segments)?.output;
                assert_close(&tail, &whole.narrow(0, 90 - queries, queries)?, 2e-6);
            }
        }
        Ok(())
    }

    #[test]
    fn rows_that_belong_to_no_segment_are_refused() -> Result<()> {
        let (spec, segments) = (spec(None, None), Segments::documents(&[5, 2]));
        let (q, kv) = (random(&[7, 32], 1)?, random(&[7, 16], 2)?);
        assert!(forward(&spec, &q, &kv, &kv, &segments).is_ok());
        assert!(forward(&spec, &random(&[8, 32], 1)?, &kv, &kv, &segments).is_err());
        assert!(forward(&spec, &q, &random(&[6, 16], 2)?, &kv, &segments).is_err());
        assert!(forward(&spec, &q, &q, &kv, &segments).is_err());
        Ok(())
    }
}
