//! A model of either form.

use super::session::{OnnxSequence, OnnxSession};
use olive_core::Result;
use olive_decoder::{Decoder, KvCache, LanguageModel};

/// What computes the logits.
pub enum LoadedModel {
    Float(Box<Decoder>),
    Onnx(Box<OnnxSession>),
}

/// A sequence of a [`LoadedModel`].
pub enum ModelSequence {
    Float(KvCache),
    Onnx(Box<OnnxSequence>),
}

/// Calls a method of the model with its sequence.
macro_rules! with_both {
    ($model:expr, $sequence:expr, |$m:ident, $s:ident| $call:expr) => {
        match ($model, $sequence) {
            (LoadedModel::Float($m), ModelSequence::Float($s)) => $call,
            (LoadedModel::Onnx($m), ModelSequence::Onnx($s)) => $call,
            (LoadedModel::Float(_), ModelSequence::Onnx(_))
            | (LoadedModel::Onnx(_), ModelSequence::Float(_)) => {
                unreachable!("a sequence is given to the model that made it")
            }
        }
    };
}

impl LanguageModel for LoadedModel {
    type Sequence = ModelSequence;

    fn new_sequence(&self) -> Result<ModelSequence> {
        Ok(match self {
            LoadedModel::Float(model) => ModelSequence::Float(model.new_sequence()?),
            LoadedModel::Onnx(model) => ModelSequence::Onnx(Box::new(model.new_sequence()?)),
        })
    }

    fn tokens<'s>(&self, sequence: &'s ModelSequence) -> &'s [u32] {
        with_both!(self, sequence, |model, of| model.tokens(of))
    }

    fn feed(&self, sequence: &mut ModelSequence, tokens: &[u32]) -> Result<Vec<f32>> {
        with_both!(self, sequence, |model, of| model.feed(of, tokens))
    }

    fn truncate(&self, sequence: &mut ModelSequence, len: usize) -> Result<usize> {
        with_both!(self, sequence, |model, of| model.truncate(of, len))
    }

    fn reserve(&self, sequence: &mut ModelSequence, len: usize) -> Result<()> {
        with_both!(self, sequence, |model, of| model.reserve(of, len))
    }
}
