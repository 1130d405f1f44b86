//! Downloads of blobs into a folder.
//!
//! What has arrived is kept apart until all of it is there and is what the service announced; another download goes
//! on with it. Names come from the service and become paths only if they stay in the folder.

use crate::blob::{Container, Listed};
use crate::error::{Error, Result};
use crate::safe_url::SafeUrl;
use crate::transfer::{Meter, PARALLEL, PIECE, Progress, blocking};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use md5::Md5;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// The folder, in that of the download, for what is not complete.
const UNFINISHED: &str = ".unfinished-download";

/// The blob does not have the tag any more that was asked for.
const PRECONDITION_FAILED: u16 = 412;

/// What there is under a path of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathKind {
    File,
    Folder,
}

/// What was downloaded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Downloaded {
    pub files: usize,
    pub bytes: u64,
}

/// What there is under a path; `None` if there is nothing.
///
/// # Errors
/// The service refuses, or nobody answers.
pub async fn kind_of(container: &Container, path: &str) -> Result<Option<PathKind>> {
    let path = path.trim_end_matches('/');
    if path.is_empty() {
        return Ok(container.has_any("").await?.then_some(PathKind::Folder));
    }
    if container.listed(path).await?.is_some_and(|blob| !blob.is_folder) {
        return Ok(Some(PathKind::File));
    }
    Ok(container.has_any(&format!("{path}/")).await?.then_some(PathKind::Folder))
}

/// The file or the folder under a path, as it is at one moment.
#[derive(Debug, Clone)]
pub struct Contents {
    pub kind: PathKind,
    /// Each with its name in the folder that it is downloaded into.
    blobs: Vec<(Listed, String)>,
}

impl Contents {
    /// What there is under a path.
    ///
    /// # Errors
    /// There is nothing, the service refuses, or nobody answers.
    pub async fn find(container: &Container, path: &str) -> Result<Contents> {
        let kind = kind_of(container, path).await?.ok_or_else(|| missing(container, path))?;
        let blobs = match kind {
            PathKind::File => file(container, path).await?,
            PathKind::Folder => folder(container, path).await?,
        };
        Ok(Contents { kind, blobs })
    }

    /// The names of the files, parted by `/`.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.blobs.iter().map(|(_, name)| name.as_str())
    }

    /// Changes whenever a file comes, goes or is written: a hash of names, sizes and tags.
    pub fn state(&self) -> String {
        let mut hash = Sha256::new();
        for (blob, name) in &self.blobs {
            hash.update(format!("{name}\n{}\n{}\n", blob.size, blob.tag));
        }
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Downloads it into a folder, in place of files of the same names.
    ///
    /// # Errors
    /// As for [`download_folder`]; also where a file is not there any more as it was.
    pub async fn download(
        &self,
        container: &Container,
        target: &Path,
        progress: Progress<'_>,
    ) -> Result<Downloaded> {
        fetch(container, self.blobs.clone(), target, progress).await
    }
}

/// Downloads the file or the folder under a path, whichever there is, into a folder.
///
/// # Errors
/// As for [`download_folder`].
pub async fn download(
    container: &Container,
    path: &str,
    target: &Path,
    progress: Progress<'_>,
) -> Result<Downloaded> {
    Contents::find(container, path).await?.download(container, target, progress).await
}

/// Downloads everything below a path into a folder, in place of files of the same names.
///
/// # Errors
/// The service refuses, nobody answers, there is nothing, a name leads out of the folder, the folder cannot be
/// written, or what arrived is not what was announced.
pub async fn download_folder(
    container: &Container,
    path: &str,
    target: &Path,
    progress: Progress<'_>,
) -> Result<Downloaded> {
    fetch(container, folder(container, path).await?, target, progress).await
}

/// Downloads one blob into a folder, under the last part of its name.
///
/// # Errors
/// As for [`download_folder`].
pub async fn download_file(
    container: &Container,
    path: &str,
    target: &Path,
    progress: Progress<'_>,
) -> Result<Downloaded> {
    fetch(container, file(container, path).await?, target, progress).await
}

/// The blobs below a path, with their names there.
async fn folder(container: &Container, path: &str) -> Result<Vec<(Listed, String)>> {
    let prefix = match path.trim_end_matches('/') {
        "" => String::new(),
        path => format!("{path}/"),
    };
    let blobs = files_of(container.list(&prefix).await?);
    if blobs.is_empty() {
        return Err(missing(container, path));
    }
    let named = blobs.into_iter().map(|blob| {
        let name = blob.name[prefix.len()..].to_owned();
        (blob, name)
    });
    Ok(named.collect())
}

