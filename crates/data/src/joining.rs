//! The strategies that cut blocks out of joined rows. A block may begin and end anywhere in a row.

use crate::corpus::Corpus;
use crate::strategy::{Sampler, Token};
use olive_core::Result;
use olive_core::python_random::PythonRandom;

/// All rows one after another, cut every `step` tokens into blocks of the sampler's length. With a `step` below that
/// length the blocks overlap, and in each the labels of the first `length - step` tokens do not count.
///
/// Gives the number of tokens of the rows, up to where the sampler was full.
///
/// Whole blocks do not depend on the batches; overlapping ones never span two of them, as in Olive.
pub(super) fn join(
    corpus: &Corpus<'_>,
    sampler: &mut Sampler<'_>,
    step: usize,
    batch: usize,
) -> Result<usize> {
    let length = sampler.length();
    let mut carry: Vec<Token> = Vec::new();
    let mut tokens = 0;
    corpus.for_batches(batch, |rows| {
        let before = carry.len();
        for row in rows {
            carry.extend_from_slice(&row);
            carry.extend_from_slice(&corpus.joiner);
        }
        tokens += carry.len() - before;
        let (mut begin, mut end) = (0, 0);
        // Olive up to 0.13 stops one token early and keeps a block that ends with the buffer.
        while length <= carry.len() - begin && !sampler.is_full() {
            end = begin + length;
            sampler.push(&carry[begin..end], length - step);
            begin += step;
        }
        carry.drain(..end);
        Ok(!sampler.is_full())
    })?;
    Ok(tokens)
}

/// Blocks that begin at rows drawn at random, with replacement. A block that would reach past the last row is drawn
/// again, up to `retries` times. Gives the number of tokens of all rows.
pub(super) fn join_random(
    corpus: &Corpus<'_>,
    sampler: &mut Sampler<'_>,
    samples: usize,
    random: &mut PythonRandom,
    retries: usize,
    batch: usize,
) -> Result<usize> {
    let rows = corpus.all(batch)?;
    let length = sampler.length();
    sampler.reserve(samples)?;
    for _ in 0..samples {
        corpus.cancel.check()?;
        for _ in 0..retries {
            let start = random.below(rows.len() as u64) as usize;
            let mut tokens = Vec::new();
            for row in &rows[start..] {
                tokens.extend_from_slice(row);
                tokens.extend_from_slice(&corpus.joiner);
                if tokens.len() >= length {
                    break;
                }
            }
            if tokens.len() >= length {
                sampler.push(&tokens[..length], 0);
                break;
            }
        }
    }
    Ok(rows.iter().map(|r| r.len() + corpus.joiner.len()).sum())
}
