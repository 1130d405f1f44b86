//! What `parquet` uses of the crate `zstd`, and its reader of streams, without the compressor: 0.25 MB of a program that
//! compresses nothing so.

pub mod bulk;

pub use zstd_safe;

use std::io::{BufRead, BufReader, Error, ErrorKind, Read, Result};
use zstd_safe::{DCtx, InBuffer, OutBuffer};

/// Reads what is compressed in a stream, of several frames perhaps.
pub struct Decoder<R> {
    source: R,
    context: DCtx<'static>,
    /// A frame has begun that is not at its end.
    is_inside: bool,
}

impl<R: Read> Decoder<BufReader<R>> {
    /// # Errors
    /// There is no memory.
    pub fn new(source: R) -> Result<Self> {
        let source = BufReader::with_capacity(DCtx::in_size(), source);
        Ok(Self { source, context: context()?, is_inside: false })
    }
}

impl<R: BufRead> Read for Decoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        // First what the context holds back, as there was no room for it; then what comes of more of the stream.
        let mut input: &[u8] = &[];
        loop {
            let (mut from, mut to) = (InBuffer::around(input), OutBuffer::around(buffer));
            let left = self.context.decompress_stream(&mut to, &mut from).map_err(fault)?;
            let (read, written) = (from.pos(), to.pos());
            self.source.consume(read);
            if read > 0 || written > 0 {
                self.is_inside = left > 0;
            }
            if written > 0 {
                return Ok(written);
            }
            input = self.source.fill_buf()?;
            if input.is_empty() && self.is_inside {
                return Err(Error::new(ErrorKind::UnexpectedEof, "incomplete frame"));
            }
            if input.is_empty() {
                return Ok(0);
            }
        }
    }
}

fn context() -> Result<DCtx<'static>> {
    DCtx::try_create().ok_or_else(|| ErrorKind::OutOfMemory.into())
}

fn fault(code: usize) -> Error {
    Error::other(zstd_safe::get_error_name(code))
}
