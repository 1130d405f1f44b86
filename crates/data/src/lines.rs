//! The strategies that make one sample of one row.

use crate::corpus::Corpus;
use crate::strategy::{Sampler, Token};
use olive_config::canonical::{PaddingSide, TextGeneration};
use olive_core::Result;
use olive_core::python_random::PythonRandom;

/// How rows are brought to the block length.
pub(super) struct Truncation {
    /// Where a row that is too long loses tokens.
    pub side: PaddingSide,
    /// Rows below the block length make no sample.
    pub drop_short: bool,
}

impl Truncation {
    /// Cuts a row to at most `length` tokens; true if it has that many.
    pub(super) fn cut(&self, ids: &mut Vec<Token>, length: usize) -> bool {
        if ids.len() > length {
            match self.side {
                PaddingSide::Right => ids.truncate(length),
                PaddingSide::Left => drop(ids.drain(..ids.len() - length)),
            }
        }
        ids.len() == length
    }
}

/// Lengths of the rows, for messages.
#[derive(Default)]
pub(super) struct RowLengths {
    /// Rows that were looked at.
    pub rows: usize,
    /// Tokens of the longest row, before it was cut.
    pub longest: usize,
    /// Rows that were cut and still have something to learn.
    pub cut: usize,
    /// Rows without a single token, which make no sample.
    pub empty: usize,
}

impl RowLengths {
    /// Counts a row that had `whole` tokens, of which these are left.
    pub(super) fn count(&mut self, whole: usize, left: &[Token]) {
        self.rows += 1;
        self.longest = self.longest.max(whole);
        // The first label is never predicted.
        let counts = left.iter().skip(1).any(|token| token.counts);
        self.cut += usize::from(whole > left.len() && counts);
    }
}

/// Every row in turn.
pub(super) fn in_order(
    corpus: &Corpus<'_>,
    sampler: &mut Sampler<'_>,
    truncation: &Truncation,
    batch: usize,
) -> Result<RowLengths> {
    let mut lengths = RowLengths::default();
    let length = sampler.length();
    corpus.for_batches(batch, |rows| {
        for mut ids in rows {
            if sampler.is_full() {
                break;
            }
            let tokens = ids.len();
            let fills_block = truncation.cut(&mut ids, length);
            lengths.count(tokens, &ids);
            if fills_block || !truncation.drop_short {
                lengths.empty += usize::from(!sampler.push_row(&ids)?);
            }
        }
        Ok(!sampler.is_full())
    })?;
    Ok(lengths)
}

/// Rows drawn with replacement. With `drop_short`, a short row is drawn again, up to `random_retries` draws in all; what
/// the last one gives is taken even if it is short, as by Olive.
pub(super) fn at_random(
    corpus: &Corpus<'_>,
    sampler: &mut Sampler<'_>,
    truncation: &Truncation,
    samples: usize,
    random: &mut PythonRandom,
    options: &TextGeneration,
) -> Result<RowLengths> {
    let length = sampler.length();
    let mut rows = corpus.all(options.processing_batch_size)?;
    let whole: Vec<usize> = rows.iter().map(Vec::len).collect();
    let fills_block: Vec<bool> = rows.iter_mut().map(|ids| truncation.cut(ids, length)).collect();
    let mut lengths = RowLengths { longest: whole.iter().copied().max().unwrap_or(0), ..Default::default() };
    let tries = if truncation.drop_short { options.random_retries } else { 1 };
    sampler.reserve(samples)?;
    for _ in 0..samples {
        corpus.cancel.check()?;
        for attempt in 1..=tries {
            let row = random.below(rows.len() as u64) as usize;
            if fills_block[row] || attempt == tries {
                lengths.count(whole[row], &rows[row]);
                lengths.empty += usize::from(!sampler.push_row(&rows[row])?);
                break;
            }
        }
    }
    Ok(lengths)
}
