//! The strategies that make one sample of one row.

use crate::corpus::Corpus;
use crate::python_random::PythonRandom;
use crate::strategy::{Sampler, Token};
use olive_config::canonical::{PaddingSide, TextGeneration};
use olive_core::Result;

/// How rows are brought to the block length.
pub(super) struct Shape {
    pub truncation_side: PaddingSide,
    pub drop_short: bool,
}

impl Shape {
    /// Cut to the block length; true if the row is that long.
    pub(super) fn cut(&self, ids: &mut Vec<Token>, length: usize) -> bool {
        if ids.len() > length {
            match self.truncation_side {
                PaddingSide::Right => ids.truncate(length),
                PaddingSide::Left => drop(ids.drain(..ids.len() - length)),
            }
        }
        ids.len() == length
    }
}

/// What the rows were, for messages.
#[derive(Default)]
pub(super) struct Seen {
    pub longest: usize,
    /// Rows without a single token, which make no sample.
    pub empty: usize,
}

/// Every row in turn.
pub(super) fn in_order(
    corpus: &Corpus<'_>,
    sampler: &mut Sampler<'_>,
    shape: &Shape,
    batch: usize,
) -> Result<Seen> {
    let mut seen = Seen::default();
    let length = sampler.length();
    corpus.for_batches(batch, |rows| {
        for mut ids in rows {
            if sampler.is_full() {
                break;
            }
            let whole = shape.cut(&mut ids, length);
            seen.longest = seen.longest.max(ids.len());
            if whole || !shape.drop_short {
                seen.empty += usize::from(!sampler.push_row(&ids));
            }
        }
        Ok(!sampler.is_full())
    })?;
    Ok(seen)
}

/// Rows drawn with replacement. With `drop_short`, a short row is drawn again, up to `random_retries` draws in all; what
/// the last one gives is taken even if it is short, as by Olive.
pub(super) fn at_random(
    corpus: &Corpus<'_>,
    sampler: &mut Sampler<'_>,
    shape: &Shape,
    samples: usize,
    random: &mut PythonRandom,
    options: &TextGeneration,
) -> Result<Seen> {
    let length = sampler.length();
    let mut rows = corpus.all(options.processing_batch_size)?;
    let whole: Vec<bool> = rows.iter_mut().map(|ids| shape.cut(ids, length)).collect();
    let mut seen = Seen { longest: rows.iter().map(Vec::len).max().unwrap_or(0), empty: 0 };
    let tries = if shape.drop_short { options.random_retries } else { 1 };
    for _ in 0..samples {
        for attempt in 1..=tries {
            let row = random.below(rows.len() as u64) as usize;
            if whole[row] || attempt == tries {
                seen.empty += usize::from(!sampler.push_row(&rows[row]));
                break;
            }
        }
    }
    Ok(seen)
}
