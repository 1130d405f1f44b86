//! The beginning of a GGUF file, walked over before it is read: how many entries it declares, and its alignment, by which
//! the reader divides.

use super::Found;

/// What the header declares.
pub(super) struct Header {
    pub(super) tensors: u64,
    pub(super) entries: u64,
}

const ALIGNMENT: &[u8] = b"general.alignment";
const STRING: u32 = 8;
const LIST: u32 = 9;
/// Lists in lists that are followed.
const DEPTH: usize = 8;

/// `None` for bytes that are no header, which their reader says better.
///
/// # Errors
/// An alignment of zero.
pub(super) fn walk(bytes: &[u8]) -> Found<Option<Header>> {
    let Some(mut walk) = Walk::begin(bytes) else { return Ok(None) };
    let Some(header) = walk.counts() else { return Ok(None) };
    for _ in 0..header.entries {
        let entry = walk.entry();
        let Some((key, value)) = entry else { return Ok(None) };
        if key == ALIGNMENT && !value.is_empty() && value.iter().all(|byte| *byte == 0) {
            return Err("its `general.alignment` is 0".into());
        }
    }
    Ok(Some(header))
}

struct Walk<'a> {
    rest: &'a [u8],
    /// Lengths have four bytes in the first version of the format, and eight after it.
    short: bool,
}

impl<'a> Walk<'a> {
    fn begin(bytes: &'a [u8]) -> Option<Walk<'a>> {
        let mut walk = Walk { rest: bytes, short: false };
        (walk.take(4)? == b"GGUF").then_some(())?;
        walk.short = walk.number()? == 1;
        Some(walk)
    }

    fn counts(&mut self) -> Option<Header> {
        Some(Header { tensors: self.length()?, entries: self.length()? })
    }

    fn take(&mut self, bytes: u64) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(usize::try_from(bytes).ok()?)?;
        self.rest = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    fn length(&mut self) -> Option<u64> {
        if self.short {
            return self.number().map(u64::from);
        }
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    fn string(&mut self) -> Option<&'a [u8]> {
        let length = self.length()?;
        self.take(length)
    }

    /// A key and the bytes of its value.
    fn entry(&mut self) -> Option<(&'a [u8], &'a [u8])> {
        let key = self.string()?;
        let kind = self.number()?;
        let before = self.rest;
        self.skip(kind, DEPTH)?;
        Some((key, &before[..before.len() - self.rest.len()]))
    }

    fn skip(&mut self, kind: u32, depth: usize) -> Option<()> {
        match kind {
            0 | 1 | 7 => self.take(1).map(drop),
            2 | 3 => self.take(2).map(drop),
            4..=6 => self.take(4).map(drop),
            10..=12 => self.take(8).map(drop),
            STRING => self.string().map(drop),
            LIST if depth > 0 => {
                let kind = self.number()?;
                let length = self.length()?;
                (0..length).try_for_each(|_| self.skip(kind, depth - 1))
            }
            _ => None,
        }
    }
}
