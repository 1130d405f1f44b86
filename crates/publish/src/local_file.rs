//! A file of this machine that is to be pushed.

use crate::error::PublishError;
use olive_core::{Result, error::IoContext, file};
use ring::digest;
use sha2::{Digest, Sha256};
use std::fs::{File, Metadata};
use std::io::{Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// Bytes that are read at a time.
pub(crate) const PIECE: usize = 1 << 18;

/// A file, its name in the repository, and what it looked like when it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalFile {
    /// Parts are parted by `/`.
    pub name: String,
    pub(crate) path: PathBuf,
    stamp: Stamp,
}

/// What changes when somebody writes into a file or puts another in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    size: u64,
    modified: (i64, i64),
    inode: u64,
}

impl Stamp {
    fn of(meta: &Metadata) -> Stamp {
        Stamp { size: meta.size(), modified: (meta.mtime(), meta.mtime_nsec()), inode: meta.ino() }
    }
}

impl LocalFile {
    pub(crate) fn new(name: String, path: PathBuf) -> Result<LocalFile> {
        let meta = path.metadata().at("read", &path)?;
        Ok(LocalFile { name, stamp: Stamp::of(&meta), path })
    }

    /// In bytes.
    pub fn size(&self) -> u64 {
        self.stamp.size
    }

    /// Opens it at a byte.
    ///
    /// # Errors
    /// [`PublishError::Changed`]; it cannot be read.
    pub(crate) fn open_at(&self, offset: u64) -> Result<File> {
        let mut file = file::open(&self.path).at("read", &self.path)?;
        let meta = file.metadata().at("read", &self.path)?;
        if Stamp::of(&meta) != self.stamp {
            return Err(self.changed());
        }
        if offset > 0 {
            file.seek(SeekFrom::Start(offset)).at("read", &self.path)?;
        }
        Ok(file)
    }

    /// # Errors
    /// [`PublishError::Changed`].
    pub(crate) fn check(&self) -> Result<()> {
        match self.path.metadata() {
            Ok(meta) if Stamp::of(&meta) == self.stamp => Ok(()),
            _ => Err(self.changed()),
        }
    }

    fn changed(&self) -> olive_core::Error {
        PublishError::Changed { path: self.path.clone() }.into()
    }

    /// The first bytes, by which the hub tells text from what is none.
    pub(crate) fn sample(&self) -> Result<Vec<u8>> {
        const SAMPLE: usize = 512;
        let mut file = self.open_at(0)?;
        let mut sample = vec![0; SAMPLE];
        let mut length = 0;
        while length < SAMPLE {
            match file::read_piece(&mut file, &mut sample[length..]).at("read", &self.path)? {
                0 => break,
                read => length += read,
            }
        }
        sample.truncate(length);
        Ok(sample)
    }

    /// The whole content, which must be small.
    pub(crate) fn content(&self) -> Result<Vec<u8>> {
        self.open_at(0)?;
        let content = file::read(&self.path).at("read", &self.path)?;
        if content.len() as u64 != self.size() {
            return Err(self.changed());
        }
        self.check()?;
        Ok(content)
    }

    /// The SHA-256 of its content in hex, read in pieces; `on_piece` hears how many bytes were read.
    pub(crate) async fn sha256(&self, mut on_piece: impl FnMut(u64)) -> Result<String> {
        let mut file = self.open_at(0)?;
        let mut hash = Sha256::new();
        let mut piece = vec![0; 1 << 20];
        loop {
            let read = file::read_piece(&mut file, &mut piece).at("read", &self.path)?;
            if read == 0 {
                break;
            }
            hash.update(&piece[..read]);
            on_piece(read as u64);
            tokio::task::yield_now().await; // Gigabytes may be there.
        }
        self.check()?;
        Ok(hex(&hash.finalize()))
    }
}

/// What Git calls a content: the SHA-1 of a header and the bytes.
pub(crate) fn git_blob_id(content: &[u8]) -> String {
    let mut hash = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    hash.update(format!("blob {}\0", content.len()).as_bytes());
    hash.update(content);
    hex(hash.finish().as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_those_of_git() {
        // `git hash-object --stdin`
        assert_eq!(git_blob_id(b""), "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
        assert_eq!(git_blob_id(b"what is up, doc?"), "bd9dbf5aae1a3862dd1526723246b20206e5fc37");
    }

    #[test]
    fn a_file_that_changes_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        std::fs::write(&path, "one").unwrap();
        let file = LocalFile::new("x".into(), path.clone()).unwrap();
        assert_eq!((file.sample().unwrap(), file.content().unwrap()), (b"one".to_vec(), b"one".to_vec()));
        std::fs::write(&path, "other").unwrap();
        assert!(file.check().is_err() && file.open_at(0).is_err() && file.content().is_err());
    }
}
