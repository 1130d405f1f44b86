//! One token of several sequences in one run of the graph.
//!
//! The graph reads tensors with a row for each sequence. A sequence keeps its own cache, and the rows are copies of it: while
//! the same sequences run together, only what a run adds is copied back, a row of each cache tensor. A row may be longer than
//! its sequence: the attention mask tells the graph how much of each is there, from which `GroupQueryAttention` takes its place
//! (`seqlens_k`).

use super::RuntimeError;
use super::batch::{Batch, Member, Row};
use super::genai_config::RopeSwitch;
use super::session::{OnnxSequence, OnnxSession, rows};
use olive_core::Result;
use olive_decoder::{Feed, Trial};
use ort::value::{DynTensor, Tensor};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

type RuntimeResult<T> = std::result::Result<T, RuntimeError>;

impl OnnxSession {
    /// Lets up to `most` sequences of up to `longest` tokens run together from here on, if the graph and this machine's kernels
    /// give the same numbers then as for each alone, which a trial finds out. Says whether they do.
    ///
    /// # Errors
    /// The graph cannot be run at all.
    pub fn allow_batches(&self, most: usize, longest: usize) -> Result<bool> {
        let possible = most > 1 && self.shares_cache() && self.switch.length().is_none();
        let same = possible && self.are_same_together(most, longest)?;
        self.together.store(if same { most } else { 1 }, Ordering::Relaxed);
        *self.batch.lock().unwrap_or_else(PoisonError::into_inner) = None;
        Ok(same)
    }

    fn are_same_together(&self, most: usize, longest: usize) -> Result<bool> {
        let model = &self.config().model;
        let mut trial = Trial::new(self, most, model.vocab_size, model.context_length)?;
        for count in trial.counts() {
            if !trial.same(count, |feeds| Ok(self.run_together(feeds, 0)?))? {
                return Ok(false);
            }
        }
        if self.switch == RopeSwitch::Never {
            return Ok(true);
        }
        // The graph may choose rotations by the longest of the sequences, which is then not theirs alone to say. This is
        // tried only where nothing else tells: caches for the whole context, once freed, leave the C library with large
        // pieces of memory, in which the small caches of requests are a tenth slower.
        trial.same(2, |feeds| Ok(self.run_together(feeds, longest)?))
    }

    /// Whether these can run together.
    pub(super) fn may_run_together(&self, feeds: &[Feed<'_, OnnxSequence>]) -> bool {
        let adapter = |feed: &Feed<'_, OnnxSequence>| feed.sequence.adapter.as_ref().map(Arc::as_ptr);
        feeds.len() > 1
            && feeds.len() <= self.together.load(Ordering::Relaxed)
            && feeds.iter().all(|feed| {
                let begun = feed.tokens.len() == 1 && !feed.sequence.tokens.is_empty();
                begun && adapter(feed) == adapter(&feeds[0])
            })
    }

    /// The logits of each after its token. The attention mask shows `len` positions, or as many as the longest has.
    ///
    /// # Errors
    /// There is no memory, or the graph does not take several sequences; then each can still be run by itself.
    pub(super) fn run_together(
        &self,
        feeds: &mut [Feed<'_, OnnxSequence>],
        len: usize,
    ) -> RuntimeResult<Vec<Vec<f32>>> {
        let len = feeds.iter().map(|feed| feed.sequence.tokens.len() + 1).fold(len, usize::max);
        let mut session = self.lock();
        for feed in feeds.iter_mut() {
            let held = feed.sequence.tokens.len();
            feed.sequence.cache.reserve(&session, &self.cache_tensors, held + 1, held)?;
        }
        let mut kept = self.batch.lock().unwrap_or_else(PoisonError::into_inner);
        let members: Vec<Member<'_>> = feeds.iter().map(|feed| member(feed.sequence)).collect();
        let mut batch = match kept.take() {
            Some(batch) if batch.holds(&members, len) => batch,
            older => {
                // Its memory goes before there is another.
                drop(older);
                let number = self.batches.fetch_add(1, Ordering::Relaxed);
                let adapter = feeds.first().and_then(|feed| feed.sequence.adapter.as_deref());
                Batch::new(&session, &self.cache_tensors, &members, adapter, len, number)?
            }
        };
        for (name, tensor) in self.inputs_together(feeds, len)? {
            batch.binding.bind_input(name, &tensor)?;
        }
        let name = &self.config().model.decoder.outputs.logits;
        batch.binding.bind_output_to_device(name, &self.logits_memory)?;
        let logits = rows(&session.run_binding(&batch.binding)?[name.as_str()], feeds.len())?;
        for (index, feed) in feeds.iter_mut().enumerate() {
            let position = feed.sequence.tokens.len();
            batch.copy_back(&self.cache_tensors, index, &mut feed.sequence.cache, position)?;
        }
        for (index, feed) in feeds.iter_mut().enumerate() {
            let sequence = &mut *feed.sequence;
            sequence.tokens.extend_from_slice(feed.tokens);
            sequence.rope_length = sequence.tokens.len();
            sequence.row = Some(Row::new(&batch, index, sequence.tokens.len()));
        }
        *kept = Some(batch);
        Ok(logits)
    }

    /// Inputs that are made anew for every run, for sequences of at most `len` positions with their tokens.
    fn inputs_together(
        &self,
        feeds: &[Feed<'_, OnnxSequence>],
        len: usize,
    ) -> RuntimeResult<Vec<(&str, DynTensor)>> {
        let tensor = |width: usize, values: Vec<i64>| -> RuntimeResult<DynTensor> {
            Ok(Tensor::from_array(([feeds.len(), width], values))?.upcast())
        };
        let ids = feeds.iter().flat_map(|feed| feed.tokens).map(|token| i64::from(*token));
        let held = || feeds.iter().map(|feed| feed.sequence.tokens.len());
        let mut inputs =
            vec![(self.config().model.decoder.inputs.input_ids.as_str(), tensor(1, ids.collect())?)];
        if let Some(name) = &self.attention_mask {
            let mask = held().flat_map(|held| (0..len).map(move |position| i64::from(position <= held)));
            inputs.push((name, tensor(len, mask.collect())?)); // [sequences, len]
        }
        if let Some(name) = &self.position_ids {
            inputs.push((name, tensor(1, held().map(|held| held as i64).collect())?)); // [sequences, 1]
        }
        Ok(inputs)
    }
}

fn member(sequence: &OnnxSequence) -> Member<'_> {
    Member { cache: &sequence.cache, len: sequence.tokens.len(), row: sequence.row }
}
