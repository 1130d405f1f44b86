//! Matrices of which only a band along the diagonal counts, as the scores of causal and windowed attention.

use std::ops::Range;

/// The elements (i, j) with `i + first <= j < i + end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Band {
    pub(crate) first: isize,
    pub(crate) end: isize,
}

impl Band {
    /// The same elements of the transpose.
    pub(crate) fn t(self) -> Band {
        Band { first: 1 - self.end, end: 1 - self.first }
    }

    /// The columns, of `cols` in all, in which any of these rows has an element of the band.
    pub(crate) fn columns(self, rows: Range<usize>, cols: usize) -> Range<usize> {
        let inside = |column: isize| column.clamp(0, cols as isize) as usize;
        let first = inside(rows.start as isize + self.first);
        first..inside(rows.end as isize - 1 + self.end).max(first)
    }
}

/// What of a product a band leaves to compute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Banded {
    /// All of it.
    No,
    /// The left operand is zero outside the band.
    Left(Band),
    /// Elements of the product outside the band are not wanted, and may be written or not.
    Product(Band),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_band_knows_the_columns_of_its_rows_and_its_transpose() {
        for (first, end) in [(-3, 2), (0, 1), (-100, 4), (2, 5), (-9, -6)] {
            let band = Band { first, end };
            let holds = |i: usize, j: usize| (i as isize + first..i as isize + end).contains(&(j as isize));
            for rows in [0..1, 3..7, 5..12] {
                let columns: Vec<usize> = (0..10).filter(|j| rows.clone().any(|i| holds(i, *j))).collect();
                assert_eq!(band.columns(rows.clone(), 10).collect::<Vec<_>>(), columns, "{band:?} {rows:?}");
            }
            for (i, j) in (0..12).flat_map(|i| (0..12).map(move |j| (i, j))) {
                let turned = band.t();
                let there = (j as isize + turned.first..j as isize + turned.end).contains(&(i as isize));
                assert_eq!(there, holds(i, j), "{band:?} {i} {j}");
            }
        }
    }
}
