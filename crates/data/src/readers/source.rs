//! The content of data files, unpacked where it is compressed: by what it begins with, as by `datasets`.

use crate::error::{DataError, Location, Numbering};
use crate::room::Room;
use bytes::Bytes;
use olive_core::{Result, error::IoContext};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// A file of rows. Of one in an archive the path leads through the archive's.
pub(crate) struct Source {
    pub(crate) path: PathBuf,
    /// What was packed; a plain file is read when it is asked for.
    content: Option<Bytes>,
}

/// A way to pack one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Packing {
    Gzip,
    Bzip2,
    Xz,
    Zstd,
    Zip,
}

impl Packing {
    fn name(self) -> &'static str {
        match self {
            Packing::Gzip => "gzip",
            Packing::Bzip2 => "bzip2",
            Packing::Xz => "xz",
            Packing::Zstd => "zstd",
            Packing::Zip => "zip",
        }
    }
}

/// How files with compressed content end.
const EXTENSIONS: [&str; 5] = ["gz", "bz2", "xz", "zst", "zip"];

/// Bytes that packed files begin with. Those of bzip2 are followed by a digit and the mark of a block.
const MAGIC: [(&[u8], Packing); 5] = [
    (b"\x1f\x8b\x08", Packing::Gzip),
    (b"BZh", Packing::Bzip2),
    (b"\xfd7zXZ\0", Packing::Xz),
    (b"\x28\xb5\x2f\xfd", Packing::Zstd),
    (b"PK\x03\x04", Packing::Zip),
];
const BZIP2_BLOCKS: [&[u8]; 2] = [b"\x31\x41\x59\x26\x53\x59", b"\x17\x72\x45\x38\x50\x90"];

/// The same of formats that are not unpacked: where the bytes stand, and whose they are.
const OTHERS: [(usize, &[u8], &str); 9] = [
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (0, b"Rar!\x1a\x07", "a RAR archive"),
    (257, b"ustar\0", "a tar archive"),
    (257, b"ustar  \0", "a tar archive"),
    (0, b"\x04\x22\x4d\x18", "lz4-compressed"),
    (0, b"LZIP\x01", "lzip-compressed"),
    (0, b"\x1f\x9d", "compressed by `compress` (.Z)"),
    (0, b"\xff\x06\x00\x00sNaPpY", "snappy-compressed"),
    (0, b"PK\x05\x06", "an empty zip archive"),
];
/// As many bytes as it takes to tell them apart.
const HEAD: u64 = 265;

/// The name without the ending that says how the file is packed.
pub(super) fn unpacked_name(path: &Path) -> &Path {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    if EXTENSIONS.iter().any(|packed| packed.eq_ignore_ascii_case(extension)) {
        path.file_stem().map_or(path, Path::new)
    } else {
        path
    }
}

impl Source {
    /// What the file holds: itself, what it was before it was compressed, or the files of an archive that `is_wanted`,
    /// all of them if none is.
    ///
    /// # Errors
    /// The file cannot be read, is damaged, is packed in a way that is not known, or holds more than there is room for.
    pub(crate) fn open(path: &Path, is_wanted: &dyn Fn(&Path) -> bool, room: &Room) -> Result<Vec<Source>> {
        let mut head = Vec::new();
        let file = File::open(path).at("read", path)?;
        file.take(HEAD).read_to_end(&mut head).at("read", path)?;
        let Some(packing) = packing(path, &head)? else {
            return Ok(vec![Source { path: path.to_owned(), content: None }]);
        };
        let file = File::open(path).at("read", path)?;
        let damaged = |e: io::Error| DataError::Unreadable {
            path: path.to_owned(),
            reason: format!("its {} content cannot be unpacked: {e}", packing.name()),
        };
        if packing == Packing::Zip {
            return members(path, file, is_wanted, room).map_err(damaged)?;
        }
        let mut content = Vec::new();
        let unpacked = unpacked(file, packing).map_err(damaged)?;
        if unpacked.take(room.largest_file()).read_to_end(&mut content).map_err(damaged)? as u64
            >= room.largest_file()
        {
            return Err(room.no_room_for_file(path).into());
        }
        // A compressed archive, or a file that was compressed twice.
        if let Some(inner) = self::packing(path, &content)? {
            let reason = format!("unpacked, it is compressed again ({}); unpack it", inner.name());
            return Err(DataError::Unreadable { path: path.to_owned(), reason }.into());
        }
        Ok(vec![Source { path: path.to_owned(), content: Some(content.into()) }])
    }

