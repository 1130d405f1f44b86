//! One run at a time writes into an output folder.

use olive_core::cancel::CancelFlag;
use olive_core::event::{Event, EventSink};
use olive_core::{Result, error::IoContext, file, shown};
use std::fs::{File, TryLockError};
use std::path::Path;
use std::time::Duration;

/// Locks the folder itself, made if need be, until the file goes. Where folders cannot be locked, as on some network file
/// systems, runs are not kept apart.
///
/// # Errors
/// The folder cannot be made or opened, or the run is to stop while it waits.
pub(super) fn take(dir: &Path, cancel: &CancelFlag, events: &dyn EventSink) -> Result<File> {
    let mut waiting = false;
    loop {
        std::fs::create_dir_all(dir).at("create", dir)?;
        let folder = File::open(dir).at("open", dir)?;
        match file::try_lock(&folder) {
            Ok(()) if file::is_at(&folder, dir) => return Ok(folder),
            // It was removed and made again in between.
            Ok(()) => continue,
            Err(TryLockError::Error(error)) => {
                tracing::debug!("{} cannot be locked: {error}", shown(dir));
                return Ok(folder);
            }
            Err(TryLockError::WouldBlock) => {}
        }
        if !std::mem::replace(&mut waiting, true) {
            let message = format!("another run writes into {}; waiting for its end", shown(dir));
            events.emit(Event::Info { message });
        }
        cancel.check()?;
        std::thread::sleep(Duration::from_millis(50));
    }
}
