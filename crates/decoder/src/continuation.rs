//! A float decoder as something that continues a token sequence.

use super::{Decoder, KvCache, NextLogits};
use olive_core::Result;

/// Smallest room of a cache, in positions.
const ROOM: usize = 256;

/// A decoder and the cache of one sequence.
pub struct Continuation {
    decoder: Decoder,
    cache: KvCache,
}

impl Continuation {
    /// # Errors
    /// There is no memory for a cache.
    pub fn new(decoder: Decoder) -> Result<Continuation> {
        let cache = decoder.new_cache(ROOM)?;
        Ok(Continuation { decoder, cache })
    }
}

impl NextLogits for Continuation {
    fn feed(&mut self, tokens: &[u32]) -> Result<Vec<f32>> {
        self.reserve(self.cache.len() + tokens.len())?;
        self.decoder.logits(tokens, &mut self.cache)
    }

    fn rewind(&mut self, len: usize) -> Result<usize> {
        self.cache.truncate(len);
        Ok(len)
    }

    fn reserve(&mut self, len: usize) -> Result<()> {
        if len <= self.cache.max_len() {
            return Ok(());
        }
        // Doubled, so that a long conversation is read again only a few times.
        let room = len.next_multiple_of(ROOM).max(2 * self.cache.max_len());
        let mut cache = self.decoder.new_cache(room)?;
        if !self.cache.is_empty() {
            self.decoder.logits(self.cache.ids(), &mut cache)?;
        }
        self.cache = cache;
        Ok(())
    }
}
