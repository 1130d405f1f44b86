//! Files that others may have put something else in the place of: links, pipes, devices.

use std::ffi::OsString;
use std::fs::{File, Metadata, OpenOptions, Permissions, ReadDir, TryLockError};
use std::io::{Error, ErrorKind, Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

type Result<T, E = Error> = std::result::Result<T, E>;

/// Opens a file for reading. A pipe or a device is refused at once, where opening it could wait for ever.
///
/// # Errors
/// It is not there, may not be read, or is no regular file.
pub fn open(path: &Path) -> Result<File> {
    regular(OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?)
}

/// The content of a regular file.
///
/// # Errors
/// As [`open`].
pub fn read(path: &Path) -> Result<Vec<u8>> {
    let mut content = Vec::new();
    open(path)?.read_to_end(&mut content)?;
    Ok(content)
}

/// The text in a regular file.
///
/// # Errors
/// As [`open`], or it is not UTF-8.
pub fn read_to_string(path: &Path) -> Result<String> {
    let mut text = String::new();
    open(path)?.read_to_string(&mut text)?;
    Ok(text)
}

/// Does what the standard library does not do again where a signal interrupts it.
///
/// # Errors
/// Those of the call.
pub fn uninterrupted<T>(mut call: impl FnMut() -> Result<T>) -> Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

/// Reads a piece, as [`Read::read`] does, whatever signals come.
///
/// # Errors
/// It cannot be read.
pub fn read_piece(from: &mut impl Read, piece: &mut [u8]) -> Result<usize> {
    uninterrupted(|| from.read(piece))
}

/// Copies the content and the rights of a file, as [`std::fs::copy`] does, whatever signals come.
///
/// # Errors
/// It cannot be read, or the copy not be written.
pub fn copy(from: &Path, to: &Path) -> Result<u64> {
    uninterrupted(|| std::fs::copy(from, to))
}

/// What lies in a folder, as [`std::fs::read_dir`] gives it, whatever signals come while it is opened.
///
/// # Errors
/// It cannot be read.
pub fn entries(folder: &Path) -> Result<ReadDir> {
    uninterrupted(|| std::fs::read_dir(folder))
}

/// Takes the lock on an open file without waiting, whatever signals come. Others see it until the file is closed.
///
/// # Errors
/// Somebody else has it, or the file system has no locks.
pub fn try_lock(file: &File) -> Result<(), TryLockError> {
    locked(|| file.try_lock())
}

/// The same of a lock that several may share.
///
/// # Errors
/// As [`try_lock`].
pub fn try_lock_shared(file: &File) -> Result<(), TryLockError> {
    locked(|| file.try_lock_shared())
}

fn locked(mut call: impl FnMut() -> Result<(), TryLockError>) -> Result<(), TryLockError> {
    loop {
        match call() {
            Err(TryLockError::Error(error)) if error.kind() == ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

/// Opens the file that stands for a lock, made if need be. What is in it stays, and a link is not followed.
///
/// # Errors
/// It cannot be made or opened, or is no regular file.
pub fn open_lock(path: &Path) -> Result<File> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let options = OpenOptions::new().write(true).create(true).truncate(false).custom_flags(flags).open(path);
    match options {
        // What Linux says of a link is meant for those who follow them.
        Err(error) if error.raw_os_error() == Some(libc::ELOOP) => {
            Err(Error::other("it is a symbolic link, which could lead to any file"))
        }
        opened => regular(opened?),
    }
}

/// Whether this is still the file, or the folder, of that name: another may have taken its place since it was opened.
pub fn is_at(file: &File, path: &Path) -> bool {
    let id = |meta: Metadata| (meta.dev(), meta.ino());
    file.metadata().ok().map(id).is_some_and(|own| path.metadata().is_ok_and(|meta| id(meta) == own))
}

/// Whether two files have the same bytes.
///
/// # Errors
/// One of them cannot be read.
pub fn have_same_bytes(one: &Path, other: &Path) -> Result<bool> {
    const PIECE: u64 = 1 << 20;
    let (mut one, mut other) = (open(one)?, open(other)?);
    let (mut a, mut b) = (Vec::new(), Vec::new());
    loop {
        a.clear();
        b.clear();
        Read::by_ref(&mut one).take(PIECE).read_to_end(&mut a)?;
        Read::by_ref(&mut other).take(PIECE).read_to_end(&mut b)?;
        if a != b {
            return Ok(false);
        }
        if a.is_empty() {
            return Ok(true);
        }
    }
}

/// Gives a file this content by way of another name: a reader sees the old one or the new one, and a link of that name is
/// replaced, not followed.
///
/// # Errors
/// The folder cannot be written.
pub fn replace(path: &Path, content: &[u8]) -> Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = partial(folder)?;
    file.write_all(content)?;
    file.persist(path)?;
    Ok(())
}

/// A file on its way into the folder. It is locked, so that [`remove_partial`] lets it be.
///
/// # Errors
/// The folder cannot be written.
pub fn partial(folder: &Path) -> Result<NamedTempFile> {
    // Others may read it, as far as the umask lets them.
    let permissions = Permissions::from_mode(0o666);
    loop {
        let made =
            tempfile::Builder::new().prefix(PARTIAL).permissions(permissions.clone()).tempfile_in(folder)?;
        match try_lock(made.as_file()) {
            Err(TryLockError::WouldBlock) => {}
            // Where files cannot be locked, none is removed either.
            Ok(()) | Err(TryLockError::Error(_)) if made.as_file().metadata()?.nlink() > 0 => {
                return Ok(made);
            }
            _ => {}
        }
    }
}

/// Removes the files on their way into the folder whose writers were killed. What cannot be removed takes up space and does
/// no harm.
pub fn remove_partial(folder: &Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let is_abandoned = || open(&path).map_or(true, |file| try_lock(&file).is_ok());
        if entry.file_name().to_string_lossy().starts_with(PARTIAL) && (path.is_symlink() || is_abandoned()) {
            let _ = std::fs::remove_file(&path);
        }
    }
}

/// The name under which a file comes into its folder, for those who keep others from doing the same.
pub fn partial_path(path: &Path) -> PathBuf {
    let mut name = OsString::from(PARTIAL);
    name.push(path.file_name().unwrap_or_default());
    path.with_file_name(name)
}

/// How the names of files on their way begin.
const PARTIAL: &str = ".olive-partial-";

fn regular(file: File) -> Result<File> {
    let kind = file.metadata()?.file_type();
    let what = match kind {
        _ if kind.is_file() => return Ok(file),
        _ if kind.is_dir() => "a folder",
        _ if kind.is_fifo() => "a pipe",
        _ if kind.is_socket() => "a socket",
        _ => "a device",
    };
    Err(Error::new(ErrorKind::InvalidInput, format!("it is {what}, not a file")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn devices_and_folders_are_no_files() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("config.json");
        symlink("/dev/zero", &link).unwrap();
        assert!(read(&link).unwrap_err().to_string().contains("a device"));
        assert!(read(dir.path()).unwrap_err().to_string().contains("a folder"));
    }

    #[test]
    fn what_a_signal_interrupts_is_done_again() {
        struct Signalled(bool);
        impl Read for Signalled {
            fn read(&mut self, piece: &mut [u8]) -> Result<usize> {
                if std::mem::take(&mut self.0) {
                    return Err(ErrorKind::Interrupted.into());
                }
                piece[0] = 7;
                Ok(1)
            }
        }
        let mut piece = [0; 2];
        assert_eq!((read_piece(&mut Signalled(true), &mut piece).unwrap(), piece), (1, [7, 0]));
        let mut answers = [Err(TryLockError::Error(ErrorKind::Interrupted.into())), Ok(())].into_iter();
        assert!(locked(|| answers.next().unwrap()).is_ok());
        assert!(matches!(locked(|| Err(TryLockError::WouldBlock)), Err(TryLockError::WouldBlock)));
    }

    #[test]
    fn files_on_their_way_go_when_nobody_writes_them() {
        let dir = tempfile::tempdir().unwrap();
        let alive = partial(dir.path()).unwrap();
        std::fs::write(dir.path().join(format!("{PARTIAL}dead")), "half").unwrap();
        remove_partial(dir.path());
        assert!(alive.path().exists() && std::fs::read_dir(dir.path()).unwrap().count() == 1);
    }

    #[test]
    fn links_are_replaced_and_locks_on_them_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (link, theirs) = (dir.path().join("link"), dir.path().join("theirs"));
        std::fs::write(&theirs, "theirs").unwrap();
        symlink(&theirs, &link).unwrap();
        assert!(open_lock(&link).unwrap_err().to_string().contains("symbolic link"));
        replace(&link, b"ours").unwrap();
        assert_eq!((read(&link).unwrap(), read(&theirs).unwrap()), (b"ours".to_vec(), b"theirs".to_vec()));
        open_lock(&link).unwrap();
        assert_eq!(read_to_string(&link).unwrap(), "ours");
    }
}
