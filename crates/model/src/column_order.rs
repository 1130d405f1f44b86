//! Columns whose groups are not neighbours: GPTQ's `g_idx`, after quantising in the order of what matters most.

use super::mapped_tensor::MappedTensor;
use candle_core::DType;

/// The group of every column of a matrix, and the columns by group.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ColumnOrder {
    group_of: Vec<u32>,
    columns: Vec<u32>,
}

impl ColumnOrder {
    /// `None` where groups are neighbours.
    ///
    /// # Errors
    /// Why `tensor` does not put `cols` columns into groups of this size.
    pub(crate) fn read(
        tensor: &MappedTensor,
        cols: usize,
        group: usize,
    ) -> Result<Option<ColumnOrder>, String> {
        if tensor.dtype != DType::I32 || tensor.shape != [cols] {
            let found = (tensor.dtype.as_str(), &tensor.shape);
            return Err(format!("`g_idx` is of type {} and of the shape {:?}", found.0, found.1));
        }
        let groups = cols / group;
        let mut sizes = vec![0; groups];
        let mut group_of = Vec::with_capacity(cols);
        for (col, bytes) in tensor.bytes().as_chunks::<4>().0.iter().enumerate() {
            let stated = i32::from_le_bytes(*bytes);
            let index = usize::try_from(stated).ok().filter(|index| *index < groups);
            let index =
                index.ok_or_else(|| format!("`g_idx` puts column {col} into group {stated} of {groups}"))?;
            sizes[index] += 1;
            group_of.push(index as u32);
        }
        if let Some((index, size)) = sizes.iter().enumerate().find(|(_, size)| **size != group) {
            return Err(format!("`g_idx` puts {size} columns into group {index}, which has {group}"));
        }
        if group_of.is_sorted() {
            return Ok(None);
        }
        let mut columns: Vec<u32> = (0..cols as u32).collect();
        columns.sort_by_key(|col| group_of[*col as usize]);
        Ok(Some(ColumnOrder { group_of, columns }))
    }

    pub(crate) fn group_of(&self) -> &[u32] {
        &self.group_of
    }

    /// By group, in their own order inside of one.
    pub(crate) fn columns(&self) -> &[u32] {
        &self.columns
    }

    /// What belongs to the columns, in the order of the groups.
    pub(crate) fn sort(&self, values: &[u8], out: &mut [u8]) {
        for (out, col) in out.iter_mut().zip(&self.columns) {
            *out = values[*col as usize];
        }
    }
}
