//! The decoder forward: logits with a cache for generation, and of whole sequences.

use super::forward_context::ForwardContext;
use super::{Decoder, KvCache, Scored, Tokens};
use candle_core::{DType, Tensor};
use olive_arch::Rope;
use olive_core::Result;
use olive_core::cancel::CancelFlag;
use olive_kernels::{Head, Segments, lm_loss, residual, rms_norm};

/// Positions per forward while a prompt is read, so that memory does not grow with the prompt.
const PREFILL: usize = 512;

impl Decoder {
    /// Appends `ids` to the cache; gives the logits `[vocab]` after the last of them.
    ///
    /// # Errors
    /// No ids, more positions than the cache has room for, an id outside the vocabulary, or a device error.
    pub fn logits(&self, ids: &[u32], cache: &mut KvCache) -> Result<Vec<f32>> {
        let mut last = None;
        self.advance(ids, cache.ids.len() + ids.len(), cache, |_, hidden| {
            last = Some(hidden.narrow(0, hidden.dim(0)? - 1, 1)?);
            Ok(())
        })?;
        let last = last.expect("there is at least one id");
        let logits = lm_loss::logits(&self.final_norm(&last)?, self.head())?;
        Ok(logits.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?)
    }

    /// Appends tokens to the cache; gives the sum of the cross-entropies of their targets.
    ///
    /// # Errors
    /// As [`Decoder::logits`], a target outside the vocabulary, or a raised `cancel`.
    pub(super) fn score_after(
        &self,
        cache: &mut KvCache,
        scored: Scored<'_>,
        cancel: &CancelFlag,
    ) -> Result<f64> {
        let first = cache.ids.len();
        let mut sum = 0.0;
        self.advance(scored.tokens, scored.length_after(first), cache, |start, hidden| {
            cancel.check()?;
            // Positions before the first are computed again where rotations change, and have no target.
            let target = |position: usize| position.checked_sub(first).map_or(-1, |i| scored.targets[i]);
            let targets: Vec<i32> = (start..start + hidden.dim(0)?).map(target).collect();
            if targets.iter().any(|target| *target >= 0) {
                sum += lm_loss::lm_loss(&self.final_norm(&hidden)?, &targets, self.head(), None)?.sum;
            }
            Ok(())
        })?;
        Ok(sum)
    }

    /// Appends `ids` to the cache, rotated for sequences of `length`; gives the hidden states of some positions at a time,
    /// with the first of these, to `each`.
    fn advance(
        &self,
        ids: &[u32],
        length: usize,
        cache: &mut KvCache,
        mut each: impl FnMut(usize, Tensor) -> Result<()>,
    ) -> Result<()> {
        if ids.is_empty() || cache.ids.len() + ids.len() > cache.max_len {
            return Err(olive_kernels::invalid(format!(
                "{} positions and {} more do not fit a cache of {}",
                cache.ids.len(),
                ids.len(),
                cache.max_len
            )));
        }
        cache.ids.extend_from_slice(ids);
        if cache.rope_length > 0 && !self.rotates_alike(cache.rope_length, length) {
            // The cached keys were rotated by the other set of frequencies, so they are computed again.
            cache.forget_keys();
        }
        cache.rope_length = length;
        let mut start = cache.layers.first().map_or(0, super::cache::LayerCache::len);
        let pending = cache.ids[start..].to_vec();
        for part in pending.chunks(PREFILL) {
            let hidden = self.append(part, start, length, cache)?;
            each(start, hidden)?;
            start += part.len();
        }
        Ok(())
    }

    /// Logits of every position of one sequence, `[seq, vocab]`.
    ///
    /// # Errors
    /// An id outside the vocabulary, or a device error.
    pub fn all_logits(&self, ids: &[u32]) -> Result<Tensor> {
        self.all_logits_and(ids, |_| {})
    }

    /// As [`Decoder::all_logits`], for a model that is needed once: the weights of a layer leave memory when it is
    /// done, and come back from the file if they are used again.
    ///
    /// # Errors
    /// As [`Decoder::all_logits`].
    pub fn all_logits_once(&self, ids: &[u32]) -> Result<Tensor> {
        self.all_logits_and(ids, |layer| {
            self.layers[layer].linears.iter().for_each(|linear| linear.weight.release());
        })
    }

    fn all_logits_and(&self, ids: &[u32], after_layer: impl Fn(usize)) -> Result<Tensor> {
        lm_loss::logits(&self.head_inputs(&Tokens::single(ids), after_layer)?, self.head())
    }

    /// What the head is given at every position, `[tokens, hidden]`.
    pub(super) fn head_inputs(&self, tokens: &Tokens, after_layer: impl Fn(usize)) -> Result<Tensor> {
        let context = ForwardContext::of_tokens(self, tokens, None)?;
        let mut hidden = self.embed(&tokens.ids)?;
        for index in 0..self.spec.num_layers() {
            hidden = self.layer(index).forward(&hidden, &context, None)?.0;
            after_layer(index);
        }
        self.final_norm(&hidden)
    }

    fn append(&self, ids: &[u32], start: usize, total: usize, cache: &mut KvCache) -> Result<Tensor> {
        let positions: Vec<u32> = (start as u32..(start + ids.len()) as u32).collect();
        let segments = Segments::after_cache(start, ids.len());
        let context = ForwardContext::new(self, &positions, total, segments, None)?;
        let mut hidden = self.embed(ids)?;
        for (index, layer_cache) in cache.layers.iter_mut().enumerate() {
            hidden = self.layer(index).forward(&hidden, &context, Some(layer_cache))?.0;
        }
        Ok(hidden)
    }

    /// Whether sequences of these two lengths use the same rotary frequencies.
    pub fn rotates_alike(&self, one: usize, other: usize) -> bool {
        let switches = |rope: &Rope| {
            rope.scaling.switch_length().is_some_and(|length| (one > length) != (other > length))
        };
        !(switches(&self.spec.rope) || self.spec.rope_local.as_ref().is_some_and(switches))
    }

    /// `[ids, hidden]`.
    pub(super) fn embed(&self, ids: &[u32]) -> Result<Tensor> {
        let embedded = self.embedding.gather(ids)?.to_dtype(self.dtype)?;
        Ok(match self.spec.embedding_multiplier {
            None => embedded,
            Some(factor) => residual::scale(&embedded, factor)?,
        })
    }

    pub(super) fn final_norm(&self, hidden: &Tensor) -> Result<Tensor> {
        rms_norm::forward(hidden, &self.final_norm, self.spec.norm_eps)
    }

    pub(super) fn head(&self) -> Head<'_> {
        Head { weight: &self.head, multiplier: self.spec.logit_multiplier, softcap: self.spec.final_softcap }
    }
}
