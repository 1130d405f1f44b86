//! The language-model head and its loss in one sweep over chunks of rows: `[tokens, vocab]` never exists.

use super::error::invalid;
use super::frozen_linear::{self, FrozenWeight};
use super::gemm::MatRef;
use super::host::{HostRows, matrix};
use super::softmax::{log_softmax, softmax};
use super::vector::{Arithmetic, exp, max, simd_by, sum};
use candle_core::{D, DType, Tensor};
use half::{bf16, f16};
use olive_core::Result;
use rayon::prelude::*;

/// Final projection of a decoder.
#[derive(Clone, Copy)]
pub struct Head<'a> {
    /// `[vocab, hidden]`.
    pub weight: &'a FrozenWeight,
    /// Factor on the logits.
    pub multiplier: Option<f64>,
    /// `cap · tanh(logits / cap)`.
    pub softcap: Option<f64>,
}

/// What rows should predict, and how much each of them counts.
#[derive(Debug, Clone, Copy)]
pub struct LossTargets<'a> {
    /// One per row; negative ones do not count and cost nothing.
    pub labels: &'a [i32],
    /// Factors on the losses, one per row. `None`: 1 for all.
    pub weights: Option<&'a [f32]>,
}

impl<'a> From<&'a [i32]> for LossTargets<'a> {
    fn from(labels: &'a [i32]) -> LossTargets<'a> {
        LossTargets { labels, weights: None }
    }
}

impl<'a> From<&'a Vec<i32>> for LossTargets<'a> {
    fn from(labels: &'a Vec<i32>) -> LossTargets<'a> {
        LossTargets { labels, weights: None }
    }
}

impl LossTargets<'_> {
    /// The numbers of the rows that count.
    fn counted(&self) -> Vec<u32> {
        (0..self.labels.len() as u32).filter(|row| counts(self.labels[*row as usize])).collect()
    }

    /// Those of some rows, all of which count.
    fn of(&self, rows: &[u32]) -> RowTargets {
        RowTargets {
            labels: rows.iter().map(|row| self.labels[*row as usize] as u32).collect(),
            weights: self.weights.map(|all| rows.iter().map(|row| all[*row as usize]).collect()),
        }
    }
}

/// Targets of rows that all count.
struct RowTargets {
    labels: Vec<u32>,
    weights: Option<Vec<f32>>,
}

impl RowTargets {
    fn weight(&self, row: usize) -> f64 {
        self.weights.as_ref().map_or(1.0, |weights| f64::from(weights[row]))
    }
}

/// Masked cross-entropy of some rows.
#[derive(Debug)]
pub struct LmLoss {
    /// Sum over the rows that count, each with its weight.
    pub sum: f64,
    /// Rows that count.
    pub count: usize,
    /// Gradient of `factor · sum` with respect to the hidden states, `[rows, hidden]`, if it was asked for.
    pub d_hidden: Option<Tensor>,
}

/// Target of a row that does not count: every negative value.
const fn counts(target: i32) -> bool {
    target >= 0
}

/// Elements of a chunk's logits, 64 MB as f32: every chunk decodes the whole weight twice.
const CHUNK: usize = 1 << 24;

/// Rows whose logits exist at a time, of `rows` in all: chunks are of one size, as few rows would pay for a whole weight.
pub fn chunk_rows(rows: usize, vocab: usize) -> usize {
    let most = (CHUNK / vocab.max(1)).max(64);
    rows.div_ceil(rows.div_ceil(most).max(1))
}

