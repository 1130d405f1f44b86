//! The backward on the CPU.

use super::segments::{Segment, Segments};
use super::spec::AttentionSpec;
use super::strip::{KEYS, STRIDE, STRIP, Strip, head_block};
use crate::gemm::{Assign, Band, Banded, MatMut, MatRef, Panels};
use crate::host::{HostRows, matrix, rows_per_task};
use crate::vector::{dot, exp, simd, simd_by};
use candle_core::Tensor;
use olive_core::Result;
use rayon::prelude::*;
use std::ops::Range;

/// Elements that a task adds.
const CHUNK: usize = 1 << 14;

/// What the tasks share.
struct Backward<'a> {
    spec: &'a AttentionSpec,
    q: HostRows<'a>,           // [queries, heads · head_dim]
    k: HostRows<'a>,           // [keys, kv_heads · head_dim]
    v: HostRows<'a>,           // [keys, kv_heads · head_dim]
    output: HostRows<'a>,      // [queries, heads · head_dim]
    log_sum_exp: HostRows<'a>, // [heads, queries]
    d_output: HostRows<'a>,    // [queries, heads · head_dim]
    /// Those of the first halves above those of the second.
    dq: MatMut<'a>, // [2 · queries, heads · head_dim]
    /// Per query head.
    dk: MatMut<'a>, // [keys, heads · head_dim]
    dv: MatMut<'a>,            // [keys, heads · head_dim]
}

/// Some of a document's keys with all its queries.
struct Half<'a> {
    segment: &'a Segment,
    /// 0 or 1.
    index: usize,
    keys: Range<usize>,
}

/// Operands of the products of a task, packed: of one head, a part of the keys and a strip of the queries.
struct HeadPanels<'a> {
    k: Panels<'a>,        // [keys, head_dim]
    k_turned: Panels<'a>, // [head_dim, keys]
    v_turned: Panels<'a>, // [head_dim, keys]
    q: Panels<'a>,        // [queries, head_dim]
    d_output: Panels<'a>, // [queries, head_dim]
}

/// Values of a strip against a part of the keys, `[queries, keys]` each, rows [`STRIDE`] apart.
#[derive(Default)]
struct StripValues {
    weights: Vec<f32>,
    /// Derivatives of the soft-cap; empty without one.
    slopes: Vec<f32>,
    /// Gradients of the weights, then of the scores.
    d_weights: Vec<f32>,
}

/// One task per query head and half of a document's keys, so that every sum into dK and dV has one order; the two dQ of
/// the halves, and the heads of a group, are added afterwards.
///
/// q, `output` and `d_output` are `[queries, heads · head_dim]`, k and v `[keys, kv_heads · head_dim]`, and the logarithms
/// `[heads, queries]`; rows may lie apart.
pub(super) fn backward(
    spec: &AttentionSpec,
    [q, k, v]: [&Tensor; 3],
    output: &Tensor,
    log_sum_exp: &Tensor,
    d_output: &Tensor,
    segments: &Segments,
) -> Result<[Tensor; 3]> {
    let (q, k, v) = (HostRows::new(q)?, HostRows::new(k)?, HostRows::new(v)?);
    let (queries, keys, width) = (q.rows, k.rows, spec.heads * spec.head_dim);
    let work: Vec<Half> = segments.iter().flat_map(|s| halves(s, spec.window)).collect();
    let mut dq = vec![0.0; 2 * queries * width];
    let (mut dk, mut dv) = (vec![0.0; keys * width], vec![0.0; keys * width]);
    let shared = Backward {
        spec,
        q,
        k,
        v,
        output: HostRows::new(output)?,
        log_sum_exp: HostRows::new(log_sum_exp)?,
        d_output: HostRows::new(d_output)?,
        dq: MatMut::new(&mut dq, 2 * queries, width, width),
        dk: MatMut::new(&mut dk, keys, width, width),
        dv: MatMut::new(&mut dv, keys, width, width),
    };
    (0..work.len() * spec.heads).into_par_iter().with_max_len(1).for_each(|task| {
        shared.run(&work[task / spec.heads], task % spec.heads);
    });
    drop(shared);
    add_halves(&mut dq, queries * width);
    Ok([matrix(dq, queries, width)?, add_groups(spec, dk, keys)?, add_groups(spec, dv, keys)?])
}

