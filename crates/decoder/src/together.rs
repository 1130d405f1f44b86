//! A token of each of several sequences at a time: every weight is read once for all of them.

use super::Decoder;
use super::cache::{KvCache, LayerCache};
use super::error::GenerateError;
use super::forward_context::ForwardContext;
use super::language_model::{Feed, LanguageModel};
use super::trial::Trial;
use candle_core::DType;
use olive_core::Result;
use olive_kernels::{Segments, first_not_finite, lm_loss};
use std::sync::atomic::Ordering;

impl Decoder {
    /// Lets up to `most` sequences run together from here on, if a trial gives the same numbers as for each alone. Says whether
    /// it does.
    ///
    /// # Errors
    /// The model cannot be run at all.
    pub fn allow_batches(&self, most: usize) -> Result<bool> {
        let same = most > 1 && self.are_same_together(most)?;
        self.together.store(if same { most } else { 1 }, Ordering::Relaxed);
        Ok(same)
    }

    fn are_same_together(&self, most: usize) -> Result<bool> {
        let mut trial = Trial::new(self, most, self.spec.vocab_size, self.spec.context_length)?;
        // Kernels take the rows one by one up to a number, and in groups above it.
        for count in [2, most] {
            if !trial.same(count, |feeds| self.feed_together(feeds))? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether these can run together: each has one more token, and their keys keep the rotations that they have.
    pub(super) fn may_run_together(&self, feeds: &[Feed<'_, KvCache>]) -> bool {
        let grown = |feed: &Feed<'_, KvCache>| feed.sequence.len() + 1;
        feeds.len() > 1
            && feeds.len() <= self.together.load(Ordering::Relaxed)
            && feeds.iter().all(|feed| {
                feed.tokens.len() == 1
                    && !feed.sequence.is_empty()
                    && self.rotates_alike(feed.sequence.rope_length, grown(feed))
                    && self.rotates_alike(grown(feed), grown(&feeds[0]))
            })
    }

    /// Appends a token to each; gives the logits of each, `[vocab]`. Where that fails, all are as they were.
    pub(super) fn feed_together(&self, feeds: &mut [Feed<'_, KvCache>]) -> Result<Vec<Vec<f32>>> {
        for feed in &mut *feeds {
            let longer = feed.sequence.len() + 1;
            self.reserve(feed.sequence, longer)?;
        }
        let logits = self.logits_together(feeds);
        if logits.is_err() {
            for feed in feeds {
                let len = feed.sequence.len();
                feed.sequence.truncate(len);
            }
            return logits;
        }
        for feed in feeds {
            feed.sequence.ids.extend_from_slice(feed.tokens);
            feed.sequence.rope_length = feed.sequence.ids.len();
        }
        logits
    }

    /// Appends keys and values, but not the tokens.
    fn logits_together(&self, feeds: &mut [Feed<'_, KvCache>]) -> Result<Vec<Vec<f32>>> {
        let ids: Vec<u32> = feeds.iter().map(|feed| feed.tokens[0]).collect();
        let positions: Vec<u32> = feeds.iter().map(|feed| feed.sequence.len() as u32).collect();
        let longest = feeds.iter().map(|feed| feed.sequence.len() + 1).max().unwrap_or_default();
        // Of no layer: every sequence has borders of its own.
        let context = ForwardContext::new(self, &positions, longest, Segments::after_cache(0, 0), None)?;
        let mut hidden = self.embed(&ids)?;
        for index in 0..self.spec.num_layers() {
            let mut caches: Vec<&mut LayerCache> =
                feeds.iter_mut().map(|feed| &mut feed.sequence.layers[index]).collect();
            hidden = self.layer(index).forward_each(&hidden, &context, &mut caches)?;
        }
        let logits = lm_loss::logits(&self.final_norm(&hidden)?, self.head())?;
        let logits: Vec<Vec<f32>> = logits.to_dtype(DType::F32)?.to_vec2()?;
        if logits.iter().any(|logits| first_not_finite(logits).is_some()) {
            return Err(GenerateError::NotANumber.into());
        }
        Ok(logits)
    }
}
