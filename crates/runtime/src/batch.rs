//! The caches of several sequences in one tensor each, for runs of the graph that compute them together.

use super::RuntimeError;
use super::adapter::OnnxAdapter;
use super::kv_cache::{CacheTensor, Plane, SequenceCache, copy_positions};
use ort::session::{IoBinding, Session};
use ort::value::DynTensor;

type RuntimeResult<T> = std::result::Result<T, RuntimeError>;

/// Rows grow by whole multiples of this.
const GROWTH: usize = 256;

/// The rows that ran last.
pub(super) struct Batch {
    pub(super) binding: IoBinding,
    /// `[sequences, kv_heads, capacity, head_dim]` each.
    tensors: Vec<DynTensor>,
    sequences: usize,
    capacity: usize,
    /// Which of all batches of the session this is.
    number: u64,
}

/// The row of a batch that holds what a sequence holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Row {
    batch: u64,
    index: usize,
    len: usize,
}

/// A sequence that is to have a row.
pub(super) struct Member<'a> {
    pub(super) cache: &'a SequenceCache,
    /// Positions that it holds.
    pub(super) len: usize,
    /// The row that it had last.
    pub(super) row: Option<Row>,
}

impl Row {
    pub(super) fn new(batch: &Batch, index: usize, len: usize) -> Row {
        Row { batch: batch.number, index, len }
    }
}

impl Batch {
    /// Copies of the caches of these sequences, with room for `len` positions, read with an adapter or without.
    pub(super) fn new(
        session: &Session,
        declared: &[CacheTensor],
        members: &[Member<'_>],
        adapter: Option<&OnnxAdapter>,
        len: usize,
        number: u64,
    ) -> RuntimeResult<Batch> {
        let (sequences, capacity) = (members.len(), len.checked_next_multiple_of(GROWTH).unwrap_or(len));
        let mut binding = session.create_binding()?;
        let mut tensors = Vec::with_capacity(declared.len());
        for (place, of) in declared.iter().enumerate() {
            let mut tensor = of.tensor(session.allocator(), sequences, capacity)?;
            for (index, member) in members.iter().enumerate() {
                let SequenceCache::Shared { tensors: own, capacity: rows, .. } = member.cache else {
                    continue;
                };
                let from = Plane { tensor: &own[place], sequence: 0, capacity: *rows };
                let to = Plane { tensor: &mut tensor, sequence: index, capacity };
                copy_positions(of, from, to, 0..member.len)?;
            }
            binding.bind_input(&*of.past, &tensor)?;
            binding.bind_output(&*of.present, &mut tensor)?;
            tensors.push(tensor);
        }
        for (name, matrix) in adapter.iter().flat_map(|adapter| &adapter.inputs) {
            binding.bind_input(name, matrix)?;
        }
        Ok(Batch { binding, tensors, sequences, capacity, number })
    }

    /// Whether its rows are what these sequences hold, with room for `len` positions.
    pub(super) fn holds(&self, members: &[Member<'_>], len: usize) -> bool {
        let mut rows = members.iter().enumerate();
        self.sequences == members.len()
            && len <= self.capacity
            && rows.all(|(index, member)| member.row == Some(Row::new(self, index, member.len)))
    }

    /// Gives a sequence's own cache what a run has added at a position.
    pub(super) fn copy_back(
        &self,
        declared: &[CacheTensor],
        index: usize,
        cache: &mut SequenceCache,
        position: usize,
    ) -> RuntimeResult<()> {
        let SequenceCache::Shared { tensors, capacity, .. } = cache else { return Ok(()) };
        for ((of, from), to) in declared.iter().zip(&self.tensors).zip(tensors) {
            let from = Plane { tensor: from, sequence: index, capacity: self.capacity };
            let to = Plane { tensor: to, sequence: 0, capacity: *capacity };
            copy_positions(of, from, to, position..position + 1)?;
        }
        Ok(())
    }
}
