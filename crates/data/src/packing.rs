//! The strategy `pack`: whole rows side by side in blocks, of which each sees itself only.

use crate::corpus::Corpus;
use crate::lines::{RowLengths, Truncation, has_labels};
use crate::strategy::{Sampler, Token};
use olive_core::Result;
use std::collections::BTreeMap;

/// Every row, cut to the block length, goes into the fullest block that still has room for it (best fit), or begins a
/// new one. Blocks are in the order in which they were begun.
pub(super) fn pack(
    corpus: &Corpus<'_>,
    sampler: &mut Sampler<'_>,
    truncation: &Truncation,
    batch: usize,
) -> Result<RowLengths> {
    let length = sampler.length();
    let mut lengths = RowLengths::default();
    let mut blocks: Vec<Vec<Vec<Token>>> = Vec::new();
    // Numbers of the blocks by the room they have.
    let mut open: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    corpus.for_batches(batch, |rows| {
        for mut row in rows {
            let before = truncation.cut(&mut row, length);
            lengths.count(before, &row);
            if row.is_empty() {
                lengths.empty += 1;
                continue;
            }
            if truncation.drop_mute && !has_labels(&row) {
                lengths.mute += 1;
                continue;
            }
            let tightest = open.range(row.len()..).next().map(|(room, _)| *room);
            let (block, room) = match tightest {
                None => {
                    blocks.push(Vec::new());
                    (blocks.len() - 1, length)
                }
                Some(room) => {
                    let with_room = open.get_mut(&room).expect("just found");
                    let block = with_room.pop().expect("no empty lists are kept");
                    if with_room.is_empty() {
                        open.remove(&room);
                    }
                    (block, room)
                }
            };
            let left = room - row.len();
            blocks[block].push(row);
            if left > 0 {
                open.entry(left).or_default().push(block);
            }
        }
        Ok(true)
    })?;
    for block in &blocks {
        if sampler.is_full() {
            break;
        }
        sampler.push_documents(block);
    }
    Ok(lengths)
}
