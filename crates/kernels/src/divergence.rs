//! How far the predictions of one model are from those of another, in one sweep over chunks of rows.

use super::frozen_linear::{self, FrozenWeight};
use super::gemm::MatRef;
use super::host::{HostRows, has_kernel, matrix};
use super::lm_loss::{Head, chunk_rows, logits, sum_of_exp};
use super::softmax::log_softmax;
use super::vector::{Arithmetic, dot, exp, max, simd, simd_by, sum};
use candle_core::{DType, Tensor};
use olive_core::Result;
use rayon::prelude::*;

/// Values whose sums are f32.
const PIECE: usize = 256;

/// What the head of a model is given, `[rows, hidden]`, and the head.
#[derive(Clone, Copy)]
pub struct Predictor<'a> {
    pub hidden: &'a Tensor,
    pub head: Head<'a>,
}

/// Kullback-Leibler divergence of some rows, and its derivatives.
#[derive(Debug)]
pub struct Divergence {
    /// `Σ p (ln p − ln q)` over vocabulary and rows, p of the teacher and q of the student.
    pub sum: f64,
    /// Gradient of `factor · sum` with respect to the student's hidden states, `[rows, hidden]`.
    pub d_hidden: Tensor,
    /// Derivative of `factor · sum` with respect to the student's head along the direction.
    pub along: f64,
}

/// The divergence of the student's predictions from the teacher's. `direction`: a change of the student's head,
/// `[vocab, hidden]`.
///
/// # Errors
/// Shapes that do not fit, or a device error.
#[tracing::instrument(name = "divergence", level = "trace", skip_all)]
pub fn divergence(
    student: Predictor<'_>,
    teacher: Predictor<'_>,
    direction: &FrozenWeight,
    factor: f64,
) -> Result<Divergence> {
    let rows = student.hidden.dim(0)?;
    let step = chunk_rows(rows, student.head.weight.out_features).max(1);
    let (mut sum, mut along, mut gradients) = (0.0, 0.0, Vec::new());
    for start in (0..rows).step_by(step) {
        let len = step.min(rows - start);
        let [own, other] = [student.hidden, teacher.hidden].map(|hidden| hidden.narrow(0, start, len));
        let (own, other) = (own?, other?);
        let student = Predictor { hidden: &own, head: student.head };
        let teacher = Predictor { hidden: &other, head: teacher.head };
        let chunk = if has_kernel(&own) && student.head.weight.on_host() && teacher.head.weight.on_host() {
            on_host(student, teacher, direction, factor)?
        } else {
            plain(student, teacher, direction, factor)?
        };
        sum += chunk.sum;
        along += chunk.along;
        gradients.push(chunk.d_hidden);
    }
    Ok(Divergence { sum, d_hidden: Tensor::cat(&gradients, 0)?, along })
}

/// `Σ aᵢ bᵢ` of tensors of one shape.
///
/// # Errors
/// A device error.
pub fn inner_product(a: &Tensor, b: &Tensor) -> Result<f64> {
    if !has_kernel(a) {
        return Ok(f64::from((a * b)?.to_dtype(DType::F32)?.sum_all()?.to_scalar::<f32>()?));
    }
    let (a, b) = (HostRows::new(a)?, HostRows::new(b)?);
    let sums: Vec<f64> = (0..a.rows).into_par_iter().map(|row| product(a.row(row), b.row(row))).collect();
    Ok(sums.iter().sum())
}

/// In f64, in pieces whose own sums are f32.
fn product(a: &[f32], b: &[f32]) -> f64 {
    simd(
        #[inline(always)]
        || {
            let mut total = 0.0;
            for (a, b) in a.chunks(PIECE).zip(b.chunks(PIECE)) {
                total += f64::from(dot(a, b));
            }
            total
        },
    )
}

fn on_host(
    student: Predictor<'_>,
    teacher: Predictor<'_>,
    direction: &FrozenWeight,
    factor: f64,
) -> Result<Divergence> {
    let vocab = student.head.weight.out_features;
    let (own, other) = (HostRows::new(student.hidden)?, HostRows::new(teacher.hidden)?);
    let x = MatRef::new(own.data(), own.rows, own.cols, own.stride);
    let mut d_raw = frozen_linear::forward_values(x, student.head.weight);
    let of_teacher = MatRef::new(other.data(), other.rows, other.cols, other.stride);
    let mut of_teacher = frozen_linear::forward_values(of_teacher, teacher.head.weight);
    let sums: Vec<f64> = d_raw
        .par_chunks_mut(vocab)
        .zip(of_teacher.par_chunks_mut(vocab))
        .map(|(row, of_teacher)| {
            simd_by(
                #[inline(always)]
                |by| {
                    finish(of_teacher, teacher.head);
                    finish(row, student.head);
                    row_divergence(row, of_teacher, student.head, factor, by)
                },
            )
        })
        .collect();
    let moved = &mut of_teacher;
    frozen_linear::forward_host(x, direction, moved);
    let along: Vec<f64> =
        d_raw.par_chunks(vocab).zip(moved.par_chunks(vocab)).map(|(d, moved)| product(d, moved)).collect();
    let d_hidden =
        frozen_linear::backward_values(MatRef::new(&d_raw, own.rows, vocab, vocab), student.head.weight);
    let d_hidden = matrix(d_hidden, own.rows, own.cols)?;
    Ok(Divergence { sum: sums.iter().sum(), d_hidden, along: along.iter().sum() })
}