/// Cross-entropy of `softmax(head(hidden))` against `targets`, one per row of `hidden` `[rows, hidden]`. `factor` asks for
/// the gradient of `factor · sum`.
///
/// # Errors
/// No target that counts, one outside the vocabulary, shapes that do not fit, or a device error.
#[tracing::instrument(name = "lm_loss", level = "trace", skip_all)]
pub fn lm_loss<'t>(
    hidden: &Tensor,
    targets: impl Into<LossTargets<'t>>,
    head: Head,
    factor: Option<f64>,
) -> Result<LmLoss> {
    let targets = targets.into();
    let (rows, width) = hidden.dims2()?;
    let vocab = head.weight.out_features;
    let counted = targets.counted();
    if counted.is_empty() {
        return Err(invalid(format!("none of the {rows} positions has a label, so there is no loss")));
    }
    if let Some(label) = targets.of(&counted).labels.iter().find(|label| **label as usize >= vocab) {
        return Err(invalid(format!("label {label} is outside the vocabulary of {vocab}")));
    }
    let index = Tensor::new(counted.as_slice(), hidden.device())?;
    let all = counted.len() == rows;
    let kept = if all { hidden.clone() } else { hidden.contiguous()?.index_select(&index, 0)? };
    let chunk_rows = chunk_rows(counted.len(), vocab);
    let mut sum = 0.0;
    let mut gradients = Vec::new();
    // Shared by the chunks: fresh memory of this size costs a page fault per 4 KB.
    let mut logits = Vec::new();
    let mut start = 0;
    while start < counted.len() {
        let len = chunk_rows.min(counted.len() - start);
        let part = kept.narrow(0, start, len)?;
        let targets = targets.of(&counted[start..start + len]);
        let (loss, gradient) = if head.weight.on_host() {
            chunk_on_host(&part, &targets, head, factor, &mut logits)?
        } else {
            plain_chunk(&part, &targets, head, factor)?
        };
        sum += loss;
        gradients.extend(gradient);
        start += len;
    }
    let d_hidden = match factor {
        None => None,
        Some(_) => {
            let kept = Tensor::cat(&gradients, 0)?;
            Some(if all {
                kept
            } else {
                let zeros = Tensor::zeros((rows, width), kept.dtype(), kept.device())?;
                zeros.index_add(&index, &kept, 0)?
            })
        }
    };
    Ok(LmLoss { sum, count: counted.len(), d_hidden })
}

/// Gradient of `factor · sum` with respect to the head's weight, `[vocab, hidden]`, where that is trained.
///
/// # Errors
/// As [`lm_loss`].
#[tracing::instrument(name = "lm_loss::head_gradient", level = "trace", skip_all)]
pub fn head_gradient(hidden: &Tensor, targets: LossTargets<'_>, head: Head, factor: f64) -> Result<Tensor> {
    let vocab = head.weight.out_features;
    let counted = targets.counted();
    let mut total: Option<Tensor> = None;
    for rows in counted.chunks(chunk_rows(counted.len(), vocab).max(1)) {
        let kept = hidden.contiguous()?.index_select(&Tensor::new(rows, hidden.device())?, 0)?;
        let d_raw = raw_gradient(&kept, &targets.of(rows), head, factor)?.1;
        let part = d_raw.t()?.matmul(&kept.to_dtype(d_raw.dtype())?)?;
        total = Some(match total {
            None => part,
            Some(sum) => (sum + part)?,
        });
    }
    total.ok_or_else(|| invalid("no position has a label, so there is no loss".into()))
}

fn chunk_on_host(
    hidden: &Tensor,
    targets: &RowTargets,
    head: Head,
    factor: Option<f64>,
    logits: &mut Vec<f32>,
) -> Result<(f64, Option<Tensor>)> {
    let x = HostRows::new(hidden)?;
    let vocab = head.weight.out_features;
    logits.resize(x.rows * vocab, 0.0);
    frozen_linear::forward_host(MatRef::new(x.data(), x.rows, x.cols, x.stride), head.weight, logits);
    let multiplier = head.multiplier.unwrap_or(1.0) as f32;
    let cap = head.softcap.map(|cap| cap as f32);
    let losses: Vec<f64> = logits
        .par_chunks_mut(vocab)
        .zip(&targets.labels)
        .enumerate()
        .map(|(place, (row, label))| {
            let weight = targets.weight(place);
            let factor = factor.map(|factor| factor * weight);
            let loss = simd_by(
                #[inline(always)]
                |by| row_loss(row, *label as usize, multiplier, cap, factor, by),
            );
            loss * weight
        })
        .collect();
    let gradient = match factor {
        None => None,
        Some(_) => {
            let dx = frozen_linear::backward_values(MatRef::new(logits, x.rows, vocab, vocab), head.weight);
            Some(matrix(dx, x.rows, x.cols)?)
        }
    };
    Ok((losses.iter().sum(), gradient))
}

