//! Sequences of a float decoder.

use super::cache::KvCache;
use super::error::GenerateError;
use super::language_model::{Feed, LanguageModel};
use super::scoring::{Scored, ScoringModel};
use super::weights::Decoder;
use olive_core::Result;
use olive_core::cancel::CancelFlag;
use olive_kernels::first_not_finite;

/// Smallest room of a cache, in positions.
const ROOM: usize = 256;

impl LanguageModel for Decoder {
    type Sequence = KvCache;

    fn new_sequence(&self) -> Result<KvCache> {
        self.new_cache(ROOM)
    }

    fn tokens<'s>(&self, sequence: &'s KvCache) -> &'s [u32] {
        sequence.ids()
    }

    fn feed(&self, sequence: &mut KvCache, tokens: &[u32]) -> Result<Vec<f32>> {
        self.reserve(sequence, sequence.len() + tokens.len())?;
        let logits = self.logits(tokens, sequence)?;
        if first_not_finite(&logits).is_some() {
            self.check_weights()?;
            return Err(GenerateError::NotANumber.into());
        }
        Ok(logits)
    }

    fn feed_all(&self, feeds: &mut [Feed<'_, KvCache>]) -> Vec<Result<Vec<f32>>> {
        if self.may_run_together(feeds) {
            match self.feed_together(feeds) {
                Ok(logits) => return logits.into_iter().map(Ok).collect(),
                Err(error) => tracing::debug!("sequences run one by one this time: {error}"),
            }
        }
        feeds.iter_mut().map(|feed| self.feed(feed.sequence, feed.tokens)).collect()
    }

    fn truncate(&self, sequence: &mut KvCache, len: usize) -> Result<usize> {
        sequence.truncate(len);
        Ok(sequence.len())
    }

    fn reserve(&self, sequence: &mut KvCache, len: usize) -> Result<()> {
        if len <= sequence.max_len() {
            return Ok(());
        }
        // Doubled, so that a long conversation is read again only a few times.
        let room = len.checked_next_multiple_of(ROOM).unwrap_or(len).max(2 * sequence.max_len());
        let mut cache = self.new_cache(room)?;
        if !sequence.is_empty() {
            self.logits(sequence.ids(), &mut cache)?;
        }
        *sequence = cache;
        Ok(())
    }
}

impl ScoringModel for Decoder {
    fn score(&self, sequence: &mut KvCache, scored: Scored<'_>, cancel: &CancelFlag) -> Result<f64> {
        self.reserve(sequence, sequence.len() + scored.tokens.len())?;
        self.score_after(sequence, scored, cancel)
    }
}
