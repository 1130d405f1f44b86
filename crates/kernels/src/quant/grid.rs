//! Grids of the quantisers of checkpoints: `value = (code − zero) · scale`, one for some neighbours in a row.

use crate::float_type::FloatType;
use crate::frozen_linear::HostMatrix;
use crate::gemm::{Decode, Precision, Stored};
use crate::vector::{extremes, simd};
use std::ops::Range;
use std::sync::Arc;

/// How the values of a weight become codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scheme {
    /// 2, 4 or 8.
    pub bits: u8,
    /// Neighbours in a row that share a grid; `None`: the whole row.
    pub group: Option<usize>,
    /// The zero point is the middle of the codes.
    pub symmetric: bool,
    /// What scales are stored in: they are rounded to it before codes are chosen.
    pub float: FloatType,
}

/// Scale and zero point of a group of weights.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Grid {
    pub scale: f32,
    /// A whole number.
    pub zero: f32,
    /// The highest code.
    pub top: f32,
}

impl Grid {
    /// The code of a value: the nearest, of two the even one.
    #[inline(always)]
    pub fn code(&self, value: f32) -> f32 {
        (value / self.scale + self.zero).round_ties_even().clamp(0.0, self.top)
    }

    #[inline(always)]
    pub fn value(&self, code: f32) -> f32 {
        (code - self.zero) * self.scale
    }
}

impl Scheme {
    /// Columns of a group in rows of this width.
    pub fn group_of(&self, width: usize) -> usize {
        self.group.unwrap_or(width).max(1)
    }

    /// The grid from the least to the greatest of these weights, zero included; a symmetric one as far below zero as above.
    pub fn grid(&self, weights: &[f32]) -> Grid {
        simd(
            #[inline(always)]
            || self.grid_inline(weights),
        )
    }

    #[inline(always)]
    fn grid_inline(&self, weights: &[f32]) -> Grid {
        let top = ((1u32 << self.bits) - 1) as f32;
        let (low, high) = extremes(weights);
        let (mut low, mut high) = (low.min(0.0), high.max(0.0));
        if self.symmetric {
            high = high.max(-low);
            low = -high;
        }
        if low == 0.0 && high == 0.0 {
            (low, high) = (-1.0, 1.0);
        }
        let scale = self.float.nearest((high - low) / top);
        // What is too small for the type is what it can hold.
        let scale = if scale == 0.0 { self.float.smallest() } else { scale };
        let zero = if self.symmetric {
            (top + 1.0) / 2.0
        } else {
            (0.0 - low / scale).round_ties_even().clamp(0.0, top)
        };
        Grid { scale, zero, top }
    }

    /// Puts what the codes of some rows stand for in their place; `values` are whole rows of `width`, or whole groups.
    pub fn round(&self, values: &mut [f32], width: usize) {
        simd(
            #[inline(always)]
            || {
                for group in values.chunks_mut(self.group_of(width)) {
                    let grid = self.grid_inline(group);
                    group.iter_mut().for_each(|value| *value = grid.value(grid.code(*value)));
                }
            },
        );
    }
}

/// A matrix whose values are rounded to a grid whenever they are read: no copy of it exists. What a change of a few bits does
/// to a model is measured with it, so products need not be more exact than 16 bits.
pub struct RoundedMatrix {
    pub source: Arc<dyn HostMatrix>,
    pub scheme: Scheme,
}

/// What a matrix rounded to one grid has more than it has rounded to another; as exact as [`RoundedMatrix`].
pub struct RoundingDifference {
    pub source: Arc<dyn HostMatrix>,
    pub minuend: Scheme,
    pub subtrahend: Scheme,
}

/// Lets `decode` have whole groups of all schemes around `range`, in a matrix of rows of this width, and gives the part that was
/// asked for. Groups begin anew in every row, and of two sizes one divides the other, or is the row.
fn in_whole_groups(
    width: usize,
    schemes: &[&Scheme],
    range: Range<usize>,
    out: &mut [f32],
    decode: impl Fn(Range<usize>, &mut [f32]),
) {
    let group = schemes.iter().map(|scheme| scheme.group_of(width)).max().unwrap_or(1);
    let start = |at: usize| at / width * width + at % width / group * group;
    let whole = match range.end.checked_sub(1) {
        Some(last) if last >= range.start => {
            start(range.start)..(start(last) + group).min((last / width + 1) * width)
        }
        _ => range.clone(),
    };
    if whole == range {
        return decode(range, out);
    }
    let mut values = vec![0.0; whole.len()];
    decode(whole.clone(), &mut values);
    out.copy_from_slice(&values[range.start - whole.start..range.end - whole.start]);
}

