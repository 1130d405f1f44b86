//! What `parquet` uses of the crate `brotli`, without its encoder: 0.9 MB of a program that reads Parquet files and writes none.

use std::io::{Error, ErrorKind, Result, Write};
use std::marker::PhantomData;

pub use brotli_decompressor::Decompressor;

/// Stands where the encoder does, and refuses whatever it is given.
pub struct CompressorWriter<W: Write>(PhantomData<W>);

impl<W: Write> CompressorWriter<W> {
    /// Takes what the encoder takes: the writer, bytes of a buffer, a quality and the logarithm of a window.
    pub fn new(_: W, _: usize, _: u32, _: u32) -> Self {
        Self(PhantomData)
    }
}

impl<W: Write> Write for CompressorWriter<W> {
    fn write(&mut self, _: &[u8]) -> Result<usize> {
        Err(refusal())
    }

    fn flush(&mut self) -> Result<()> {
        Err(refusal())
    }
}

fn refusal() -> Error {
    Error::new(ErrorKind::Unsupported, "this program reads Brotli and does not write it")
}
