//! What merging costs: the logits of a merged model beside those of what was trained.

use super::pass::RunContext;
use candle_core::{DType, Tensor};
use olive_arch::Spec;
use olive_core::Result;
use olive_decoder::Decoder;
use olive_model::{Adapter, Checkpoint, ModelFolder, QuantisedBase};
use std::path::Path;

/// Differences of logits over all positions of a short text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct MergeError {
    pub(super) mean: f64,
    pub(super) max: f64,
    /// Share of the positions where both have the same most likely token.
    pub(super) same_choice: f64,
    pub(super) positions: usize,
}

const TEXT: &str = "The quick brown fox jumps over the lazy dog. What is the capital of France? It is Paris, a city on \
                    the Seine with two million people.";

/// Compares the model in `merged` with `base`, its linear layers as `quantised`, and the adapter on them.
///
/// # Errors
/// A model that cannot be loaded.
pub(super) fn measure(
    base: &ModelFolder,
    quantised: &QuantisedBase,
    adapter: &Path,
    merged: &Path,
    context: &RunContext,
) -> Result<MergeError> {
    let ids = sample(base, &base.spec()?);
    let trained = {
        let mut decoder = load(base, &base.checkpoint()?, Some(quantised), context)?;
        decoder.attach(&Adapter::open(adapter)?)?;
        logits(&decoder, &ids)?
    };
    let folder = ModelFolder::open(merged)?;
    let merged = logits(&load(&folder, &folder.checkpoint()?, None, context)?, &ids)?;
    let values: usize = trained.iter().map(Vec::len).sum();
    let mut error = MergeError { mean: 0.0, max: 0.0, same_choice: 0.0, positions: ids.len() };
    for (a, b) in trained.iter().zip(&merged) {
        for (a, b) in a.iter().zip(b) {
            let difference = f64::from((a - b).abs());
            error.mean += difference / values as f64;
            error.max = error.max.max(difference);
        }
        error.same_choice += f64::from(u8::from(best(a) == best(b))) / ids.len() as f64;
    }
    Ok(error)
}

fn best(logits: &[f32]) -> Option<usize> {
    logits.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).map(|(index, _)| index)
}

fn load(
    folder: &ModelFolder,
    checkpoint: &Checkpoint,
    quantised: Option<&QuantisedBase>,
    context: &RunContext,
) -> Result<Decoder> {
    Decoder::with_base(folder.spec()?, checkpoint, quantised, DType::F32, &context.device)
}

/// Lets go of every layer's weights once it is done, so that a large model passes through little memory.
fn logits(decoder: &Decoder, ids: &[u32]) -> Result<Vec<Vec<f32>>> {
    let logits: Tensor = decoder.all_logits_once(ids)?;
    Ok(logits.to_dtype(DType::F32)?.to_vec2()?)
}

/// A text in the model's tokens; tokens from all over the vocabulary where there is no usable tokenizer.
fn sample(folder: &ModelFolder, spec: &Spec) -> Vec<u32> {
    let vocab = spec.vocab_size as u32;
    let encoded = folder.tokenizer().ok().and_then(|tokenizer| tokenizer.encode(TEXT, true).ok());
    match encoded {
        Some(encoding) if encoding.len() > 1 && encoding.get_ids().iter().all(|id| *id < vocab) => {
            encoding.get_ids().to_vec()
        }
        _ => (0..32u64).map(|i| (i * 7919 % u64::from(vocab)) as u32).collect(),
    }
}