/// Loss of one row of raw logits; turns the row into the gradient if `factor` asks for it.
#[inline(always)]
fn row_loss(
    row: &mut [f32],
    label: usize,
    multiplier: f32,
    cap: Option<f32>,
    factor: Option<f64>,
    by: Arithmetic,
) -> f64 {
    if multiplier != 1.0 {
        row.iter_mut().for_each(|l| *l *= multiplier);
    }
    if let Some(cap) = cap {
        row.iter_mut().for_each(|l| *l = cap * (*l / cap).tanh());
    }
    let own = row[label];
    let top = max(row);
    let mut total = 0.0;
    match (factor, cap) {
        (Some(_), None) => {
            // The terms stay in place of the logits: they are the gradient but for a factor.
            for part in row.chunks_mut(PART) {
                part.iter_mut().for_each(|l| *l = exp(*l - top, by));
                total += f64::from(sum(part));
            }
        }
        (None, _) | (Some(_), Some(_)) => total = sum_of_exp(row, top, by),
    }
    let log_sum = f64::from(top) + total.ln();
    if let Some(factor) = factor {
        let scale = factor as f32 * multiplier;
        match cap {
            None => {
                let share = (f64::from(scale) / total) as f32;
                row.iter_mut().for_each(|term| *term *= share);
            }
            Some(cap) => {
                let shift = log_sum as f32;
                let slope = |l: f32| 1.0 - (l / cap) * (l / cap);
                row.iter_mut().for_each(|l| *l = scale * exp(*l - shift, by) * slope(*l));
            }
        }
        row[label] -= scale * cap.map_or(1.0, |cap| 1.0 - (own / cap) * (own / cap));
    }
    log_sum - f64::from(own)
}

/// Values that are summed in f32. Their sums are added in f64, because a vocabulary has up to 2¹⁸ entries.
const PART: usize = 1024;

/// `Σ e^(logit - top)`.
#[inline(always)]
pub(super) fn sum_of_exp(row: &[f32], top: f32, by: Arithmetic) -> f64 {
    let mut terms = [0.0; PART];
    let mut total = 0.0;
    for part in row.chunks(PART) {
        let terms = &mut terms[..part.len()];
        terms.iter_mut().zip(part).for_each(|(t, l)| *t = exp(l - top, by));
        total += f64::from(sum(terms));
    }
    total
}

