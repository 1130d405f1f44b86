//! What uploads and downloads have in common: pieces, several of them on their way at a time, and who watches them.

use crate::error::{Error, Result};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes of a request. Together with [`PARALLEL`] it bounds what a transfer has in memory: 64 MiB.
pub const PIECE: u64 = 8 << 20;

/// Requests at a time.
pub const PARALLEL: usize = 8;

/// How far a transfer is, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moved {
    pub done: u64,
    pub total: u64,
}

/// Is told each time something has arrived.
pub type Progress<'a> = &'a (dyn Fn(Moved) + Sync);

/// Counts for a [`Progress`].
pub(crate) struct Meter<'a> {
    done: AtomicU64,
    total: u64,
    progress: Progress<'a>,
}

impl<'a> Meter<'a> {
    pub(crate) fn new(total: u64, progress: Progress<'a>) -> Meter<'a> {
        Meter { done: AtomicU64::new(0), total, progress }
    }

    pub(crate) fn add(&self, bytes: u64) {
        let done = self.done.fetch_add(bytes, Ordering::Relaxed) + bytes;
        (self.progress)(Moved { done, total: self.total });
    }
}

/// Work with files, on a thread that may wait for disks.
pub(crate) async fn blocking<T: Send + 'static>(
    action: &'static str,
    path: &Path,
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await.map_err(std::io::Error::other).flatten();
    done.map_err(|source| Error::Io { action, path: path.to_owned(), source })
}
