//! How likely a model finds given tokens.

use super::LanguageModel;
use olive_core::Result;
use olive_core::cancel::CancelFlag;

/// Tokens that follow what a sequence holds, and what should follow each of them.
#[derive(Debug, Clone, Copy)]
pub struct Scored<'a> {
    /// At least one.
    pub tokens: &'a [u32],
    /// One per token; a negative one does not count.
    pub targets: &'a [i32],
    /// Length for which position embeddings are chosen (LongRoPE has two sets), if it is more than that of the sequence with
    /// these tokens.
    pub sequence_length: usize,
}

impl Scored<'_> {
    /// Length for which position embeddings are chosen, where the sequence holds so many tokens before these.
    pub fn length_after(&self, held: usize) -> usize {
        self.sequence_length.max(held + self.tokens.len())
    }
}

/// A model that can tell how likely it finds tokens, without giving all its logits at a time.
pub trait ScoringModel: LanguageModel {
    /// Appends the tokens and gives the sum of −ln p(target) over the targets that count, in nats. It is not finite where
    /// logits are no numbers. A model that cannot go back may forget the sequence, see [`LanguageModel::tokens`].
    ///
    /// # Errors
    /// The computation failed or was cancelled, the context is full, or a target is outside the vocabulary.
    fn score(&self, sequence: &mut Self::Sequence, scored: Scored<'_>, cancel: &CancelFlag) -> Result<f64>;
}