    /// The content in memory.
    ///
    /// # Errors
    /// The file cannot be read, or is larger than there is room for.
    fn bytes(&self, room: &Room) -> Result<Bytes> {
        let Some(content) = &self.content else {
            if std::fs::metadata(&self.path).at("read", &self.path)?.len() > room.largest_file() {
                return Err(room.no_room_for_file(&self.path).into());
            }
            return Ok(std::fs::read(&self.path).at("read", &self.path)?.into());
        };
        Ok(content.clone())
    }

    /// What was unpacked; `None`: the file is plain.
    pub(super) fn unpacked(&self) -> Option<Bytes> {
        self.content.clone()
    }

    /// The text, without its byte order mark.
    ///
    /// # Errors
    /// The file cannot be read, is empty, or holds no text.
    pub(super) fn text(&self, room: &Room) -> Result<String> {
        let bytes = self.bytes(room)?;
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Err(DataError::EmptyFile { path: self.path.clone() }.into());
        }
        let mut text = String::from_utf8(bytes.into()).map_err(|e| {
            let before = &e.as_bytes()[..e.utf8_error().valid_up_to()];
            let number = 1 + before.iter().filter(|&&b| b == b'\n').count() as u64;
            DataError::NotUtf8 {
                location: Location { path: self.path.clone(), number, numbering: Numbering::Lines },
            }
        })?;
        if text.starts_with('\u{feff}') {
            text.drain(..'\u{feff}'.len_utf8());
        }
        Ok(text)
    }
}

/// How a file that begins like this is packed, if it is.
///
/// # Errors
/// [`DataError::Packed`]: in a way that is not known.
fn packing(path: &Path, head: &[u8]) -> std::result::Result<Option<Packing>, DataError> {
    let other =
        |(at, magic, _): &&(usize, &[u8], &str)| head.get(*at..).is_some_and(|h| h.starts_with(magic));
    if let Some((_, _, format)) = OTHERS.iter().find(other) {
        return Err(DataError::Packed { path: path.to_owned(), format });
    }
    let found = MAGIC.iter().find(|(magic, _)| head.starts_with(magic)).map(|(_, packing)| *packing);
    // Text may begin with these three letters, too.
    let is_block = |head: &[u8]| BZIP2_BLOCKS.iter().any(|block| head.starts_with(block));
    Ok(found.filter(|packing| *packing != Packing::Bzip2 || head.get(4..).is_some_and(is_block)))
}

fn unpacked(file: File, packing: Packing) -> io::Result<Box<dyn Read>> {
    Ok(match packing {
        Packing::Gzip => Box::new(flate2::read::MultiGzDecoder::new(file)),
        Packing::Bzip2 => Box::new(bzip2::read::MultiBzDecoder::new(file)),
        Packing::Xz => Box::new(lzma_rust2::XzReader::new(io::BufReader::new(file), true)),
        Packing::Zstd => Box::new(zstd::Decoder::new(file)?),
        Packing::Zip => unreachable!("an archive has members"),
    })
}

/// The files of an archive in the order of their names, without hidden ones.
fn members(
    path: &Path,
    file: File,
    is_wanted: &dyn Fn(&Path) -> bool,
    room: &Room,
) -> io::Result<Result<Vec<Source>>> {
    let mut archive = zip::ZipArchive::new(file)?;
    let is_hidden = |part: &std::ffi::OsStr| {
        let part = part.to_string_lossy();
        part.starts_with('.') || part.starts_with("__")
    };
    let names = archive.file_names().map(|name| Ok(name?.into_owned()));
    let mut names: Vec<String> = names.collect::<io::Result<_>>()?;
    names.retain(|name| !name.ends_with('/') && !Path::new(name).iter().any(is_hidden));
    if names.iter().any(|name| is_wanted(Path::new(name))) {
        names.retain(|name| is_wanted(Path::new(name)));
    }
    names.sort();
    let mut sources = Vec::new();
    let mut left = room.largest_file();
    for name in names {
        let mut content = Vec::new();
        let bytes = archive.by_name(&name)?.take(left).read_to_end(&mut content)? as u64;
        if bytes >= left {
            return Ok(Err(room.no_room_for_file(&path.join(&name)).into()));
        }
        left -= bytes;
        sources.push(Source { path: path.join(&name), content: Some(content.into()) });
    }
    Ok(Ok(sources))
}
