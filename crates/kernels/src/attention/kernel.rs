//! The CPU kernel.

use super::segments::{Segment, Segments};
use super::spec::{Attended, AttentionSpec};
use crate::gemm::{Band, Banded, Mat, MatMut, Panels, Write};
use crate::host::{HostRows, matrix, rows_per_task};
use crate::vector::{Arithmetic, dot, exp, max, simd, simd_by, sum};
use candle_core::Tensor;
use olive_core::Result;
use rayon::prelude::*;
use std::ops::Range;

/// Queries per strip: whole tiles of the product's kernels, and as many as leave strip and keys in an L2 cache.
const STRIP: usize = 96;
/// Queries that the forward packs the keys for.
const QUERIES: usize = 192;
/// Keys worked on at a time, so that they and their scores stay in an L2 cache.
const KEYS: usize = 256;
/// Floats between the rows of a strip's scores. Not a multiple of 256 bytes, with which the rows of one column would push
/// each other out of an L1 cache.
const STRIDE: usize = KEYS + 16;

/// Elements that a task adds.
const CHUNK: usize = 1 << 14;

/// Some queries of one document and the keys that any of them sees, both counted in the document.
#[derive(Clone)]
struct Strip<'a> {
    segment: &'a Segment,
    queries: Range<usize>,
    keys: Range<usize>,
}

