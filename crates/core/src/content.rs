//! Hashes of file contents, remembered by (path, size, mtime, inode), so that a second run does not read the
//! weights again.

use crate::{Result, error::IoContext, file};
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// A file that changed this recently may change again without its time stamp saying so; its hash is not kept.
const SETTLED: Duration = Duration::from_secs(1);

/// The memory of one cache folder. Open it, hash, [`ContentHashes::save`].
#[derive(Default)]
pub struct ContentHashes {
    file: Option<PathBuf>,
    known: RefCell<BTreeMap<PathBuf, Known>>,
    dirty: RefCell<bool>,
    /// What this process was told of files, and what they looked like then.
    told: RefCell<BTreeMap<PathBuf, (Stamp, String)>>,
}

/// What changes with a file's content, as far as the file system notices.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    /// Also of its permissions and links.
    changed: (i64, i64),
}

impl Stamp {
    fn of(meta: &Metadata) -> Stamp {
        Stamp {
            device: meta.dev(),
            inode: meta.ino(),
            size: meta.size(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        }
    }
}

#[derive(Clone, PartialEq, Serialize, Deserialize)]
struct Known {
    size: u64,
    mtime: (i64, i64),
    inode: u64,
    hash: String,
}

impl ContentHashes {
    /// What an earlier run remembered in `cache_dir`. A file that cannot be read counts as empty: it only costs time.
    pub fn open(cache_dir: &Path) -> ContentHashes {
        let file = cache_dir.join("content-hashes-v1.json");
        let known =
            file::read(&file).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
        ContentHashes { file: Some(file), known: RefCell::new(known), ..ContentHashes::default() }
    }

    /// blake3 of the file's content, in hex.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn file(&self, path: &Path) -> Result<String> {
        let canonical = path.canonicalize().at("read", path)?;
        let meta = canonical.metadata().at("read", path)?;
        let hash = self.hash(path, canonical, &meta)?;
        self.told.borrow_mut().entry(path.to_owned()).or_insert_with(|| (Stamp::of(&meta), hash.clone()));
        Ok(hash)
    }

    /// The first of the files asked for whose content is not what was said of it any more. Those that look the same are not
    /// read again.
    pub fn first_changed(&self) -> Option<PathBuf> {
        for (path, (stamp, hash)) in self.told.borrow_mut().iter_mut() {
            let now = path.metadata().map(|meta| Stamp::of(&meta));
            let looks_the_same = now.as_ref().is_ok_and(|now| now == stamp);
            if !looks_the_same && hash_file(path).ok().as_ref() != Some(hash) {
                return Some(path.clone());
            }
            *stamp = now.unwrap_or(*stamp);
        }
        None
    }

    fn hash(&self, path: &Path, canonical: PathBuf, meta: &Metadata) -> Result<String> {
        let stamp = (meta.size(), (meta.mtime(), meta.mtime_nsec()), meta.ino());
        if let Some(known) = self.known.borrow().get(&canonical)
            && (known.size, known.mtime, known.inode) == stamp
        {
            return Ok(known.hash.clone());
        }
        let hash = hash_file(&canonical).at("read", path)?;
        let settled = meta
            .modified()
            .ok()
            .and_then(|time| SystemTime::now().duration_since(time).ok())
            .is_some_and(|age| age >= SETTLED);
        // The memory is JSON, which has no room for a path that is not text.
        if settled && canonical.to_str().is_some() {
            let known = Known { size: stamp.0, mtime: stamp.1, inode: stamp.2, hash: hash.clone() };
            self.known.borrow_mut().insert(canonical, known);
            *self.dirty.borrow_mut() = true;
        }
        Ok(hash)
    }

    /// Keeps what was learnt for the next run.
    ///
    /// # Errors
    /// The cache folder cannot be written.
    pub fn save(&self) -> Result<()> {
        let Some(path) = self.file.as_ref().filter(|_| *self.dirty.borrow()) else {
            return Ok(());
        };
        let mut known = self.known.borrow_mut();
        known.retain(|path, _| path.exists());
        let folder = path.parent().expect("a file in the cache folder");
        std::fs::create_dir_all(folder).at("create", folder)?;
        file::remove_partial(folder);
        let text = serde_json::to_vec(&*known).map_err(std::io::Error::from).at("write", path)?;
        file::replace(path, &text).at("write", path)?;
        *self.dirty.borrow_mut() = false;
        Ok(())
    }
}

/// Read in pieces: a mapping would count as memory of this process, as much as the whole file.
fn hash_file(path: &Path) -> std::io::Result<String> {
    const PIECE: usize = 1 << 24;
    let mut file = file::open(path)?;
    let mut hasher = blake3::Hasher::new();
    let mut piece = vec![0; PIECE.min(usize::try_from(file.metadata()?.len()).unwrap_or(PIECE).max(1))];
    loop {
        match file::read_piece(&mut file, &mut piece)? {
            0 => return Ok(hasher.finalize().to_hex().to_string()),
            read => hasher.update_rayon(&piece[..read]),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_byte_changes_the_hash() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data");
        let hashes = ContentHashes::open(dir.path());
        std::fs::write(&path, "one").unwrap();
        let before = hashes.file(&path).unwrap();
        std::fs::write(&path, "two").unwrap();
        assert_ne!(before, hashes.file(&path).unwrap());
    }

    #[test]
    fn a_file_that_was_written_to_is_told_from_one_that_was_touched() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data");
        let hashes = ContentHashes::default();
        std::fs::write(&path, "one").unwrap();
        hashes.file(&path).unwrap();
        let time = path.metadata().unwrap().modified().unwrap();
        let touch =
            |time| std::fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
        touch(time + Duration::from_secs(3));
        assert_eq!(hashes.first_changed(), None);
        // Of the same size, with the old time.
        std::thread::sleep(Duration::from_millis(50));
        std::fs::write(&path, "two").unwrap();
        touch(time + Duration::from_secs(3));
        assert_eq!(hashes.first_changed(), Some(path.clone()));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(hashes.first_changed(), Some(path));
    }

    #[test]
    fn a_settled_file_is_remembered_across_runs() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data");
        std::fs::write(&path, "one").unwrap();
        let old = SystemTime::now() - Duration::from_secs(60);
        std::fs::File::options().write(true).open(&path).unwrap().set_modified(old).unwrap();
        let hashes = ContentHashes::open(dir.path());
        let hash = hashes.file(&path).unwrap();
        hashes.save().unwrap();
        let again = ContentHashes::open(dir.path());
        assert_eq!(again.known.borrow().len(), 1);
        assert_eq!(again.file(&path).unwrap(), hash);
    }
}
