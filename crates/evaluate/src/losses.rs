//! Negative log-likelihood of the labels of a dataset.

use super::{EvaluateError, Item, Subject, Work};
use olive_core::cancel::CancelFlag;
use olive_core::{Error, Result};
use olive_data::{Dataset, MicroBatch, Sample};
use olive_decoder::{Decoder, LanguageModel, Scored, ScoringModel};
use olive_runtime::{LoadedModel, OnnxSequence, OnnxSession};
use std::ops::Range;

/// What a model makes of the labels of a dataset, all of equal weight.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct TokenLosses {
    /// Sum of −ln p(label), in nats.
    pub sum_nll: f64,
    /// Labels that count.
    pub tokens: u64,
    /// Samples that were looked at.
    pub samples: u64,
}

impl TokenLosses {
    /// −ln p(label), in nats, in the mean over all labels.
    pub fn mean(&self) -> f64 {
        self.sum_nll / self.tokens as f64
    }

    /// e to the mean: Olive's `perplexity`.
    pub fn perplexity(&self) -> f64 {
        self.mean().exp()
    }
}

/// Computes the losses of `dataset`. A sample gives the same whatever lies beside it in the dataset, and whatever the form of
/// the model.
///
/// # Errors
/// No label that counts, a sample that the model's context does not hold, a loss that is no number, a raised flag, or a
/// failed computation.
pub fn losses(subject: &Subject, dataset: &Dataset, work: Work<'_>) -> Result<TokenLosses> {
    let samples = &dataset.samples;
    check_lengths(samples, subject.model().context_length())?;
    let mut pass = Pass::new(subject)?;
    let mut total = TokenLosses { samples: samples.len() as u64, ..TokenLosses::default() };
    work.phase(samples.len(), |start| {
        let end = pass.end(samples, start);
        let (sum, labels) = pass.loss(&samples[start..end], work.cancel)?;
        if !sum.is_finite() {
            return Err(pass.not_a_number(samples, start..end, work.cancel)?);
        }
        total.sum_nll += sum;
        total.tokens += labels;
        Ok(end)
    })?;
    match total.tokens {
        0 => Err(EvaluateError::NoLabels { samples: samples.len() }.into()),
        _ => Ok(total),
    }
}

/// Refuses what the model was not made for, before anything is computed.
pub(crate) fn check_lengths(samples: &[Sample], context: usize) -> Result<(), EvaluateError> {
    for (index, sample) in samples.iter().enumerate() {
        let is_real = |i: &usize| sample.attention_mask.as_ref().is_none_or(|mask| mask[*i] != 0);
        let lengths = sample.document_ranges().into_iter().map(|range| range.filter(is_real).count());
        if let Some(tokens) = lengths.max().filter(|longest| *longest > context) {
            return Err(EvaluateError::TooLong { item: Item::Sample, index, tokens, context });
        }
    }
    Ok(())
}

/// One way through the samples.
pub(crate) enum Pass<'a> {
    /// Some samples at a time, laid end to end.
    Float(&'a Decoder),
    /// One document after the other, in one sequence.
    Onnx(&'a OnnxSession, Box<OnnxSequence>),
}

/// Tokens that go through a float model at a time: weights are decoded once for all of them.
const BATCH: usize = 2048;

impl<'a> Pass<'a> {
    pub(crate) fn new(subject: &'a Subject) -> Result<Pass<'a>> {
        Ok(match subject.model() {
            LoadedModel::Float(decoder) => Pass::Float(decoder),
            LoadedModel::Onnx(session) => Pass::Onnx(session, Box::new(session.new_sequence()?)),
        })
    }

    /// The end of the samples that are computed together from `start` on.
    fn end(&self, samples: &[Sample], start: usize) -> usize {
        let Pass::Float(decoder) = self else { return start + 1 };
        let mut tokens = 0;
        let fits = |sample: &&Sample| {
            tokens += sample.input_ids.len();
            tokens <= BATCH && decoder.rotates_alike(longest(sample), longest(&samples[start]))
        };
        start + samples[start..].iter().take_while(fits).count().max(1)
    }

    /// Sum of the losses of the samples' labels, and their number.
    pub(crate) fn loss(&mut self, samples: &[Sample], cancel: &CancelFlag) -> Result<(f64, u64)> {
        match self {
            Pass::Float(decoder) => {
                let batch = MicroBatch::new(samples.iter().enumerate());
                if batch.labels == 0 {
                    return Ok((0.0, 0));
                }
                let loss = decoder.loss(&batch.tokens, &batch.targets)?;
                Ok((loss.sum, loss.count as u64))
            }
            Pass::Onnx(session, sequence) => {
                let (mut sum, mut labels) = (0.0, 0);
                for sample in samples {
                    let batch = MicroBatch::new([(0, sample)]);
                    sum += in_sequence(session, sequence, &batch, cancel)?;
                    labels += batch.labels as u64;
                }
                Ok((sum, labels))
            }
        }
    }

    /// Why the loss of some samples is no number.
    fn not_a_number(
        &mut self,
        samples: &[Sample],
        range: Range<usize>,
        cancel: &CancelFlag,
    ) -> Result<Error> {
        if let Pass::Float(decoder) = self {
            decoder.check_weights()?;
        }
        let (mut index, mut value) = (range.start, f64::NAN);
        for (at, sample) in range.clone().zip(&samples[range]) {
            (index, value) = (at, self.loss(std::slice::from_ref(sample), cancel)?.0);
            if !value.is_finite() {
                break;
            }
        }
        Ok(EvaluateError::NotANumber { item: Item::Sample, index, value }.into())
    }
}

/// Sum of the losses of a batch, its documents one after the other.
fn in_sequence(
    session: &OnnxSession,
    sequence: &mut OnnxSequence,
    batch: &MicroBatch,
    cancel: &CancelFlag,
) -> Result<f64> {
    let sequence_length = batch.tokens.sequence_length;
    let (mut sum, mut start) = (0.0, 0);
    for length in &batch.tokens.lengths {
        let range = start..start + length;
        session.truncate(sequence, 0)?;
        session.reserve(sequence, *length)?;
        let (tokens, targets) = (&batch.tokens.ids[range.clone()], &batch.targets[range]);
        sum += session.score(sequence, Scored { tokens, targets, sequence_length }, cancel)?;
        start += length;
    }
    Ok(sum)
}

/// Tokens of the longest document of a sample, padding included.
fn longest(sample: &Sample) -> usize {
    sample.document_ranges().into_iter().map(|range| range.len()).max().unwrap_or(0)
}
