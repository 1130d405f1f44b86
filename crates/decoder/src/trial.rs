//! Whether sequences that run together give the numbers that each gives alone.

use super::language_model::{Feed, LanguageModel};
use olive_core::Result;

/// Up to here every number of sequences is tried: kernels work on some rows at a time. Of larger numbers, powers of two are.
const TRIED: usize = 8;

/// Some sequences of different lengths, and the logits that each of them gives alone for its next token.
pub struct Trial<'a, M: LanguageModel> {
    model: &'a M,
    sequences: Vec<M::Sequence>,
    next: Vec<[u32; 1]>,
    alone: Vec<Vec<f32>>,
}

impl<'a, M: LanguageModel> Trial<'a, M> {
    /// Runs `count` sequences alone, with tokens of a vocabulary of this size, in a context of this length.
    ///
    /// # Errors
    /// The model cannot be run.
    pub fn new(model: &'a M, count: usize, vocabulary: usize, context: usize) -> Result<Self> {
        let token = |n: usize| u32::try_from(n * 7 % vocabulary.max(1)).unwrap_or_default();
        let mut trial = Trial { model, sequences: Vec::new(), next: Vec::new(), alone: Vec::new() };
        for index in 0..count {
            let mut sequence = model.new_sequence()?;
            let len = (2 + 3 * index).clamp(1, context.saturating_sub(1).max(1));
            let prompt: Vec<u32> = (0..len).map(|n| token(n + index)).collect();
            model.feed(&mut sequence, &prompt)?;
            trial.alone.push(model.feed(&mut sequence, &[token(index)])?);
            model.truncate(&mut sequence, len)?;
            trial.next.push([token(index)]);
            trial.sequences.push(sequence);
        }
        Ok(trial)
    }

    /// How many sequences to try together, up to all.
    pub fn counts(&self) -> impl Iterator<Item = usize> + use<M> {
        let most = self.sequences.len();
        (2..=most).filter(move |count| *count <= TRIED || count.is_power_of_two() || *count == most)
    }

    /// Whether the first `count` give the same together, by `run`. They are left as they were.
    ///
    /// # Errors
    /// The model cannot go back. That `run` fails counts as another result.
    pub fn same(
        &mut self,
        count: usize,
        run: impl FnOnce(&mut [Feed<'_, M::Sequence>]) -> Result<Vec<Vec<f32>>>,
    ) -> Result<bool> {
        let sequences = &mut self.sequences[..count];
        let feeds = sequences.iter_mut().zip(&self.next).map(|(sequence, tokens)| Feed { sequence, tokens });
        let together = match run(&mut feeds.collect::<Vec<_>>()) {
            Ok(together) => together,
            Err(error) => {
                tracing::debug!("sequences run one by one: {error}");
                return Ok(false);
            }
        };
        for sequence in sequences {
            let len = self.model.tokens(sequence).len() - 1;
            self.model.truncate(sequence, len)?;
        }
        let bits = |logits: &[f32]| logits.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        let same = together.iter().zip(&self.alone).all(|(together, alone)| bits(together) == bits(alone));
        if !same {
            tracing::debug!("sequences run one by one: {count} together give other numbers");
        }
        Ok(same)
    }
}