#[inline(always)]
fn finish(row: &mut [f32], head: Head<'_>) {
    if let Some(multiplier) = head.multiplier {
        row.iter_mut().for_each(|l| *l *= multiplier as f32);
    }
    if let Some(cap) = head.softcap.map(|cap| cap as f32) {
        row.iter_mut().for_each(|l| *l = cap * (*l / cap).tanh());
    }
}

/// The divergence of finished logits, which become the gradient of the raw ones.
#[inline(always)]
fn row_divergence(row: &mut [f32], teacher: &[f32], head: Head<'_>, factor: f64, by: Arithmetic) -> f64 {
    let (top, top_of_teacher) = (max(row), max(teacher));
    let own = top + sum_of_exp(row, top, by).ln() as f32;
    let other = top_of_teacher + sum_of_exp(teacher, top_of_teacher, by).ln() as f32;
    let scale = (factor * head.multiplier.unwrap_or(1.0)) as f32;
    // Without a cap the slope is 1.
    let inverse = head.softcap.map_or(0.0, |cap| 1.0 / cap as f32);
    let (mut total, mut terms) = (0.0, [0.0; PIECE]);
    for (row, teacher) in row.chunks_mut(PIECE).zip(teacher.chunks(PIECE)) {
        let terms = &mut terms[..row.len()];
        for ((l, t), term) in row.iter_mut().zip(teacher).zip(&mut *terms) {
            let (ln_q, ln_p) = (*l - own, *t - other);
            let p = exp(ln_p, by);
            *term = p * (ln_p - ln_q);
            let slope = 1.0 - (*l * inverse) * (*l * inverse);
            *l = scale * slope * (exp(ln_q, by) - p);
        }
        total += f64::from(sum(terms));
    }
    total
}

fn plain(
    student: Predictor<'_>,
    teacher: Predictor<'_>,
    direction: &FrozenWeight,
    factor: f64,
) -> Result<Divergence> {
    let finished = |predictor: Predictor<'_>| -> Result<Tensor> {
        Ok(logits(predictor.hidden, predictor.head)?.to_dtype(DType::F32)?)
    };
    let (own, other) = (finished(student)?, finished(teacher)?);
    let (ln_q, ln_p) = (log_softmax(&own)?, log_softmax(&other)?);
    let p = ln_p.exp()?;
    let sum = f64::from(((&ln_p - &ln_q)? * &p)?.sum_all()?.to_scalar::<f32>()?);
    let mut d_raw = ((ln_q.exp()? - p)? * (factor * student.head.multiplier.unwrap_or(1.0)))?;
    if let Some(cap) = student.head.softcap {
        d_raw = (d_raw * (own / cap)?.sqr()?.affine(-1.0, 1.0)?)?;
    }
    let d_raw = d_raw.to_dtype(student.hidden.dtype())?;
    let along = inner_product(&d_raw, &frozen_linear::forward(student.hidden, direction)?)?;
    Ok(Divergence { sum, d_hidden: frozen_linear::backward(&d_raw, student.head.weight)?, along })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::autograd::vjp;
    use crate::host::without_kernels;
    use crate::oracle::{assert_close, random, weight};

    #[test]
    fn kernel_agrees_with_plain_operations_and_with_autograd() -> Result<()> {
        let (vocab, width) = (70_001, 24);
        let [own, other, direction] = [1, 2, 3].map(|seed| weight(vocab, width, DType::BF16, seed));
        let (own, other, direction) = (own?, other?, direction?);
        // More rows than a chunk has.
        let (x, t) = ((random(&[300, width], 4)? * 2.0)?, (random(&[300, width], 5)? * 2.0)?);
        for (multiplier, softcap) in [(None, None), (Some(0.7), Some(4.0))] {
            let head = |weight| Head { weight, multiplier, softcap };
            let student = Predictor { hidden: &x, head: head(&own) };
            let teacher = Predictor { hidden: &t, head: head(&other) };
            let got = divergence(student, teacher, &direction, 0.01)?;
            let want = without_kernels(|| divergence(student, teacher, &direction, 0.01))?;
            // The plain sum of twenty million terms is f32.
            assert!((got.sum / want.sum - 1.0).abs() < 1e-4, "{} not {}", got.sum, want.sum);
            assert!((got.along / want.along - 1.0).abs() < 1e-3, "{} not {}", got.along, want.along);
            assert_close(&got.d_hidden, &want.d_hidden, 1e-4);
            let few = x.narrow(0, 0, 9)?;
            let loss = |x: &Tensor| -> Result<Tensor> {
                let ln_q = log_softmax(&logits(x, head(&own))?)?;
                let ln_p = log_softmax(&logits(&t.narrow(0, 0, 9)?, head(&other))?)?;
                Ok((ln_p.exp()? * (ln_p - ln_q)?)?.sum_all()?)
            };
            let seed = Tensor::new(0.01_f32, x.device())?;
            let [d] = without_kernels(|| vjp([&few], &seed, |[x]| loss(x)))?;
            assert_close(&want.d_hidden.narrow(0, 0, 9)?, &d, 1e-4);
        }
        Ok(())
    }
}