/// A blob, with the last part of its name.
async fn file(container: &Container, path: &str) -> Result<Vec<(Listed, String)>> {
    let path = path.trim_end_matches('/');
    let blob = container.listed(path).await?.filter(|blob| !blob.is_folder);
    let blob = blob.ok_or_else(|| missing(container, path))?;
    let name = path.rsplit('/').next().unwrap_or(path).to_owned();
    Ok(vec![(blob, name)])
}

fn missing(container: &Container, path: &str) -> Error {
    Error::Protocol { url: SafeUrl::from(container.url()), what: format!("there is nothing under `{path}`") }
}

/// Without the blobs that stand for folders: marked ones, and empty ones that others lie below.
fn files_of(blobs: Vec<Listed>) -> Vec<Listed> {
    let folders: BTreeSet<String> = blobs
        .iter()
        .flat_map(|blob| blob.name.match_indices('/').map(|(end, _)| blob.name[..end].to_owned()))
        .collect();
    let is_folder = |blob: &Listed| {
        blob.is_folder || blob.size == 0 && (blob.name.ends_with('/') || folders.contains(&blob.name))
    };
    blobs.into_iter().filter(|blob| !is_folder(blob)).collect()
}

/// Downloads blobs under these names.
async fn fetch(
    container: &Container,
    blobs: Vec<(Listed, String)>,
    target: &Path,
    progress: Progress<'_>,
) -> Result<Downloaded> {
    let unfinished = target.join(UNFINISHED);
    let files: Vec<Incoming> = blobs
        .into_iter()
        .map(|(blob, name)| Incoming::new(blob, &name, target, &unfinished))
        .collect::<Result<_>>()?;
    let folder = unfinished.clone();
    blocking("create", &unfinished, move || std::fs::create_dir_all(folder)).await?;
    let total = files.iter().map(|file| file.blob.size).sum();
    let meter = Meter::new(total, progress);
    receive(container, &files, &meter).await?;
    for file in &files {
        let (from, to) = (file.partial.clone(), file.target.clone());
        let publish = move || {
            std::fs::create_dir_all(to.parent().unwrap_or(&to))?;
            std::fs::rename(from, to)
        };
        blocking("write", &file.target, publish).await?;
    }
    let folder = unfinished.clone();
    blocking("remove", &unfinished, move || std::fs::remove_dir_all(folder)).await?;
    Ok(Downloaded { files: files.len(), bytes: total })
}

/// A blob, where it goes, and where it is until it is complete.
struct Incoming {
    blob: Listed,
    target: PathBuf,
    partial: PathBuf,
    /// Bytes that an earlier download has left.
    kept: u64,
}

impl Incoming {
    fn new(blob: Listed, name: &str, target: &Path, unfinished: &Path) -> Result<Incoming> {
        let target = inside(target, name)?;
        // Another content has another tag, and with it another name.
        let id = Sha256::digest(format!("{}\n{}\n{}", blob.name, blob.tag, blob.size));
        let id: String = id.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        let partial = unfinished.join(id);
        let kept = partial.metadata().map_or(0, |meta| meta.len());
        if kept > blob.size {
            std::fs::remove_file(&partial).map_err(|source| Error::Io {
                action: "remove",
                path: partial.clone(),
                source,
            })?;
            return Ok(Incoming { blob, target, partial, kept: 0 });
        }
        Ok(Incoming { blob, target, partial, kept })
    }

    /// What is asked for, in order. A complete file has one empty piece, by which it is checked.
    fn pieces(&self) -> impl Iterator<Item = Piece<'_>> {
        let count = (self.blob.size - self.kept).div_ceil(PIECE).max(1);
        (0..count).map(move |index| {
            let start = self.kept + index * PIECE;
            Piece { file: self, start, end: self.blob.size.min(start + PIECE) }
        })
    }
}

/// A part of a blob that is asked for in one request.
struct Piece<'a> {
    file: &'a Incoming,
    start: u64,
    end: u64,
}

/// Asks for several pieces at a time and writes them in order, so that what is there is always the beginning of a file.
async fn receive(container: &Container, files: &[Incoming], meter: &Meter<'_>) -> Result<()> {
    let pieces = files.iter().flat_map(Incoming::pieces);
    let mut arriving = stream::iter(pieces).map(|piece| receive_piece(container, piece)).buffered(PARALLEL);
    let mut open: Option<Partial> = None;
    while let Some((piece, content)) = arriving.try_next().await? {
        let Incoming { blob, partial: path, kept, .. } = piece.file;
        let partial = match open.take() {
            Some(partial) => partial,
            None => {
                meter.add(*kept);
                let (path, kept) = (path.clone(), *kept);
                blocking("read", &piece.file.partial, move || Partial::open(&path, kept)).await?
            }
        };
        let bytes = content.len() as u64;
        let partial = blocking("write", path, move || partial.append(&content)).await?;
        meter.add(bytes);
        if piece.end < blob.size {
            open = Some(partial);
            continue;
        }
        let (size, md5) = blocking("write", path, move || partial.finish()).await?;
        if size != blob.size || blob.md5.as_ref().is_some_and(|expected| *expected != md5) {
            // The next download must not take it for a beginning.
            let damaged = path.clone();
            blocking("remove", path, move || std::fs::remove_file(damaged)).await?;
            return Err(Error::Protocol {
                url: SafeUrl::from(container.url()),
                what: format!(
                    "what arrived of `{}` does not have its size or its checksum; it was not kept: run again",
                    blob.name
                ),
            });
        }
    }
    Ok(())
}