impl<'a> Strip<'a> {
    /// Strips of `length` of these queries.
    fn of(
        segment: &'a Segment,
        queries: Range<usize>,
        window: Option<usize>,
        length: usize,
    ) -> impl Iterator<Item = Strip<'a>> {
        let last = queries.end;
        queries.step_by(length).map(move |start| {
            let queries = start..(start + length).min(last);
            let keys = segment.visible(start, window).start..segment.visible(queries.end - 1, window).end;
            Strip { segment, queries, keys }
        })
    }

    /// The strip against those of its keys that lie in `part`, from a whole panel of it on.
    fn within(mut self, part: &Range<usize>) -> Option<Strip<'a>> {
        let (start, end) = (self.keys.start.max(part.start), self.keys.end.min(part.end));
        self.keys = start - (start - part.start) % Panels::STEP..end;
        (start < end).then_some(self)
    }

    /// Which column each row sees.
    fn band(&self, window: Option<usize>) -> Band {
        let Range { end, .. } = self.segment.visible(self.queries.start, window);
        let end = end as isize - self.keys.start as isize;
        Band { first: end - window.unwrap_or(self.segment.keys()) as isize, end }
    }

    fn first_query(&self) -> usize {
        self.segment.query_rows().start + self.queries.start
    }

    fn first_key(&self) -> usize {
        self.segment.key_rows().start + self.keys.start
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
    segments: &Segments,
) -> Result<Attended> {
    let (q, k, v) = (HostRows::new(q)?, HostRows::new(k)?, HostRows::new(v)?);
    let (tokens, width, dim) = (q.rows, spec.heads * spec.head_dim, spec.head_dim);
    let group = spec.heads / spec.kv_heads;
    let mut output = vec![0.0; tokens * width];
    let mut log_sum_exp = vec![0.0; spec.heads * tokens];
    let output_blocks = MatMut::new(&mut output, tokens, width, width);
    let lse_blocks = MatMut::new(&mut log_sum_exp, spec.heads, tokens, tokens);
    let strips: Vec<Strip> =
        segments.iter().flat_map(|s| Strip::of(s, 0..s.queries(), spec.window, QUERIES)).collect();
    (0..strips.len() * spec.heads).into_par_iter().with_max_len(1).for_each(|task| {
        let (whole, head) = (&strips[task % strips.len()], task / strips.len());
        let (mut tops, mut totals) = ([f32::NEG_INFINITY; QUERIES], [0.0; QUERIES]);
        let mut scores = Vec::new();
        let (mut k_panels, mut v_panels) = (Panels::empty(), Panels::empty());
        #[expect(unsafe_code, reason = "every task writes its own block")]
        let output_block = |first, rows| {
            // SAFETY: a task is one head of some queries, so blocks do not overlap; only one of its own lives at a time.
            unsafe { output_blocks.block(first, head * dim, rows, dim) }
        };
        for start in whole.keys.clone().step_by(KEYS) {
            let part = start..(start + KEYS).min(whole.keys.end);
            let kv = |x| head_block(x, whole.segment.key_rows().start + start, part.len(), head / group, dim);
            let (k, v) = (k_panels.pack(kv(&k).t()), v_panels.pack(kv(&v)));
            let strips = Strip::of(whole.segment, whole.queries.clone(), spec.window, STRIP);
            for strip in strips.filter_map(|s| s.within(&part)) {
                let (rows, cols, skipped) = (strip.queries.len(), strip.keys.len(), strip.keys.start - start);
                let band = strip.band(spec.window);
                scores.resize(rows * STRIDE, 0.0);
                let mut block = MatMut::new(&mut scores, rows, cols, STRIDE);
                let q = head_block(&q, strip.first_query(), rows, head, dim);
                let banded = Banded::Product(band);
                k.product(&mut block, Write::Replace, spec.scale as f32, q, [0, skipped], banded);
                let mut output = output_block(strip.first_query(), rows);
                let done = strip.queries.start - whole.queries.start;
                for (row, scores) in scores.chunks_exact_mut(STRIDE).enumerate() {
                    let seen = band.columns(row..row + 1, cols);
                    scores[..seen.start].fill(0.0);
                    scores[seen.end..].fill(0.0);
                    let (scores, output) = (&mut scores[seen], output.row(row));
                    let (top, total) = (&mut tops[done + row], &mut totals[done + row]);
                    simd_by(
                        #[inline(always)]
                        |by| absorb(scores, spec.softcap, top, total, output, by),
                    );
                }
                let weights = Mat::new(&scores, rows, cols, STRIDE);
                v.product(&mut output, Write::Add, 1.0, weights, [skipped, 0], Banded::Left(band));
            }
        }
        let (first, rows) = (whole.first_query(), whole.queries.len());
        let mut output = output_block(first, rows);
        #[expect(unsafe_code, reason = "every task writes its own block")]
        // SAFETY: as for the output.
        let mut lse = unsafe { lse_blocks.block(head, first, 1, rows) };
        for (row, (top, total)) in tops.iter().zip(&totals).take(rows).enumerate() {
            lse.row(0)[row] = top + total.ln();
            let inverse = total.recip();
            output.row(row).iter_mut().for_each(|x| *x *= inverse);
        }
    });
    Ok(Attended {
        output: matrix(output, tokens, width)?,
        log_sum_exp: Some(matrix(log_sum_exp, spec.heads, tokens)?),
    })
}

/// Turns some more scores of a row into weights relative to the largest score so far, and what was summed before with them.
/// Online softmax, <https://arxiv.org/abs/1805.02867>.
#[inline(always)]
fn absorb(
    scores: &mut [f32],
    softcap: Option<f64>,
    top: &mut f32,
    total: &mut f32,
    output: &mut [f32],
    by: Arithmetic,
) {
    if scores.is_empty() {
        return;
    }
    if let Some(cap) = softcap {
        let cap = cap as f32;
        scores.iter_mut().for_each(|s| *s = cap * (*s / cap).tanh());
    }
    let highest = max(scores).max(*top);
    if highest != *top {
        let factor = exp(*top - highest, by);
        *total *= factor;
        output.iter_mut().for_each(|x| *x *= factor);
        *top = highest;
    }
    scores.iter_mut().for_each(|s| *s = exp(*s - highest, by));
    *total += sum(scores);
}