/// Finished logits of some rows, in the type in which another program computed them.
#[derive(Debug, Clone, Copy)]
pub enum Logits<'a> {
    F32(&'a [f32]),
    F16(&'a [f16]),
    Bf16(&'a [bf16]),
}

/// Sum of the cross-entropies of `logits`, `[targets, vocab]`, against `targets`; negative ones do not count.
///
/// # Errors
/// Logits of another shape, or a target outside the vocabulary.
pub fn cross_entropy(logits: Logits<'_>, targets: &[i32]) -> Result<f64> {
    match logits {
        Logits::F32(logits) => sum_of_losses(logits, targets),
        Logits::F16(logits) => sum_of_losses(logits, targets),
        Logits::Bf16(logits) => sum_of_losses(logits, targets),
    }
}

fn sum_of_losses<T: Copy + Send + Sync + Into<f32>>(logits: &[T], targets: &[i32]) -> Result<f64> {
    let (rows, vocab) = (targets.len(), logits.len() / targets.len().max(1));
    if rows * vocab != logits.len() {
        return Err(invalid(format!("{} logits are no rows for {rows} targets", logits.len())));
    }
    if let Some(label) = targets.iter().find(|target| **target >= 0 && **target as usize >= vocab) {
        return Err(invalid(format!("label {label} is outside the vocabulary of {vocab}")));
    }
    let counted = logits.par_chunks(vocab.max(1)).zip(targets).filter(|(_, target)| counts(**target));
    let losses: Vec<f64> = counted
        .map_init(Vec::new, |row: &mut Vec<f32>, (logits, target)| {
            row.clear();
            row.extend(logits.iter().map(|logit| (*logit).into()));
            simd_by(
                #[inline(always)]
                |by| row_loss(row, *target as usize, 1.0, None, None, by),
            )
        })
        .collect();
    Ok(losses.iter().sum())
}

/// Logits `[rows, vocab]`, for generation and tests.
///
/// # Errors
/// Shapes that do not fit, or a device error.
pub fn logits(hidden: &Tensor, head: Head) -> Result<Tensor> {
    finish_logits(frozen_linear::forward(hidden, head.weight)?, head)
}

fn finish_logits(mut logits: Tensor, head: Head) -> Result<Tensor> {
    if let Some(multiplier) = head.multiplier {
        logits = (logits * multiplier)?;
    }
    if let Some(cap) = head.softcap {
        logits = ((logits / cap)?.tanh()? * cap)?;
    }
    Ok(logits)
}

fn plain_chunk(
    hidden: &Tensor,
    targets: &RowTargets,
    head: Head,
    factor: Option<f64>,
) -> Result<(f64, Option<Tensor>)> {
    let Some(factor) = factor else {
        return Ok((raw_loss(hidden, targets, head)?.1, None));
    };
    let (sum, d_raw) = raw_gradient(hidden, targets, head, factor)?;
    Ok((sum, Some(frozen_linear::backward(&d_raw.to_dtype(hidden.dtype())?, head.weight)?)))
}

/// Logits before multiplier and cap, and the loss.
fn raw_loss(hidden: &Tensor, targets: &RowTargets, head: Head) -> Result<(Tensor, f64)> {
    let raw = frozen_linear::forward(hidden, head.weight)?.to_dtype(DType::F32)?;
    let sum = f64::from(loss_of(&raw, targets, head)?.to_scalar::<f32>()?);
    Ok((raw, sum))
}

fn loss_of(raw: &Tensor, targets: &RowTargets, head: Head) -> Result<Tensor> {
    let log_probabilities = log_softmax(&finish_logits(raw.clone(), head)?)?;
    let places = places_of(&targets.labels, raw)?;
    let losses = log_probabilities.flatten_all()?.index_select(&places, 0)?.neg()?;
    let weighted = match &targets.weights {
        None => losses,
        Some(weights) => (losses * Tensor::new(weights.as_slice(), raw.device())?)?,
    };
    Ok(weighted.sum_all()?)
}

/// Where the labels stand among the values of `raw`, `[rows, vocab]`.
fn places_of(labels: &[u32], raw: &Tensor) -> Result<Tensor> {
    let vocab = raw.dim(D::Minus1)? as i64;
    let places: Vec<i64> = (0..).zip(labels).map(|(row, label)| row * vocab + i64::from(*label)).collect();
    Ok(Tensor::new(places, raw.device())?)
}

/// The loss, and the gradient of `factor · loss` with respect to the raw logits.
fn raw_gradient(hidden: &Tensor, targets: &RowTargets, head: Head, factor: f64) -> Result<(f64, Tensor)> {
    let (raw, sum) = raw_loss(hidden, targets, head)?;
    let logits = finish_logits(raw, head)?;
    let probabilities = softmax(&logits)?;
    let places = places_of(&targets.labels, &logits)?;
    let ones = Tensor::ones(targets.labels.len(), DType::F32, logits.device())?;
    let surplus =
        probabilities.flatten_all()?.index_add(&places, &ones.neg()?, 0)?.reshape(logits.shape())?;
    let mut d_raw = (surplus * (factor * head.multiplier.unwrap_or(1.0)))?;
    if let Some(weights) = &targets.weights {
        d_raw = d_raw.broadcast_mul(&Tensor::new(weights.as_slice(), d_raw.device())?.unsqueeze(1)?)?;
    }
    if let Some(cap) = head.softcap {
        d_raw = (d_raw * (logits / cap)?.sqr()?.affine(-1.0, 1.0)?)?;
    }
    Ok((sum, d_raw))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::autograd::vjp;
    use crate::oracle::{assert_close, random, weight};

    #[test]
    fn finished_logits_have_the_loss_that_f64_gives() -> Result<()> {
        // More entries than are summed in f32, some far below the rest.
        let (rows, vocab) = (7, 5000);
        let logit =
            |i: usize| ((i * 7919) % 1013) as f32 * 0.03 - if i.is_multiple_of(5) { 90.0 } else { 0.0 };
        let logits: Vec<f32> = (0..rows * vocab).map(logit).collect();
        let targets = [3, -100, 4999, 0, -1, 17, 2500];
        let exact = |logits: &[f64]| -> f64 {
            let row = |(row, target): (&[f64], &i32)| {
                (*target >= 0).then(|| row.iter().map(|l| l.exp()).sum::<f64>().ln() - row[*target as usize])
            };
            logits.chunks(vocab).zip(&targets).filter_map(row).sum()
        };
        let wide = |values: &[f32]| values.iter().map(|l| f64::from(*l)).collect::<Vec<_>>();
        let close = |got: f64, want: f64| assert!((got / want - 1.0).abs() < 1e-7, "{got} not {want}");
        close(cross_entropy(Logits::F32(&logits), &targets)?, exact(&wide(&logits)));
        let half: Vec<f16> = logits.iter().map(|l| f16::from_f32(*l)).collect();
        let widened: Vec<f32> = half.iter().map(|l| l.to_f32()).collect();
        close(cross_entropy(Logits::F16(&half), &targets)?, exact(&wide(&widened)));
        let brain: Vec<bf16> = logits.iter().map(|l| bf16::from_f32(*l)).collect();
        let widened: Vec<f32> = brain.iter().map(|l| l.to_f32()).collect();
        close(cross_entropy(Logits::Bf16(&brain), &targets)?, exact(&wide(&widened)));
        let mut wrong = logits;
        wrong[4] = f32::NAN;
        assert!(cross_entropy(Logits::F32(&wrong), &targets)?.is_nan());
        assert!(cross_entropy(Logits::F32(&wrong[1..]), &targets).is_err());
        assert!(cross_entropy(Logits::F32(&wrong), &[5000; 7]).is_err());
        Ok(())
    }

    #[test]
    fn kernel_agrees_with_plain_operations() -> Result<()> {
        // More rows than a chunk has, some of which do not count.
        let weight = weight(70_001, 24, DType::BF16, 1)?;
        let hidden = (random(&[300, 24], 2)? * 3.0)?;
        let cases = [(None, None, false), (Some(0.7), None, true), (Some(1.3), Some(4.0), true)];
        let weights: Vec<f32> = (0..300).map(|i| 0.25 * (1 + i % 7) as f32).collect();
        let weightings = [None, Some(weights.as_slice())];
        for ((multiplier, softcap, masked), weights) in
            cases.into_iter().flat_map(|case| weightings.map(|w| (case, w)))
        {
            let head = Head { weight: &weight, multiplier, softcap };
            let target = |i: i32| if masked && i % 3 == 0 { -100 } else { i * 461 % 70_001 };
            let targets: Vec<i32> = (0..300).map(target).collect();
            let targets = LossTargets { labels: &targets, weights };
            let got = lm_loss(&hidden, targets, head, Some(0.01))?;
            let counted = targets.counted();
            let rows = targets.of(&counted);
            let index = Tensor::new(counted.as_slice(), hidden.device())?;
            let kept = hidden.index_select(&index, 0)?;
            let (sum, gradient) = plain_chunk(&kept, &rows, head, Some(0.01))?;
            let (raw, seed) = (raw_loss(&kept, &rows, head)?.0, Tensor::new(0.01_f32, hidden.device())?);
            let [d_raw] = vjp([&raw], &seed, |[raw]| loss_of(raw, &rows, head))?;
            assert_close(&raw_gradient(&kept, &rows, head, 0.01)?.1, &d_raw, 1e-5);
            assert!((got.sum / sum - 1.0).abs() < 1e-6, "{} not {sum}", got.sum);
            assert_eq!(got.count, counted.len());
            let want = hidden.zeros_like()?.index_add(&index, &gradient.expect("a gradient"), 0)?;
            assert_close(&got.d_hidden.expect("a gradient"), &want, 1e-5);
            assert_eq!(lm_loss(&hidden, targets, head, None)?.sum, got.sum);
        }
        let head = Head { weight: &weight, multiplier: None, softcap: None };
        assert!(lm_loss(&hidden, &vec![-100; 300], head, None).is_err(), "no label, no loss");
        Ok(())
    }
}
