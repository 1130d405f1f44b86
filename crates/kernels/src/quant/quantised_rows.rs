//! Some rows of a matrix, quantised.

use std::ops::Range;

/// Quantised rows, in the layout of the operator's inputs. What a byte holds is the format's affair.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct QuantisedRows {
    /// `[rows, bytes]`; of two 4-bit codes in a byte the even element is the low one.
    pub codes: Vec<u8>,
    /// `[rows, blocks]`, already rounded to the float type.
    pub scales: Vec<f32>,
    /// `[rows, bytes]`; empty when the middle code is implied.
    pub zero_points: Vec<u8>,
}

impl QuantisedRows {
    /// Replaces what `out` holds by some of these rows, of which there are `count` in all.
    pub fn copy_rows(&self, count: usize, rows: Range<usize>, out: &mut QuantisedRows) {
        fn copy<T: Copy>(from: &[T], count: usize, rows: &Range<usize>, to: &mut Vec<T>) {
            let width = from.len() / count.max(1);
            to.clear();
            to.extend_from_slice(&from[rows.start * width..rows.end * width]);
        }
        copy(&self.codes, count, &rows, &mut out.codes);
        copy(&self.scales, count, &rows, &mut out.scales);
        copy(&self.zero_points, count, &rows, &mut out.zero_points);
    }

    /// Forgets the rows, but not the memory.
    pub(super) fn clear(&mut self) {
        self.codes.clear();
        self.scales.clear();
        self.zero_points.clear();
    }
}

/// The 4-bit number at place `at` of a run of them.
pub(super) fn nibble(bytes: &[u8], at: usize) -> u8 {
    bytes[at / 2] >> (4 * (at % 2)) & 15
}