/// The keys of a document in two parts of about the same work; the second is empty where it would not pay.
fn halves(segment: &Segment, window: Option<usize>) -> [Range<usize>; 2] {
    let (queries, keys) = (segment.queries(), segment.keys());
    if keys <= KEYS / 2 {
        return [0..keys, keys..keys];
    }
    // How many of the queries, from the `first` on, see a key.
    let seen = |key: usize| {
        let first = (key + queries).saturating_sub(keys);
        window.map_or(queries, |w| (key + w + queries).saturating_sub(keys).min(queries)) - first
    };
    let total: usize = (0..keys).map(seen).sum();
    let mut sum = 0;
    let middle = (0..keys).position(|key| {
        sum += seen(key);
        2 * sum >= total
    });
    let middle = middle.unwrap_or_default().next_multiple_of(Panels::STEP).min(keys);
    [0..middle, middle..keys]
}

/// One task per query head and half of a document's keys, so that every sum into dK and dV has one order; the two dQ of
/// the halves, and the heads of a group, are added afterwards.
pub(super) fn backward(
    spec: &AttentionSpec,
    [q, k, v]: [&Tensor; 3],
    output: &Tensor,
    log_sum_exp: &Tensor,
    d_output: &Tensor,
    segments: &Segments,
) -> Result<[Tensor; 3]> {
    let (q, k, v) = (HostRows::new(q)?, HostRows::new(k)?, HostRows::new(v)?);
    let (output, lse) = (HostRows::new(output)?, HostRows::new(log_sum_exp)?);
    let d_output = HostRows::new(d_output)?;
    let (tokens, keys, dim) = (q.rows, k.rows, spec.head_dim);
    let (width, kv_width, group) = (spec.heads * dim, spec.kv_heads * dim, spec.heads / spec.kv_heads);
    let work: Vec<(&Segment, usize, Range<usize>)> = segments
        .iter()
        .flat_map(|s| halves(s, spec.window).into_iter().enumerate().map(move |(half, keys)| (s, half, keys)))
        .collect();
    // One below the other.
    let mut dq = vec![0.0; 2 * tokens * width];
    // Per query head: [keys, heads · head_dim].
    let (mut dk, mut dv) = (vec![0.0; keys * width], vec![0.0; keys * width]);
    let dq_blocks = MatMut::new(&mut dq, 2 * tokens, width, width);
    let dk_blocks = MatMut::new(&mut dk, keys, width, width);
    let dv_blocks = MatMut::new(&mut dv, keys, width, width);
    (0..work.len() * spec.heads).into_par_iter().with_max_len(1).for_each(|task| {
        let ((segment, half, half_keys), head) = (&work[task / spec.heads], task % spec.heads);
        let mut scratch: [Vec<f32>; 3] = Default::default();
        let [mut k_panels, mut k_turned, mut v_turned, mut q_panels, mut d_out_panels] =
            std::array::from_fn(|_| Panels::empty());
        for start in half_keys.clone().step_by(KEYS) {
            let part = start..(start + KEYS).min(half_keys.end);
            let key_block =
                |x| head_block(x, segment.key_rows().start + start, part.len(), head / group, dim);
            let (k, v) = (key_block(&k), key_block(&v));
            let (k_panels, k_turned, v_turned) =
                (k_panels.pack(k), k_turned.pack(k.t()), v_turned.pack(v.t()));
            let strips =
                Strip::of(segment, 0..segment.queries(), spec.window, STRIP).filter_map(|s| s.within(&part));
            for strip in strips {
                let (rows, cols) = (strip.queries.len(), strip.keys.len());
                let skipped = strip.keys.start - start;
                let query_block = |x| head_block(x, strip.first_query(), rows, head, dim);
                #[expect(unsafe_code, reason = "every task writes its own blocks")]
                // SAFETY: a task is one head of one half, whose strips are worked on one after the other.
                let (mut dq, mut dk, mut dv) = unsafe {
                    (
                        dq_blocks.block(half * tokens + strip.first_query(), head * dim, rows, dim),
                        dk_blocks.block(strip.first_key(), head * dim, cols, dim),
                        dv_blocks.block(strip.first_key(), head * dim, cols, dim),
                    )
                };
                let band = strip.band(spec.window);
                let [weights, slopes, d_weights] = &mut scratch;
                weights.resize(rows * STRIDE, 0.0);
                d_weights.resize(rows * STRIDE, 0.0);
                let (scale, wanted) = (spec.scale as f32, Banded::Product(band));
                let q = query_block(&q);
                let mut block = MatMut::new(weights, rows, cols, STRIDE);
                k_turned.product(&mut block, Write::Replace, scale, q, [0, skipped], wanted);
                if let Some(cap) = spec.softcap {
                    slopes.resize(rows * STRIDE, 0.0);
                    cap_scores(weights, slopes, cap as f32);
                }
                for (row, weights) in weights.chunks_exact_mut(STRIDE).enumerate() {
                    let seen = band.columns(row..row + 1, cols);
                    weights[..seen.start].fill(0.0);
                    weights[seen.end..].fill(0.0);
                    let total = lse.row(head)[strip.first_query() + row];
                    simd_by(
                        #[inline(always)]
                        |by| weights[seen].iter_mut().for_each(|w| *w = exp(*w - total, by)),
                    );
                }
                let d_out = query_block(&d_output);
                let (turned, turned_band) =
                    (Mat::new(weights, rows, cols, STRIDE).t(), Banded::Left(band.t()));
                d_out_panels.pack(d_out).product(&mut dv, Write::Add, 1.0, turned, [0, 0], turned_band);
                let mut block = MatMut::new(d_weights, rows, cols, STRIDE);
                v_turned.product(&mut block, Write::Replace, 1.0, d_out, [0, skipped], wanted);
                let out = query_block(&output);
                let rows_of = weights.chunks_exact(STRIDE).zip(d_weights.chunks_exact_mut(STRIDE));
                for (row, (weights, d_weights)) in rows_of.enumerate() {
                    let seen = band.columns(row..row + 1, cols);
                    d_weights[..seen.start].fill(0.0);
                    d_weights[seen.end..].fill(0.0);
                    let (weights, d_weights) = (&weights[seen.clone()], &mut d_weights[seen]);
                    simd(
                        #[inline(always)]
                        || {
                            let pull = dot(out.row(row), d_out.row(row));
                            d_weights.iter_mut().zip(weights).for_each(|(dw, w)| *dw = (*dw - pull) * w);
                        },
                    );
                }
                if spec.softcap.is_some() {
                    d_weights.iter_mut().zip(slopes.iter()).for_each(|(dw, slope)| *dw *= slope);
                }
                let d_scores = Mat::new(d_weights, rows, cols, STRIDE);
                k_panels.product(&mut dq, Write::Add, scale, d_scores, [skipped, 0], Banded::Left(band));
                q_panels.pack(q).product(&mut dk, Write::Add, scale, d_scores.t(), [0, 0], turned_band);
            }
        }
    });
    let (first, second) = dq.split_at_mut(tokens * width);
    first.par_chunks_mut(CHUNK).zip(second.par_chunks(CHUNK)).for_each(|(dq, second)| {
        dq.iter_mut().zip(second).for_each(|(x, y)| *x += y);
    });
    dq.truncate(tokens * width);
    let add_groups = |per_head: Vec<f32>| {
        if group == 1 {
            return matrix(per_head, keys, width);
        }
        let mut total = vec![0.0; keys * kv_width];
        let rows = rows_per_task(width);
        let parts = total.par_chunks_mut(rows * kv_width).zip(per_head.par_chunks(rows * width));
        parts.for_each(|(total, part)| {
            for (total, part) in total.chunks_exact_mut(dim).zip(part.chunks_exact(group * dim)) {
                for head in part.chunks_exact(dim) {
                    total.iter_mut().zip(head).for_each(|(t, x)| *t += x);
                }
            }
        });
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
