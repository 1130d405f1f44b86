//! The documents of a pass: which rows of q, k and v belong together.

use std::ops::Range;

/// One document among the rows of q and of k and v. Its queries are the last `queries` of its `keys` positions: as many
/// in training, fewer when earlier keys come from a cache. Only [`Segments`] makes them, so that `queries <= keys` and
/// the rows belong to no other segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Segment {
    first_query: usize,
    queries: usize,
    first_key: usize,
    keys: usize,
}

impl Segment {
    /// Its rows of q.
    pub(super) fn query_rows(&self) -> Range<usize> {
        self.first_query..self.first_query + self.queries
    }

    /// Its rows of k and v.
    pub(super) fn key_rows(&self) -> Range<usize> {
        self.first_key..self.first_key + self.keys
    }

    pub(super) fn queries(&self) -> usize {
        self.queries
    }

    pub(super) fn keys(&self) -> usize {
        self.keys
    }

    /// The keys, counted in the segment, that query `query` of the segment sees.
    pub(super) fn visible(&self, query: usize, window: Option<usize>) -> Range<usize> {
        let end = self.keys - self.queries + query + 1;
        window.map_or(0, |w| end.saturating_sub(w))..end
    }
}

/// The documents of one pass, in the order of their rows.
///
/// The first begins with row 0 and every other one where the one before ends, among the queries as among the keys. So no
/// two share a row, which the kernels' tasks, of which each writes the rows of one segment, rely on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Segments(Vec<Segment>);

impl Segments {
    /// Documents of these lengths, one after the other, every position of which is query and key.
    pub fn documents(lengths: &[usize]) -> Segments {
        let mut start = 0;
        let segment = |&n: &usize| {
            let segment = Segment { first_query: start, queries: n, first_key: start, keys: n };
            start += n;
            segment
        };
        Segments(lengths.iter().filter(|n| **n > 0).map(segment).collect())
    }

    /// One document whose first `cached` positions are keys alone, before `queries` that are both.
    pub fn after_cache(cached: usize, queries: usize) -> Segments {
        let segment = Segment { first_query: 0, queries, first_key: 0, keys: cached + queries };
        Segments(Some(segment).filter(|segment| segment.queries > 0).into_iter().collect())
    }

    /// Rows of q.
    pub fn queries(&self) -> usize {
        self.0.last().map_or(0, |last| last.query_rows().end)
    }

    /// Rows of k and v.
    pub fn keys(&self) -> usize {
        self.0.last().map_or(0, |last| last.key_rows().end)
    }

    pub(super) fn iter(&self) -> std::slice::Iter<'_, Segment> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_follow_each_other_and_count_their_rows() {
        let segments = Segments::documents(&[3, 0, 5]);
        assert_eq!((segments.queries(), segments.keys()), (8, 8));
        let rows: Vec<_> = segments.iter().map(|s| (s.query_rows(), s.key_rows())).collect();
        assert_eq!(rows, [(0..3, 0..3), (3..8, 3..8)]);
        assert_eq!(Segments::default().queries(), 0);
    }

    #[test]
    fn a_query_sees_itself_the_cache_and_what_its_window_leaves() {
        let segments = Segments::after_cache(4, 2);
        assert_eq!((segments.queries(), segments.keys()), (2, 6));
        let segment = segments.iter().next().expect("there is one");
        assert_eq!((segment.visible(0, None), segment.visible(1, Some(2))), (0..5, 4..6));
    }
}
