//! The headers of a parquet file's pages, looked at before the library reads the pages: it allocates what a header announces.
//!
//! A header is a `PageHeader` of the format's `parquet.thrift`, in Thrift's compact protocol.

use crate::value::Value;
use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};
use parquet::file::reader::ChunkReader;
use std::io::{self, Read};

/// What is wrong with the pages.
#[derive(Debug, thiserror::Error)]
pub(super) enum PageFault {
    #[error(transparent)]
    Library(#[from] ParquetError),
    #[error("the header of a page is damaged: {0}")]
    Header(#[from] io::Error),
    #[error("a page is said to have {announced} bytes where {left} are left")]
    Cut { announced: u64, left: u64 },
    #[error("its columns are said to have {announced} bytes, and it has {present}")]
    Columns { announced: u64, present: u64 },
    #[error("its pages are said to have more bytes than there is memory for")]
    TooLarge,
}

/// What rows, or the library in a dictionary, hold of a value beside its bytes.
const VALUE: u64 = size_of::<Value>() as u64;

/// Checks what all headers together announce: rows hold every byte of a page, so pages larger than memory are no use.
///
/// # Errors
/// [`PageFault::TooLarge`]: more than `most` bytes; otherwise a header that is damaged, or that the file is too short for.
pub(super) fn check(file: &impl ChunkReader, metadata: &ParquetMetaData, most: u64) -> Result<(), PageFault> {
    let columns = || metadata.row_groups().iter().flat_map(|group| group.columns());
    let announced = columns().map(|column| column.byte_range().1).fold(0, u64::saturating_add);
    if announced > file.len() {
        return Err(PageFault::Columns { announced, present: file.len() });
    }
    let mut unpacked = 0_u64;
    for column in columns() {
        unpacked = unpacked.saturating_add(unpacked_bytes(file, column)?);
        if unpacked > most {
            return Err(PageFault::TooLarge);
        }
    }
    Ok(())
}

/// What the pages of a column have in memory, as their headers say.
fn unpacked_bytes(file: &impl ChunkReader, column: &ColumnChunkMetaData) -> Result<u64, PageFault> {
    let (mut start, mut left) = column.byte_range();
    let mut bytes = 0_u64;
    while left > 0 {
        let mut reader = Compact { input: file.get_read(start)?.take(left) };
        let page = PageHeader::read(&mut reader)?;
        let header = left - reader.input.limit();
        left -= header;
        if page.packed > left {
            return Err(PageFault::Cut { announced: page.packed, left });
        }
        start += header + page.packed;
        left -= page.packed;
        let is_packed = column.compression() != Compression::UNCOMPRESSED;
        let content = if is_packed { page.unpacked } else { page.packed };
        bytes = bytes.saturating_add(content).saturating_add(page.values.saturating_mul(VALUE));
    }
    Ok(bytes)
}

/// Of a `PageHeader`.
#[derive(Debug, Default, PartialEq)]
struct PageHeader {
    /// `uncompressed_page_size`.
    unpacked: u64,
    /// `compressed_page_size`.
    packed: u64,
    /// `num_values` of its own header: that of a data page, of a dictionary, or of a data page of version 2.
    values: u64,
}

impl PageHeader {
    fn read(reader: &mut Compact<impl Read>) -> io::Result<PageHeader> {
        let mut header = PageHeader::default();
        let mut last = 0;
        while let Some((field, kind)) = reader.field(&mut last)? {
            match (field, kind) {
                (2, Kind::Int) => header.unpacked = reader.size()?,
                (3, Kind::Int) => header.packed = reader.size()?,
                (5 | 7 | 8, Kind::Struct) => header.values = values(reader)?,
                _ => reader.skip(kind, 0)?,
            }
        }
        Ok(header)
    }
}

/// `num_values`, the first field of each of the three.
fn values(reader: &mut Compact<impl Read>) -> io::Result<u64> {
    let (mut values, mut last) = (0, 0);
    while let Some((field, kind)) = reader.field(&mut last)? {
        match (field, kind) {
            (1, Kind::Int) => values = reader.size()?,
            _ => reader.skip(kind, 0)?,
        }
    }
    Ok(values)
}

/// How a value is written.
#[derive(Clone, Copy)]
enum Kind {
    /// A truth value is in the kind of its field.
    Nothing,
    Byte,
    Int,
    Double,
    Binary,
    List,
    Struct,
}

/// Values are nested this deep at most: those of a header, four levels.
const MAX_DEPTH: usize = 16;

/// Thrift's compact protocol.
struct Compact<R> {
    input: io::Take<R>,
}

impl<R: Read> Compact<R> {
    fn byte(&mut self) -> io::Result<u8> {
        let mut byte = [0];
        self.input.read_exact(&mut byte)?;
        Ok(byte[0])
    }

    /// An integer of up to 64 bits, seven of them in a byte.
    fn varint(&mut self) -> io::Result<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(damaged("an integer is too long"))
    }

    /// A signed integer that must not be negative.
    fn size(&mut self) -> io::Result<u64> {
        let zigzag = self.varint()?;
        if zigzag & 1 == 0 { Ok(zigzag >> 1) } else { Err(damaged("a size is negative")) }
    }

    /// The next field of a struct and how it is written; `None` at the end.
    fn field(&mut self, last: &mut u64) -> io::Result<Option<(u64, Kind)>> {
        let byte = self.byte()?;
        if byte == 0 {
            return Ok(None);
        }
        *last = match u64::from(byte >> 4) {
            0 => self.size()?,
            step => last.saturating_add(step),
        };
        Ok(Some((*last, kind(byte & 0xf)?)))
    }

    fn skip(&mut self, kind: Kind, depth: usize) -> io::Result<()> {
        if depth > MAX_DEPTH {
            return Err(damaged("it is nested too deep"));
        }
        match kind {
            Kind::Nothing => Ok(()),
            Kind::Byte => self.skip_bytes(1),
            Kind::Int => self.varint().map(drop),
            Kind::Double => self.skip_bytes(8),
            Kind::Binary => {
                let length = self.varint()?;
                self.skip_bytes(length)
            }
            Kind::List => self.skip_list(depth),
            Kind::Struct => {
                let mut last = 0;
                while let Some((_, kind)) = self.field(&mut last)? {
                    self.skip(kind, depth + 1)?;
                }
                Ok(())
            }
        }
    }

    fn skip_list(&mut self, depth: usize) -> io::Result<()> {
        let byte = self.byte()?;
        let length = if byte >> 4 == 0xf { self.varint()? } else { u64::from(byte >> 4) };
        // Every element has a byte at least, truth values too.
        let element = match kind(byte & 0xf)? {
            Kind::Nothing => Kind::Byte,
            other => other,
        };
        for _ in 0..length {
            self.skip(element, depth + 1)?;
        }
        Ok(())
    }

    fn skip_bytes(&mut self, count: u64) -> io::Result<()> {
        let skipped = io::copy(&mut self.input.by_ref().take(count), &mut io::sink())?;
        if skipped == count { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }
}

fn kind(code: u8) -> io::Result<Kind> {
    Ok(match code {
        1 | 2 => Kind::Nothing,
        3 => Kind::Byte,
        4..=6 => Kind::Int,
        7 => Kind::Double,
        8 => Kind::Binary,
        9 | 10 => Kind::List,
        12 => Kind::Struct,
        _ => return Err(damaged("it has a value of an unknown type")),
    })
}

fn damaged(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> io::Result<(PageHeader, u64)> {
        let mut reader = Compact { input: bytes.take(bytes.len() as u64) };
        Ok((PageHeader::read(&mut reader)?, reader.input.limit()))
    }

    #[test]
    fn a_header_says_how_large_its_page_is() {
        // A dictionary page: type 2, 300 bytes, 5 in the file, a check sum, 7 entries, sorted; then its content.
        let header = [0x15, 4, 0x15, 0xd8, 4, 0x15, 10, 0x15, 3, 0x3c, 0x15, 14, 0x15, 0, 0x11, 0, 0];
        let sizes = PageHeader { unpacked: 300, packed: 5, values: 7 };
        assert_eq!(read(&[&header[..], &[1, 2, 3]].concat()).unwrap(), (sizes, 3));
        // A data page with statistics, a double, and lists of truth values and of bytes, which no header has.
        let header = [
            0x15, 0, 0x15, 40, 0x15, 42, 0x2c, 0x15, 2, 0x4c, 0x18, 2, b'a', b'b', 0, 0, 0x47, 0, 0, 0, 0, 0,
            0, 0, 0, 0x19, 0x21, 1, 2, 0x19, 0xf3, 1, 9, 0,
        ];
        assert_eq!(read(&header).unwrap(), (PageHeader { unpacked: 20, packed: 21, values: 1 }, 0));
    }

    #[test]
    fn damaged_headers_are_errors() {
        for (bytes, reason) in [
            (&[0x15, 4][..], "failed to fill whole buffer"),
            (&[0x35, 0x81, 0x80, 0], "a size is negative"),
            (
                &[0x35, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0],
                "an integer is too long",
            ),
            (&[0x18, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0], "unexpected end of file"),
            (&[0x19, 0xf3, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0], "unexpected end of file"),
            (&[0x1b, 0], "unknown type"),
            (&[0x1c; 40], "nested too deep"),
        ] {
            let error = read(bytes).unwrap_err().to_string();
            assert!(error.contains(reason), "{bytes:?}: {error}");
        }
    }
}
