//! How codes, their zero points and scales lie in the tensors of a file.

use std::ops::Range;

/// The order of a matrix `[rows, cols]` of codes, of its zero points and of its scales, `[rows, groups]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Packing {
    /// Olive's: row by row, each beginning with a byte, the first number in the lowest bits.
    Rows,
    /// GPTQ's: a word of 32 bits has neighbours in a row, the first in the lowest bits; words, zero points and scales lie
    /// column by column. Zero points are this much less in the file, modulo what the bits hold.
    Words { less: u8 },
    /// AWQ's: a word of 32 bits has eight neighbours in a column, in the order of [`place`]; all lie column by column.
    Interleaved,
}

/// Where the code of row `row` stands in a word of AWQ's: 0, 2, 4, 6, 1, 3, 5, 7 is the order of the rows.
fn place(row: usize) -> usize {
    row % 8 / 2 + 4 * (row % 2)
}

/// The `index`-th number of so many bits.
#[inline(always)]
fn number(bytes: &[u8], bits: usize, index: usize) -> u8 {
    let bit = index * bits;
    (bytes[bit / 8] >> (bit % 8)) & mask(bits)
}

fn mask(bits: usize) -> u8 {
    ((1u16 << bits) - 1) as u8
}

impl Packing {
    /// Shapes of the tensors of codes, zero points and scales; `None` where rows do not fill words.
    pub(crate) fn shapes(
        self,
        bits: usize,
        [rows, cols]: [usize; 2],
        groups: usize,
    ) -> Option<[[usize; 2]; 3]> {
        let words = |count: usize| {
            let bits = count.checked_mul(bits)?;
            bits.is_multiple_of(32).then_some(bits / 32)
        };
        Some(match self {
            Packing::Rows => {
                let bytes = |count: usize| Some(count.checked_mul(bits)?.div_ceil(8));
                [[rows, bytes(cols)?], [rows, bytes(groups)?], [rows, groups]]
            }
            Packing::Words { .. } => [[words(cols)?, rows], [groups, words(rows)?], [groups, rows]],
            Packing::Interleaved => [[cols, words(rows)?], [groups, words(rows)?], [groups, rows]],
        })
    }

    /// The matrix that has a tensor of codes of this shape.
    pub(crate) fn matrix(self, bits: usize, [first, second]: [usize; 2]) -> Option<[usize; 2]> {
        Some(match self {
            Packing::Rows => [first, second.checked_mul(8)? / bits],
            Packing::Words { .. } => [second, first.checked_mul(32)? / bits],
            Packing::Interleaved => [second.checked_mul(32)? / bits, first],
        })
    }

    /// The codes of some columns of a row, one a byte.
    #[inline]
    pub(crate) fn codes(
        self,
        bits: usize,
        bytes: &[u8],
        [rows, cols]: [usize; 2],
        row: usize,
        range: Range<usize>,
        out: &mut [u8],
    ) {
        match self {
            Packing::Rows => {
                let bytes = &bytes[row * (cols * bits).div_ceil(8)..];
                out.iter_mut().zip(range).for_each(|(code, col)| *code = number(bytes, bits, col));
            }
            Packing::Words { .. } => {
                let (words, per_word) = (bytes.as_chunks::<4>().0, 32 / bits);
                let mask = u32::from(mask(bits));
                let mut col = range.start;
                let mut out = out;
                while col < range.end {
                    let end = ((col / per_word + 1) * per_word).min(range.end);
                    let (now, later) = out.split_at_mut(end - col);
                    let word = u32::from_le_bytes(words[col / per_word * rows + row]);
                    let mut word = word >> (col % per_word * bits);
                    for code in now {
                        *code = (word & mask) as u8;
                        word = word.checked_shr(bits as u32).unwrap_or(0);
                    }
                    (col, out) = (end, later);
                }
            }
            Packing::Interleaved => {
                let (width, place) = (rows * bits / 8, place(row));
                let first = row / 8 * 4;
                for (code, col) in out.iter_mut().zip(range) {
                    *code = number(&bytes[col * width + first..], bits, place);
                }
            }
        }
    }

    /// The zero point of a group of a row.
    #[inline]
    pub(crate) fn zero(
        self,
        bits: usize,
        bytes: &[u8],
        [rows, groups]: [usize; 2],
        row: usize,
        group: usize,
    ) -> u8 {
        match self {
            Packing::Rows => number(&bytes[row * (groups * bits).div_ceil(8)..], bits, group),
            Packing::Words { less } => {
                let stored = number(&bytes[group * (rows * bits / 8)..], bits, row);
                stored.wrapping_add(less) & mask(bits)
            }
            Packing::Interleaved => {
                number(&bytes[group * (rows * bits / 8) + row / 8 * 4..], bits, place(row))
            }
        }
    }

    /// Where the scale of a group of a row stands.
    #[inline]
    pub(crate) fn scale(self, [rows, groups]: [usize; 2], row: usize, group: usize) -> usize {
        match self {
            Packing::Rows => row * groups + group,
            Packing::Words { .. } | Packing::Interleaved => group * rows + row,
        }
    }
}

/// Rows of whole numbers of so many bits, the first one in the lowest bits of a byte; each row begins with a byte.
pub fn pack(values: &[u8], width: usize, bits: u8) -> Vec<u8> {
    let per_byte = usize::from(8 / bits);
    let row = |row: &[u8]| -> Vec<u8> {
        let byte =
            |part: &[u8]| part.iter().rev().fold(0u16, |byte, value| byte << bits | u16::from(*value)) as u8;
        row.chunks(per_byte).map(byte).collect()
    };
    values.chunks(width.max(1)).flat_map(row).collect()
}

/// The `index`-th number of so many bits of what [`pack`] makes of a row.
pub fn unpacked(row: &[u8], bits: u8, index: usize) -> u8 {
    number(row, usize::from(bits), index)
}