async fn receive_piece<'a>(container: &Container, piece: Piece<'a>) -> Result<(Piece<'a>, Bytes)> {
    let blob = &piece.file.blob;
    if piece.start == piece.end {
        return Ok((piece, Bytes::new()));
    }
    let content = container.read(&blob.name, piece.start..piece.end, &blob.tag).await.map_err(|error| {
        let changed = error.service().is_some_and(|refusal| refusal.status == PRECONDITION_FAILED);
        let what = || format!("`{}` changed while it was downloaded: run again", blob.name);
        if changed { Error::Protocol { url: SafeUrl::from(container.url()), what: what() } } else { error }
    })?;
    if content.len() as u64 == piece.end - piece.start {
        return Ok((piece, content));
    }
    Err(Error::Protocol {
        url: SafeUrl::from(container.url()),
        what: format!(
            "{} bytes of `{}` came in place of {}",
            content.len(),
            blob.name,
            piece.end - piece.start
        ),
    })
}

/// The beginning of a file.
struct Partial {
    file: File,
    /// Of all bytes so far.
    md5: Md5,
}

impl Partial {
    /// Opens what an earlier download has left, of which `kept` bytes are taken.
    fn open(path: &Path, kept: u64) -> std::io::Result<Partial> {
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
        file.set_len(kept)?;
        let mut md5 = Md5::new();
        let mut piece = vec![0; 1 << 20];
        loop {
            match file.read(&mut piece)? {
                0 => return Ok(Partial { file, md5 }),
                read => md5.update(&piece[..read]),
            }
        }
    }

    fn append(mut self, content: &[u8]) -> std::io::Result<Partial> {
        self.file.write_all(content)?;
        self.md5.update(content);
        Ok(self)
    }

    /// Bytes, and their MD5 in base64.
    fn finish(self) -> std::io::Result<(u64, String)> {
        self.file.sync_all()?;
        Ok((self.file.metadata()?.len(), STANDARD.encode(self.md5.finalize())))
    }
}

/// Where a name lies in a folder.
///
/// # Errors
/// It leads out of the folder, or is none of a file on some system.
fn inside(folder: &Path, name: &str) -> Result<PathBuf> {
    let refused = |expected| Error::Invalid {
        what: "the name of a file to download",
        value: name.escape_debug().to_string(),
        expected,
    };
    let mut path = folder.to_owned();
    for part in name.split('/') {
        if matches!(part, "" | "." | "..") {
            return Err(refused("its parts must not be empty, `.` or `..`"));
        }
        if part.chars().any(|letter| letter.is_control() || letter == '\\') {
            return Err(refused("its parts must not have control characters or `\\`"));
        }
        if part == UNFINISHED {
            return Err(refused("it is that of the folder for unfinished downloads"));
        }
        if path != folder && path.is_symlink() {
            return Err(refused("a link in the folder leads out of it; remove the link"));
        }
        path.push(part);
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_stay_inside_are_taken() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/", dir.path().join("link")).unwrap();
        for name in [
            "",
            "/etc/passwd",
            "..",
            "a/../../b",
            "a//b",
            "a/",
            "./a",
            "..\\a",
            "a\nb",
            "a\0",
            "\u{1b}[2J",
            "link/etc/passwd",
            ".unfinished-download/0",
        ] {
            let error = inside(dir.path(), name).unwrap_err().to_string();
            assert!(!error.chars().any(char::is_control), "{error:?}");
        }
        for name in ["a", "a/b.c", "..a", ".hidden", "ö ä", "12:30", "link"] {
            assert_eq!(inside(dir.path(), name).unwrap(), dir.path().join(name));
        }
    }

    #[test]
    fn blobs_that_stand_for_folders_are_no_files() {
        let blob = |name: &str, size, is_folder| Listed {
            name: name.into(),
            size,
            tag: String::new(),
            md5: None,
            is_folder,
        };
        let blobs = vec![
            blob("p/a", 0, false),
            blob("p/a/b", 1, false),
            blob("p/dir", 0, true),
            blob("p/empty", 0, false),
            blob("p/x/", 0, false),
        ];
        let names: Vec<String> = files_of(blobs).into_iter().map(|blob| blob.name).collect();
        assert_eq!(names, ["p/a/b", "p/empty"]);
    }
}
