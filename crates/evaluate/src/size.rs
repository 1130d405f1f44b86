//! Room that a model takes on disk.

use olive_core::Result;
use olive_core::handle::ModelHandle;

/// Bytes of the files of the model; of an adapter without its base.
///
/// # Errors
/// The folder cannot be read.
#[expect(clippy::todo, reason = "a skeleton")]
pub fn size_on_disk(handle: &ModelHandle) -> Result<u64> {
    todo!("{handle:?}")
}
