//! A buffer whose parts several threads write or read.

/// A pointer that tasks share; each writes or reads its own part.
pub(super) struct Shared<T>(pub(super) *mut T);

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Shared<T> {
        *self
    }
}

impl<T> Copy for Shared<T> {}

#[expect(unsafe_code, reason = "panels of one buffer are written by several threads")]
// SAFETY: a pointer to plain values, which threads may share; only products dereference what it gives: tasks of the packing
// write panels of their own, and are done before any task reads one.
unsafe impl<T: Copy> Send for Shared<T> {}
#[expect(unsafe_code, reason = "panels of one buffer are written by several threads")]
// SAFETY: as for `Send`.
unsafe impl<T: Copy> Sync for Shared<T> {}

impl<T> Shared<T> {
    pub(super) fn at(self, index: usize) -> *mut T {
        self.0.wrapping_add(index)
    }
}
