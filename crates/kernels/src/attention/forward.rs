//! The forward on the CPU.

use super::segments::Segments;
use super::spec::{Attended, AttentionSpec};
use super::strip::{KEYS, STRIDE, STRIP, Strip, head_block};
use crate::gemm::{Assign, Banded, MatMut, MatRef, Panels};
use crate::host::{HostRows, matrix};
use crate::vector::{Arithmetic, exp, max, simd_by, sum};
use candle_core::Tensor;
use olive_core::Result;
use rayon::prelude::*;

/// Queries that keys and values are packed for.
const QUERIES: usize = 192;

/// What the tasks share.
struct Forward<'a> {
    spec: &'a AttentionSpec,
    q: HostRows<'a>,         // [queries, heads · head_dim]
    k: HostRows<'a>,         // [keys, kv_heads · head_dim]
    v: HostRows<'a>,         // [keys, kv_heads · head_dim]
    output: MatMut<'a>,      // [queries, heads · head_dim]
    log_sum_exp: MatMut<'a>, // [heads, queries]
}

/// The softmax of a task's queries over the keys so far.
struct Softmax {
    /// The first of the queries, counted in the document.
    first: usize,
    /// The largest score of every query.
    tops: [f32; QUERIES],
    /// The sum of the exponentials of its scores less the largest.
    totals: [f32; QUERIES],
    /// Those of one strip against one part of the keys, `[strip, keys]`, rows [`STRIDE`] apart.
    scores: Vec<f32>,
}

/// One task per head and [`QUERIES`] queries of a document. q is `[queries, heads · head_dim]`, k and v are
/// `[keys, kv_heads · head_dim]`; their rows may lie apart, and are those of the segments.
pub(super) fn forward(
    spec: &AttentionSpec,
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    segments: &Segments,
) -> Result<Attended> {
    let (q, k, v) = (HostRows::new(q)?, HostRows::new(k)?, HostRows::new(v)?);
    let (queries, width) = (q.rows, spec.heads * spec.head_dim);
    let mut output = vec![0.0; queries * width];
    let mut log_sum_exp = vec![0.0; spec.heads * queries];
    let strips: Vec<Strip> =
        segments.iter().flat_map(|s| Strip::of(s, 0..s.queries(), spec.window, QUERIES)).collect();
    let shared = Forward {
        spec,
        q,
        k,
        v,
        output: MatMut::new(&mut output, queries, width, width),
        log_sum_exp: MatMut::new(&mut log_sum_exp, spec.heads, queries, queries),
    };
    (0..strips.len() * spec.heads).into_par_iter().with_max_len(1).for_each(|task| {
        shared.run(&strips[task % strips.len()], task / strips.len());
    });
    drop(shared);
    Ok(Attended {
        output: matrix(output, queries, width)?,
        log_sum_exp: Some(matrix(log_sum_exp, spec.heads, queries)?),
    })
}

impl Forward<'_> {
    /// One head of the queries of `whole`.
    fn run(&self, whole: &Strip, head: usize) {
        let AttentionSpec { heads, kv_heads, head_dim, window, .. } = *self.spec;
        let mut softmax = Softmax {
            first: whole.queries.start,
            tops: [f32::NEG_INFINITY; QUERIES],
            totals: [0.0; QUERIES],
            scores: Vec::new(),
        };
        let (mut k_panels, mut v_panels) = (Panels::empty(), Panels::empty());
        for start in whole.keys.clone().step_by(KEYS) {
            let part = start..(start + KEYS).min(whole.keys.end);
            let first = whole.segment.key_rows().start + start;
            let kv = |x| head_block(x, first, part.len(), head / (heads / kv_heads), head_dim);
            let (k, v) = (k_panels.pack(kv(&self.k).t()), v_panels.pack(kv(&self.v)));
            let strips = Strip::of(whole.segment, whole.queries.clone(), window, STRIP);
            for strip in strips.filter_map(|s| s.within(&part)) {
                self.add_keys(&strip, head, [k, v], &mut softmax);
            }
        }
        self.finish(whole, head, &softmax);
    }

    /// Takes some more keys into the softmax and the output of a strip. `kᵀ` and `v` hold the part of the keys that the
    /// strip's lie in.
    fn add_keys(&self, strip: &Strip, head: usize, [k_turned, v]: [&Panels; 2], softmax: &mut Softmax) {
        let AttentionSpec { head_dim, scale, window, softcap, .. } = *self.spec;
        let (rows, cols) = (strip.queries.len(), strip.keys.len());
        let band = strip.band(window);
        let Softmax { first, tops, totals, scores } = softmax;
        scores.resize(rows * STRIDE, 0.0);
        let mut block = MatMut::new(scores, rows, cols, STRIDE);
        let q = head_block(&self.q, strip.first_query(), rows, head, head_dim);
        let wanted = Banded::Product(band);
        k_turned.product(&mut block, Assign::Replace, scale as f32, q, [0, strip.skipped], wanted);
        #[expect(unsafe_code, reason = "every task writes its own block")]
        // SAFETY: `block` checks the bounds. A task is one head of some queries, and segments share no query, so that no
        // other task's block has an element of this one; the task itself drops one block before it takes the next.
        let mut output = unsafe { self.output.block(strip.first_query(), head * head_dim, rows, head_dim) };
        let done = strip.queries.start - *first;
        for (row, scores) in scores.chunks_exact_mut(STRIDE).enumerate() {
            let seen = band.columns(row..row + 1, cols);
            scores[..seen.start].fill(0.0);
            scores[seen.end..].fill(0.0);
            let (scores, output) = (&mut scores[seen], output.row(row));
            let (top, total) = (&mut tops[done + row], &mut totals[done + row]);
            simd_by(
                #[inline(always)]
                |by| absorb(scores, softcap, top, total, output, by),
            );
        }
        let weights = MatRef::new(scores, rows, cols, STRIDE);
        v.product(&mut output, Assign::Add, 1.0, weights, [strip.skipped, 0], Banded::Left(band));
    }

    /// Divides the output by the sums, whose logarithms it writes.
    fn finish(&self, whole: &Strip, head: usize, softmax: &Softmax) {
        let (first, rows, dim) = (whole.first_query(), whole.queries.len(), self.spec.head_dim);
        #[expect(unsafe_code, reason = "every task writes its own block")]
        // SAFETY: as in `add_keys`, whose blocks are gone; a row of the logarithms is a head, a column a query.
        let (mut output, mut lse) = unsafe {
            (self.output.block(first, head * dim, rows, dim), self.log_sum_exp.block(head, first, 1, rows))
        };
        for (row, (top, total)) in softmax.tops.iter().zip(&softmax.totals).take(rows).enumerate() {
            lse.row(0)[row] = top + total.ln();
            let inverse = total.recip();
            output.row(row).iter_mut().for_each(|x| *x *= inverse);
        }
    }
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
