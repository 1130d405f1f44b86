//! The strategies that make one sample of one row.

use crate::corpus::Corpus;
use crate::strategy::{Sampler, Token};
use olive_config::canonical::{PaddingSide, TextGeneration};
use olive_core::Result;
use olive_core::python_random::PythonRandom;
use std::ops::Range;

/// How rows are brought to the block length.
pub(super) struct Truncation {
    /// Where a row that is too long loses tokens.
    pub side: PaddingSide,
    /// Rows below the block length make no sample.
    pub drop_short: bool,
    /// Rows of which nothing counts make no sample.
    pub drop_mute: bool,
}

impl Truncation {
    /// Cuts a row to at most `length` tokens.
    pub(super) fn cut(&self, row: &mut Vec<Token>, length: usize) -> CutRow {
        let cut = CutRow { tokens: row.len(), ..CutRow::default() };
        if row.len() <= length {
            return cut;
        }
        let answers = answers(row);
        match self.side {
            PaddingSide::Right => row.truncate(length),
            PaddingSide::Left => drop(row.drain(..row.len() - length)),
        }
        // Cut in the middle, an answer is not whole any more; of those that are left, only one can be.
        let left = answers_within(row, &answers, self.side, cut.tokens);
        CutRow { answers_cut: answers.len() - left, ..cut }
    }
}

/// What a row was before it was cut.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct CutRow {
    pub tokens: usize,
    /// Answers that were lost, or lost a part.
    pub answers_cut: usize,
}

/// Where what counts stands: runs of tokens.
fn answers(row: &[Token]) -> Vec<Range<usize>> {
    let mut answers: Vec<Range<usize>> = Vec::new();
    for place in (0..row.len()).filter(|place| row[*place].counts()) {
        match answers.last_mut() {
            Some(last) if last.end == place => last.end += 1,
            _ => answers.push(place..place + 1),
        }
    }
    answers
}

/// How many of the answers of a row that had `whole` tokens are all there after it was cut.
fn answers_within(left: &[Token], answers: &[Range<usize>], side: PaddingSide, whole: usize) -> usize {
    let kept = match side {
        PaddingSide::Right => 0..left.len(),
        PaddingSide::Left => whole - left.len()..whole,
    };
    answers.iter().filter(|answer| answer.start >= kept.start && answer.end <= kept.end).count()
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
    /// Rows of which nothing counts, where these make no sample.
    pub mute: usize,
    /// Answers that were lost, or lost a part, where rows were cut.
    pub answers_cut: usize,
}

impl RowLengths {
    /// Counts a row of which these tokens are left.
    pub(super) fn count(&mut self, before: CutRow, left: &[Token]) {
        self.rows += 1;
        self.longest = self.longest.max(before.tokens);
        self.cut += usize::from(before.tokens > left.len() && has_labels(left));
        self.answers_cut += before.answers_cut;
    }
}

/// Whether anything is learned from these tokens: the first label is never predicted.
pub(super) fn has_labels(row: &[Token]) -> bool {
    row.iter().skip(1).any(|token| token.counts())
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
            let before = truncation.cut(&mut ids, length);
            lengths.count(before, &ids);
            if ids.len() == length || !truncation.drop_short {
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
    let before: Vec<CutRow> = rows.iter_mut().map(|ids| truncation.cut(ids, length)).collect();
    let longest = before.iter().map(|row| row.tokens).max().unwrap_or(0);
    let mut lengths = RowLengths { longest, ..Default::default() };
    let tries = if truncation.drop_short { options.random_retries } else { 1 };
    sampler.reserve(samples)?;
    for _ in 0..samples {
        corpus.cancel.check()?;
        for attempt in 1..=tries {
            let row = random.below(rows.len() as u64) as usize;
            if rows[row].len() == length || attempt == tries {
                lengths.count(before[row], &rows[row]);
                lengths.empty += usize::from(!sampler.push_row(&rows[row])?);
                break;
            }
        }
    }
    Ok(lengths)
}