/// The keys of a document in two parts of about the same work; the second is empty where it would not pay.
fn halves<'a>(segment: &'a Segment, window: Option<usize>) -> [Half<'a>; 2] {
    let (queries, keys) = (segment.queries(), segment.keys());
    let cut = |middle| {
        [Half { segment, index: 0, keys: 0..middle }, Half { segment, index: 1, keys: middle..keys }]
    };
    if keys <= KEYS / 2 {
        return cut(keys);
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
    cut(middle.unwrap_or_default().next_multiple_of(Panels::STEP).min(keys))
}

impl Backward<'_> {
    /// One head of one half.
    fn run(&self, half: &Half, head: usize) {
        let AttentionSpec { heads, kv_heads, head_dim, window, .. } = *self.spec;
        let mut values = StripValues::default();
        let mut panels = HeadPanels {
            k: Panels::empty(),
            k_turned: Panels::empty(),
            v_turned: Panels::empty(),
            q: Panels::empty(),
            d_output: Panels::empty(),
        };
        for start in half.keys.clone().step_by(KEYS) {
            let part = start..(start + KEYS).min(half.keys.end);
            let first = half.segment.key_rows().start + start;
            let key_block = |x| head_block(x, first, part.len(), head / (heads / kv_heads), head_dim);
            let (k, v) = (key_block(&self.k), key_block(&self.v));
            panels.k.pack(k);
            panels.k_turned.pack(k.t());
            panels.v_turned.pack(v.t());
            let strips = Strip::of(half.segment, 0..half.segment.queries(), window, STRIP);
            for strip in strips.filter_map(|s| s.within(&part)) {
                self.add_strip(&strip, half.index, head, &mut panels, &mut values);
            }
        }
    }

    /// Adds what a strip gives to the gradients. The keys and values that `panels` holds are those that the strip's lie
    /// in.
    fn add_strip<'s>(
        &'s self,
        strip: &Strip,
        half: usize,
        head: usize,
        panels: &mut HeadPanels<'s>,
        values: &mut StripValues,
    ) {
        let AttentionSpec { head_dim: dim, scale, window, .. } = *self.spec;
        let (rows, cols, scale) = (strip.queries.len(), strip.keys.len(), scale as f32);
        let queries = self.q.rows;
        #[expect(unsafe_code, reason = "every task writes its own blocks")]
        // SAFETY: `block` checks the bounds. A task is one head, which is columns of its own, and one half of a
        // document's keys: no other task has its keys, which are the rows of dK and dV, and of those that have its queries
        // the other half writes the other part of dQ. Segments share no row. Strips are worked on one after the other.
        let (mut dq, mut dk, mut dv) = unsafe {
            (
                self.dq.block(half * queries + strip.first_query(), head * dim, rows, dim),
                self.dk.block(strip.first_key(), head * dim, cols, dim),
                self.dv.block(strip.first_key(), head * dim, cols, dim),
            )
        };
        let band = strip.band(window);
        let query_block = |x| head_block(x, strip.first_query(), rows, head, dim);
        let (q, out, d_out) = (query_block(&self.q), query_block(&self.output), query_block(&self.d_output));
        self.weights(strip, head, q, &panels.k_turned, values);
        let (turned, turned_band) =
            (MatRef::new(&values.weights, rows, cols, STRIDE).t(), Banded::Left(band.t()));
        panels.d_output.pack(d_out).product(&mut dv, Assign::Add, 1.0, turned, [0, 0], turned_band);
        values.d_weights.resize(rows * STRIDE, 0.0);
        let mut block = MatMut::new(&mut values.d_weights, rows, cols, STRIDE);
        let wanted = Banded::Product(band);
        panels.v_turned.product(&mut block, Assign::Replace, 1.0, d_out, [0, strip.skipped], wanted);
        score_gradients(values, band, cols, out, d_out);
        let d_scores = MatRef::new(&values.d_weights, rows, cols, STRIDE);
        panels.k.product(&mut dq, Assign::Add, scale, d_scores, [strip.skipped, 0], Banded::Left(band));
        panels.q.pack(q).product(&mut dk, Assign::Add, scale, d_scores.t(), [0, 0], turned_band);
    }

    /// The weights of the forward again, from the saved logarithms, and the derivatives of the soft-cap. `q` is
    /// `[queries, head_dim]`, `k_turned` `[head_dim, keys]`.
    fn weights(&self, strip: &Strip, head: usize, q: MatRef, k_turned: &Panels, values: &mut StripValues) {
        let (rows, cols) = (strip.queries.len(), strip.keys.len());
        let band = strip.band(self.spec.window);
        let (scale, wanted) = (self.spec.scale as f32, Banded::Product(band));
        let StripValues { weights, slopes, .. } = values;
        weights.resize(rows * STRIDE, 0.0);
        let mut block = MatMut::new(weights, rows, cols, STRIDE);
        k_turned.product(&mut block, Assign::Replace, scale, q, [0, strip.skipped], wanted);
        if let Some(cap) = self.spec.softcap {
            slopes.resize(rows * STRIDE, 0.0);
            cap_scores(weights, slopes, cap as f32);
        }
        for (row, weights) in weights.chunks_exact_mut(STRIDE).enumerate() {
            let seen = band.columns(row..row + 1, cols);
            weights[..seen.start].fill(0.0);
            weights[seen.end..].fill(0.0);
            let total = self.log_sum_exp.row(head)[strip.first_query() + row];
            simd_by(
                #[inline(always)]
                |by| weights[seen].iter_mut().for_each(|w| *w = exp(*w - total, by)),
            );
        }
    }
}

