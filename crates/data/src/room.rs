//! How much memory rows may take: files of a few kilobytes can hold more of them than any machine.

use crate::error::{DataError, Location};
use crate::value::Value;
use olive_core::available::{self, Available};
use std::cell::Cell;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// Rows are held up to four times: as text, as values, as selected rows, and as the texts made of them.
const COPIES: u64 = 4;

/// A row beside its values.
const ROW: usize = 96;

/// What is left for rows. Threads share it.
#[derive(Debug)]
pub(crate) struct Room {
    all: u64,
    taken: AtomicU64,
}

/// There is no more room.
#[derive(Debug)]
pub(crate) struct Full;

impl Room {
    /// For the memory that is available now.
    pub(crate) fn of_machine() -> Room {
        let available = Available::now().memory.into_iter().chain(available::unmapped()).min();
        Room::new(available.unwrap_or(u64::MAX) / COPIES)
    }

    fn new(all: u64) -> Room {
        Room { all, taken: AtomicU64::new(0) }
    }

    /// # Errors
    /// [`Full`]: so many bytes more are too many.
    pub(crate) fn take(&self, bytes: usize) -> Result<(), Full> {
        let taken = self.taken.fetch_add(bytes as u64, Ordering::Relaxed);
        if taken.saturating_add(bytes as u64) > self.all { Err(Full) } else { Ok(()) }
    }

    /// So many rows with so many columns.
    ///
    /// # Errors
    /// [`Full`].
    pub(crate) fn take_rows(&self, rows: usize, columns: usize) -> Result<(), Full> {
        self.take(rows.saturating_mul(ROW))?;
        self.take_columns(rows, columns)
    }

    /// So many columns more for so many rows.
    ///
    /// # Errors
    /// [`Full`].
    pub(crate) fn take_columns(&self, rows: usize, columns: usize) -> Result<(), Full> {
        self.take(rows.saturating_mul(columns).saturating_mul(size_of::<Value>()))
    }

    /// Most bytes that a file may have, packed or not.
    pub(crate) fn largest_file(&self) -> u64 {
        self.all.saturating_sub(self.taken.load(Ordering::Relaxed))
    }

    /// As much room again, for a trial.
    pub(crate) fn copied(&self) -> Room {
        Room::new(self.largest_file())
    }

    pub(crate) fn is_full(&self) -> bool {
        self.taken.load(Ordering::Relaxed) > self.all
    }

    /// The error for a row that does not fit.
    pub(crate) fn no_room_for_row(&self, location: Location) -> DataError {
        DataError::NoRoomForRow { location, room: self.all }
    }

    /// The error for a file that does not fit.
    pub(crate) fn no_room_for_file(&self, path: &Path) -> DataError {
        DataError::NoRoomForFile { path: path.to_owned(), room: self.all }
    }
}

/// Takes room for the values of one row at a time, in portions.
pub(crate) struct Meter<'r> {
    room: &'r Room,
    unpaid: Cell<usize>,
}

impl Meter<'_> {
    pub(crate) fn new(room: &Room) -> Meter<'_> {
        Meter { room, unpaid: Cell::new(0) }
    }

    /// # Errors
    /// [`Full`].
    pub(crate) fn take(&self, bytes: usize) -> Result<(), Full> {
        const PORTION: usize = 1 << 16;
        let unpaid = self.unpaid.get().saturating_add(bytes);
        if unpaid < PORTION {
            self.unpaid.set(unpaid);
            return Ok(());
        }
        self.unpaid.set(0);
        self.room.take(unpaid)
    }
}

impl Drop for Meter<'_> {
    fn drop(&mut self) {
        // Whoever comes next finds that there is no room.
        let _ = self.room.take(self.unpaid.get());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_has_room() {
        assert!(Room::of_machine().largest_file() > 1 << 20);
    }

    #[test]
    fn room_is_taken_once() {
        let room = Room::new(1000);
        assert!(room.take(600).is_ok() && room.take(600).is_err() && room.is_full());
        let room = Room::new(1000);
        drop(Meter::new(&room).take(1001));
        assert!(room.is_full());
    }
}
