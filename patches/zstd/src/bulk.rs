//! Whole buffers at once.

use crate::{context, fault};
use std::io::{Error, ErrorKind, Result};
use std::marker::PhantomData;
use zstd_safe::{DCtx, WriteBuf};

/// Decompresses one buffer after the other.
pub struct Decompressor<'a>(DCtx<'a>);

impl Decompressor<'static> {
    /// # Errors
    /// There is no memory.
    pub fn new() -> Result<Self> {
        context().map(Self)
    }
}

impl Decompressor<'_> {
    /// The bytes of all frames in `source`; their number.
    ///
    /// # Errors
    /// `source` is damaged, or `target` has no room for what it holds.
    pub fn decompress_to_buffer<C: WriteBuf + ?Sized>(
        &mut self,
        source: &[u8],
        target: &mut C,
    ) -> Result<usize> {
        self.0.decompress(target, source).map_err(fault)
    }
}

/// Stands where the compressor does, and refuses whatever it is given.
pub struct Compressor<'a>(PhantomData<&'a [u8]>);

impl Compressor<'static> {
    /// Takes the level that the compressor takes.
    ///
    /// # Errors
    /// None.
    pub fn new(_: i32) -> Result<Self> {
        Ok(Self(PhantomData))
    }
}

impl Compressor<'_> {
    /// # Errors
    /// Always.
    pub fn compress_to_buffer<C: WriteBuf + ?Sized>(&mut self, _: &[u8], _: &mut C) -> Result<usize> {
        Err(Error::new(ErrorKind::Unsupported, "this program reads Zstandard and does not write it"))
    }
}
