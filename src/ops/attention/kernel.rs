//! The CPU kernel.

use super::{Attended, AttentionSpec, Segment};
use crate::Result;
use crate::ops::gemm::{Mat, MatMut, Write, gemm_serial};
use crate::ops::host::{HostRows, matrix};
use crate::ops::vector::{dot, exp, max, simd, sum};
use candle_core::Tensor;
use rayon::prelude::*;
use std::ops::Range;

/// Queries per strip: whole tiles of the product's kernels. Longer ones would compute more scores that nobody sees, shorter
/// ones pack the keys for fewer queries.
const STRIP: usize = 96;
/// Keys that the backward takes at a time, so that what it keeps of a strip stays in an L2 cache.
const KEYS: usize = 256;

/// Some queries of one document and the keys that any of them sees, both counted in the document.
struct Strip<'a> {
    segment: &'a Segment,
    queries: Range<usize>,
    keys: Range<usize>,
}

impl<'a> Strip<'a> {
    fn all(segment: &'a Segment, window: Option<usize>) -> impl Iterator<Item = Strip<'a>> {
        (0..segment.queries).step_by(STRIP).map(move |start| {
            let queries = start..(start + STRIP).min(segment.queries);
            let keys = segment.visible(start, window).start..segment.visible(queries.end - 1, window).end;
            Strip { segment, queries, keys }
        })
    }

    /// The strip against some keys after the others.
    fn parts(self) -> impl Iterator<Item = Strip<'a>> {
        let Strip { segment, queries, keys } = self;
        keys.clone().step_by(KEYS).map(move |start| {
            let keys = start..(start + KEYS).min(keys.end);
            Strip { segment, queries: queries.clone(), keys }
        })
    }

    /// For every query, the columns of the strip that it sees.
    fn rows(&self, window: Option<usize>) -> impl Iterator<Item = Range<usize>> + '_ {
        let Range { start, end } = self.keys;
        self.queries.clone().map(move |query| {
            let seen = self.segment.visible(query, window);
            seen.start.clamp(start, end) - start..seen.end.clamp(start, end) - start
        })
    }

    fn first_query(&self) -> usize {
        self.segment.first_query + self.queries.start
    }

    fn first_key(&self) -> usize {
        self.segment.first_key + self.keys.start
    }
}

/// The columns of `head` in rows `first..first + len`.
fn head_block<'a>(x: &'a HostRows, first: usize, len: usize, head: usize, head_dim: usize) -> Mat<'a> {
    Mat::new(&x.data()[first * x.stride + head * head_dim..], len, head_dim, x.stride)
}

pub(super) fn forward(
    spec: &AttentionSpec,
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    segments: &[Segment],
) -> Result<Attended> {
    let (q, k, v) = (HostRows::new(q)?, HostRows::new(k)?, HostRows::new(v)?);
    let (tokens, width, dim) = (q.rows, spec.heads * spec.head_dim, spec.head_dim);
    let group = spec.heads / spec.kv_heads;
    let mut output = vec![0.0; tokens * width];
    let mut log_sum_exp = vec![0.0; spec.heads * tokens];
    let output_blocks = MatMut::new(&mut output, tokens, width, width);
    let lse_blocks = MatMut::new(&mut log_sum_exp, spec.heads, tokens, tokens);
    let strips: Vec<Strip> = segments.iter().flat_map(|s| Strip::all(s, spec.window)).collect();
    (0..strips.len() * spec.heads).into_par_iter().for_each_init(Vec::new, |scores: &mut Vec<f32>, task| {
        let (strip, head) = (&strips[task / spec.heads], task % spec.heads);
        let (rows, cols) = (strip.queries.len(), strip.keys.len());
        let kv = |x| head_block(x, strip.first_key(), cols, head / group, dim);
        scores.resize(rows * cols, 0.0);
        let mut strip_scores = MatMut::new(scores, rows, cols, cols);
        let q = head_block(&q, strip.first_query(), rows, head, dim);
        gemm_serial(&mut strip_scores, Write::Replace, spec.scale as f32, q, kv(&k).t());
        #[expect(unsafe_code, reason = "every task writes its own block")]
        // SAFETY: a task is one head of one strip, so blocks do not overlap.
        let (mut output, mut lse) = unsafe {
            (
                output_blocks.block(strip.first_query(), head * dim, rows, dim),
                lse_blocks.block(head, strip.first_query(), 1, rows),
            )
        };
        for (row, seen) in strip.rows(spec.window).enumerate() {
            let scores = &mut scores[row * cols..][..cols];
            scores[..seen.start].fill(0.0);
            scores[seen.end..].fill(0.0);
            lse.row(0)[row] = simd(
                #[inline(always)]
                || softmax(&mut scores[seen], spec.softcap),
            );
        }
        gemm_serial(&mut output, Write::Replace, 1.0, Mat::new(scores, rows, cols, cols), kv(&v));
    });
    Ok(Attended {
        output: matrix(output, tokens, width)?,
        log_sum_exp: Some(matrix(log_sum_exp, spec.heads, tokens)?),
    })
}

/// Turns scores into weights; gives the log-sum-exp.
#[inline(always)]
fn softmax(scores: &mut [f32], softcap: Option<f64>) -> f32 {
    if let Some(cap) = softcap {
        let cap = cap as f32;
        scores.iter_mut().for_each(|s| *s = cap * (*s / cap).tanh());
    }
    let top = max(scores);
    scores.iter_mut().for_each(|s| *s = exp(*s - top));
    let total = sum(scores);
    let inverse = total.recip();
    scores.iter_mut().for_each(|s| *s *= inverse);
    top + total.ln()
}

