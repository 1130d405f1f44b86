//! Looking into folders, removing what is there, and making sure that the disk has it.

use olive_core::{Result, error::IoContext, file};
use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// What lies in a folder, if it is there.
///
/// # Errors
/// The folder cannot be read.
pub(super) fn entries(dir: &Path) -> Result<Vec<PathBuf>> {
    match file::entries(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        entries => entries.at("read", dir)?.map(|entry| Ok(entry.at("read", dir)?.path())).collect(),
    }
}

/// Removes a file, a link or a folder with all that is in it.
///
/// # Errors
/// It is there and cannot be removed.
pub(crate) fn remove_if_there(path: &Path) -> Result<()> {
    let removed = match path.symlink_metadata() {
        Err(_) => return Ok(()),
        Ok(meta) if meta.is_dir() => std::fs::remove_dir_all(path),
        Ok(_) => std::fs::remove_file(path),
    };
    removed.at("remove", path)
}

/// # Errors
/// It is a link and cannot be removed.
pub(super) fn remove_if_link(path: &Path) -> Result<()> {
    if path.is_symlink() { remove_if_there(path) } else { Ok(()) }
}

/// Waits until the file, or the names in the folder, are on the disk.
///
/// # Errors
/// They cannot be written.
pub(super) fn sync(path: &Path) -> Result<()> {
    File::open(path).and_then(|file| file.sync_all()).at("sync", path)
}