/// Rounds values that begin at `first` in a matrix of this width, and are whole groups.
fn round_from(first: usize, values: &mut [f32], scheme: &Scheme, width: usize) {
    let (head, rows) = values.split_at_mut((width - first % width).min(values.len()));
    scheme.round(head, width);
    rows.chunks_mut(width).for_each(|row| scheme.round(row, width));
}

impl Decode for RoundedMatrix {
    fn decode(&self, range: Range<usize>, out: &mut [f32]) {
        let [_, width] = self.source.shape();
        in_whole_groups(width, &[&self.scheme], range, out, |range, out| {
            self.source.stored().read(range.clone(), out);
            round_from(range.start, out, &self.scheme, width);
        });
    }

    fn precision(&self) -> Precision {
        Precision::Bits16
    }
}

impl HostMatrix for RoundedMatrix {
    fn shape(&self) -> [usize; 2] {
        self.source.shape()
    }

    fn stored(&self) -> Stored<'_> {
        Stored::Coded(self)
    }

    fn release(&self) {
        self.source.release();
    }
}

impl Decode for RoundingDifference {
    fn decode(&self, range: Range<usize>, out: &mut [f32]) {
        let [_, width] = self.source.shape();
        in_whole_groups(width, &[&self.minuend, &self.subtrahend], range, out, |range, out| {
            self.source.stored().read(range.clone(), out);
            let mut less = out.to_vec();
            round_from(range.start, &mut less, &self.subtrahend, width);
            round_from(range.start, out, &self.minuend, width);
            out.iter_mut().zip(less).for_each(|(more, less)| *more -= less);
        });
    }

    fn precision(&self) -> Precision {
        Precision::Bits16
    }
}

impl HostMatrix for RoundingDifference {
    fn shape(&self) -> [usize; 2] {
        self.source.shape()
    }

    fn stored(&self) -> Stored<'_> {
        Stored::Coded(self)
    }

    fn release(&self) {
        self.source.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::random;

    struct Plain(Vec<f32>, [usize; 2]);

    impl Decode for Plain {
        fn decode(&self, range: Range<usize>, out: &mut [f32]) {
            out.copy_from_slice(&self.0[range]);
        }
    }

    impl HostMatrix for Plain {
        fn shape(&self) -> [usize; 2] {
            self.1
        }

        fn stored(&self) -> Stored<'_> {
            Stored::F32(&self.0)
        }
    }

    fn scheme(bits: u8, group: Option<usize>, symmetric: bool) -> Scheme {
        Scheme { bits, group, symmetric, float: FloatType::F32 }
    }

    #[test]
    fn any_range_has_the_values_of_whole_rows() {
        let (rows, width) = (5, 96);
        let values = random(&[rows, width], 7).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        for scheme in [scheme(4, Some(32), false), scheme(8, None, true), scheme(2, Some(64), false)] {
            let mut whole = values.clone();
            for row in whole.chunks_exact_mut(width) {
                for group in row.chunks_mut(scheme.group_of(width)) {
                    scheme.round(group, group.len());
                }
            }
            let rounded = RoundedMatrix { source: Arc::new(Plain(values.clone(), [rows, width])), scheme };
            for range in [0..rows * width, 3..50, 40..41, 90..200, 96..192, 10..10, 64..128] {
                let mut out = vec![0.0; range.len()];
                rounded.decode(range.clone(), &mut out);
                assert_eq!(out, whole[range]);
            }
        }
    }

    #[test]
    fn symmetric_grids_hold_groups_without_negative_values() {
        let grid = scheme(4, None, true).grid(&[0.2, 0.98, 0.5]);
        assert!((grid.value(grid.code(0.98)) - 0.98).abs() < grid.scale, "{grid:?}");
        let zeros = scheme(4, None, false).grid(&[0.0; 8]);
        assert_eq!(zeros.value(zeros.code(0.0)), 0.0);
    }
}
