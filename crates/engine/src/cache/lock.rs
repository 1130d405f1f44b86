//! Locks that keep processes with one cache apart: files that one of them holds.

use super::CacheError;
use olive_core::cancel::CancelFlag;
use olive_core::event::{Event, EventSink};
use olive_core::{Result, error::IoContext, file};
use std::fs::{File, TryLockError};
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

/// Takes the lock, until the file goes; `None` if another process has it.
///
/// # Errors
/// It cannot be made or opened, or the file system has no locks.
pub(super) fn try_take(path: &Path) -> Result<Option<File>> {
    let file = file::open_lock(path).at("create", path)?;
    match file::try_lock(&file) {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(source)) => {
            Err(CacheError::Lock { path: path.to_owned(), reason: source.to_string() }.into())
        }
    }
}

/// Takes the lock when no other process has it; while one has, `waiting` is told. The folder is made if need be.
///
/// # Errors
/// As [`try_take`], or the run is to stop while it waits.
pub(super) fn wait_for(
    path: &Path,
    waiting: &str,
    cancel: &CancelFlag,
    events: &dyn EventSink,
) -> Result<File> {
    let folder = path.parent().expect("in the cache");
    let mut told = false;
    loop {
        std::fs::create_dir_all(folder).at("create", folder)?;
        let file = match file::open_lock(path) {
            // The folder was cleaned away in between.
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(_) if path.is_symlink() => return Err(CacheError::Link { path: path.to_owned() }.into()),
            file => file.at("create", path)?,
        };
        match file::try_lock(&file) {
            // A lock on a file that was cleaned away keeps nobody out.
            Ok(()) if file::is_at(&file, path) => return Ok(file),
            Ok(()) => continue,
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(source)) => {
                return Err(CacheError::Lock { path: path.to_owned(), reason: source.to_string() }.into());
            }
        }
        if !std::mem::replace(&mut told, true) {
            events.emit(Event::Info { message: waiting.to_owned() });
        }
        cancel.check()?;
        std::thread::sleep(Duration::from_millis(100));
    }
}