/// From gradients of the weights to those of the scores before the soft-cap, in their place: `dS = P ⊙ (dP - Σ O ⊙ dO)`
/// per row. `out` and `d_out` are `[queries, head_dim]`.
fn score_gradients(values: &mut StripValues, band: Band, cols: usize, out: MatRef, d_out: MatRef) {
    let StripValues { weights, slopes, d_weights } = values;
    let rows = weights.chunks_exact(STRIDE).zip(d_weights.chunks_exact_mut(STRIDE));
    for (row, (weights, d_weights)) in rows.enumerate() {
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
    // Empty without a soft-cap.
    d_weights.iter_mut().zip(slopes.iter()).for_each(|(dw, slope)| *dw *= slope);
}

/// Applies the cap and leaves its derivative in `slopes`.
fn cap_scores(scores: &mut [f32], slopes: &mut [f32], cap: f32) {
    for (score, slope) in scores.iter_mut().zip(slopes) {
        let t = (*score / cap).tanh();
        *score = cap * t;
        *slope = 1.0 - t * t;
    }
}

/// Adds the second `len` elements to the first, and leaves those.
fn add_halves(dq: &mut Vec<f32>, len: usize) {
    let (first, second) = dq.split_at_mut(len);
    first.par_chunks_mut(CHUNK).zip(second.par_chunks(CHUNK)).for_each(|(dq, second)| {
        dq.iter_mut().zip(second).for_each(|(x, y)| *x += y);
    });
    dq.truncate(len);
}

/// Sums over the query heads that share a key head: `[keys, heads · head_dim]` to `[keys, kv_heads · head_dim]`.
fn add_groups(spec: &AttentionSpec, per_head: Vec<f32>, keys: usize) -> Result<Tensor> {
    let AttentionSpec { heads, kv_heads, head_dim: dim, .. } = *spec;
    let (width, kv_width, group) = (heads * dim, kv_heads * dim, heads / kv_heads);
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
}
