//! How attention is cut: queries in strips, keys in parts, so that what is worked on stays in the caches.

use super::segments::Segment;
use crate::gemm::{Band, MatRef, Panels};
use crate::host::HostRows;
use std::ops::Range;

/// Queries per strip: whole tiles of the product's kernels, and as many as leave strip and keys in an L2 cache.
pub(super) const STRIP: usize = 96;
/// Keys worked on at a time, so that they and their scores stay in an L2 cache.
pub(super) const KEYS: usize = 256;
/// Floats between the rows of a strip's scores. Not a multiple of 256 bytes, with which the rows of one column would push
/// each other out of an L1 cache.
pub(super) const STRIDE: usize = KEYS + 16;

/// Some queries of one document and the keys that any of them sees, both counted in the document.
#[derive(Clone)]
pub(super) struct Strip<'a> {
    pub(super) segment: &'a Segment,
    pub(super) queries: Range<usize>,
    pub(super) keys: Range<usize>,
    /// Keys of the part worked on that lie before its own.
    pub(super) skipped: usize,
}

impl<'a> Strip<'a> {
    /// Strips of `length` of these queries.
    pub(super) fn of(
        segment: &'a Segment,
        queries: Range<usize>,
        window: Option<usize>,
        length: usize,
    ) -> impl Iterator<Item = Strip<'a>> {
        let last = queries.end;
        queries.step_by(length).map(move |start| {
            let queries = start..(start + length).min(last);
            let keys = segment.visible(start, window).start..segment.visible(queries.end - 1, window).end;
            Strip { segment, queries, keys, skipped: 0 }
        })
    }

    /// The strip against those of its keys that lie in `part`, from a whole panel of it on.
    pub(super) fn within(mut self, part: &Range<usize>) -> Option<Strip<'a>> {
        let (start, end) = (self.keys.start.max(part.start), self.keys.end.min(part.end));
        if start >= end {
            return None;
        }
        let first = start - (start - part.start) % Panels::STEP;
        self.keys = first..end;
        self.skipped = first - part.start;
        Some(self)
    }

    /// Which column each row sees.
    pub(super) fn band(&self, window: Option<usize>) -> Band {
        let Range { end, .. } = self.segment.visible(self.queries.start, window);
        let end = end as isize - self.keys.start as isize;
        Band { first: end - window.unwrap_or(self.segment.keys()) as isize, end }
    }

    /// Its first row of q.
    pub(super) fn first_query(&self) -> usize {
        self.segment.query_rows().start + self.queries.start
    }

    /// Its first row of k and v.
    pub(super) fn first_key(&self) -> usize {
        self.segment.key_rows().start + self.keys.start
    }
}

/// The columns of `head` in rows `first..first + len` of `[rows, heads · head_dim]`: `[len, head_dim]`, rows as far apart
/// as those of `x`.
pub(super) fn head_block<'a>(
    x: &'a HostRows,
    first: usize,
    len: usize,
    head: usize,
    head_dim: usize,
) -> MatRef<'a> {
    MatRef::new(&x.data()[first * x.stride + head * head_dim..], len, head_dim, x.stride)
}
