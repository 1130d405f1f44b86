//! A model that continues token sequences, whatever computes it.

use olive_core::Result;

/// Weights that any number of sequences share. What belongs to one sequence (its tokens and their keys and values) is a
/// value of its own, so that sequences can take turns.
pub trait LanguageModel {
    /// A sequence of this model; no other model takes it.
    type Sequence;

    /// An empty sequence.
    ///
    /// # Errors
    /// There is no memory for its cache.
    fn new_sequence(&self) -> Result<Self::Sequence>;

    /// The tokens that the sequence holds.
    fn tokens<'s>(&self, sequence: &'s Self::Sequence) -> &'s [u32];

    /// Appends `tokens` (at least one) and gives the logits of the last position, `[vocab]`.
    ///
    /// # Errors
    /// The computation failed, or the context is full.
    fn feed(&self, sequence: &mut Self::Sequence, tokens: &[u32]) -> Result<Vec<f32>>;

    /// As [`LanguageModel::feed`] for several sequences, each with its own outcome, in their order. One after the other,
    /// unless the model can compute them together.
    fn feed_all(&self, feeds: &mut [Feed<'_, Self::Sequence>]) -> Vec<Result<Vec<f32>>> {
        feeds.iter_mut().map(|feed| self.feed(feed.sequence, feed.tokens)).collect()
    }

    /// Forgets everything after the first `len` tokens and says how many are left: fewer than `len` when the model cannot
    /// go back.
    ///
    /// # Errors
    /// A new cache cannot be made.
    fn truncate(&self, sequence: &mut Self::Sequence, len: usize) -> Result<usize>;

    /// Says that the sequence will grow to at most `len` tokens, so that memory can be set aside at once.
    ///
    /// # Errors
    /// There is not that much memory.
    fn reserve(&self, sequence: &mut Self::Sequence, len: usize) -> Result<()> {
        let _ = (sequence, len);
        Ok(())
    }
}

/// Tokens that follow what a sequence holds.
pub struct Feed<'a, S> {
    pub sequence: &'a mut S,
    pub tokens: &'a [u32],
}