/// One task per document and query head, so that every sum into dK and dV has one order; the heads of a group are
/// added afterwards.
pub(super) fn backward(
    spec: &AttentionSpec,
    [q, k, v]: [&Tensor; 3],
    output: &Tensor,
    log_sum_exp: &Tensor,
    d_output: &Tensor,
    segments: &[Segment],
) -> Result<[Tensor; 3]> {
    let (q, k, v) = (HostRows::new(q)?, HostRows::new(k)?, HostRows::new(v)?);
    let (output, lse) = (HostRows::new(output)?, HostRows::new(log_sum_exp)?);
    let d_output = HostRows::new(d_output)?;
    let (tokens, keys, dim) = (q.rows, k.rows, spec.head_dim);
    let (width, kv_width, group) = (spec.heads * dim, spec.kv_heads * dim, spec.heads / spec.kv_heads);
    let mut dq = vec![0.0; tokens * width];
    // Per query head: [keys, heads · head_dim].
    let (mut dk, mut dv) = (vec![0.0; keys * width], vec![0.0; keys * width]);
    let dq_blocks = MatMut::new(&mut dq, tokens, width, width);
    let dk_blocks = MatMut::new(&mut dk, keys, width, width);
    let dv_blocks = MatMut::new(&mut dv, keys, width, width);
    (0..segments.len() * spec.heads).into_par_iter().for_each(|task| {
        let (segment, head) = (&segments[task / spec.heads], task % spec.heads);
        let mut scratch: [Vec<f32>; 3] = Default::default();
        for strip in Strip::all(segment, spec.window).flat_map(Strip::parts) {
            let (rows, cols) = (strip.queries.len(), strip.keys.len());
            let query_block = |x| head_block(x, strip.first_query(), rows, head, dim);
            let key_block = |x| head_block(x, strip.first_key(), cols, head / group, dim);
            #[expect(unsafe_code, reason = "every task writes its own blocks")]
            // SAFETY: a task is one head of one document, and its parts are worked on one after the other.
            let (mut dq, mut dk, mut dv) = unsafe {
                (
                    dq_blocks.block(strip.first_query(), head * dim, rows, dim),
                    dk_blocks.block(strip.first_key(), head * dim, cols, dim),
                    dv_blocks.block(strip.first_key(), head * dim, cols, dim),
                )
            };
            let [weights, slopes, d_weights] = &mut scratch;
            weights.resize(rows * cols, 0.0);
            d_weights.resize(rows * cols, 0.0);
            let mut block = MatMut::new(weights, rows, cols, cols);
            gemm_serial(&mut block, Write::Replace, spec.scale as f32, query_block(&q), key_block(&k).t());
            if let Some(cap) = spec.softcap {
                slopes.resize(rows * cols, 0.0);
                cap_scores(weights, slopes, cap as f32);
            }
            for (row, seen) in strip.rows(spec.window).enumerate() {
                let weights = &mut weights[row * cols..][..cols];
                weights[..seen.start].fill(0.0);
                weights[seen.end..].fill(0.0);
                let total = lse.row(head)[strip.first_query() + row];
                simd(
                    #[inline(always)]
                    || weights[seen].iter_mut().for_each(|w| *w = exp(*w - total)),
                );
            }
            let d_out = query_block(&d_output);
            gemm_serial(&mut dv, Write::Add, 1.0, Mat::new(weights, rows, cols, cols).t(), d_out);
            let mut block = MatMut::new(d_weights, rows, cols, cols);
            gemm_serial(&mut block, Write::Replace, 1.0, d_out, key_block(&v).t());
            let out = query_block(&output);
            for row in 0..rows {
                let pull = simd(
                    #[inline(always)]
                    || dot(out.row(row), d_out.row(row)),
                );
                let range = row * cols..(row + 1) * cols;
                let (d_weights, weights) = (&mut d_weights[range.clone()], &weights[range]);
                simd(
                    #[inline(always)]
                    || d_weights.iter_mut().zip(weights).for_each(|(dw, w)| *dw = (*dw - pull) * w),
                );
            }
            if spec.softcap.is_some() {
                d_weights.iter_mut().zip(slopes.iter()).for_each(|(dw, slope)| *dw *= slope);
            }
            let d_scores = Mat::new(d_weights, rows, cols, cols);
            let first = segment.visible(strip.queries.start, spec.window).start == strip.keys.start;
            let write = if first { Write::Replace } else { Write::Add };
            gemm_serial(&mut dq, write, spec.scale as f32, d_scores, key_block(&k));
            gemm_serial(&mut dk, Write::Add, spec.scale as f32, d_scores.t(), query_block(&q));
        }
    });
    let add_groups = |per_head: Vec<f32>| {
        if group == 1 {
            return matrix(per_head, keys, width);
        }
        let mut total = vec![0.0; keys * kv_width];
        for (total, part) in total.chunks_exact_mut(dim).zip(per_head.chunks_exact(group * dim)) {
            for head in part.chunks_exact(dim) {
                total.iter_mut().zip(head).for_each(|(t, x)| *t += x);
            }
        }
        matrix(total, keys, kv_width)
    };
    Ok([matrix(dq, tokens, width)?, add_groups(dk)?, add_groups(dv)?])
}

/// Applies the cap and leaves its derivative in `slopes`.
fn cap_scores(scores: &mut [f32], slopes: &mut [f32], cap: f32) {
    for (score, slope) in scores.iter_mut().zip(slopes) {
        let t = (*score / cap).tanh();
        *score = cap * t;
        *slope = 1.0 - t * t;
    }
}
