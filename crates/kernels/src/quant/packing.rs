//! How codes, their zero points and scales lie in the tensors of a file.

use crate::vector::simd;
use std::ops::Range;

/// The order of a matrix `[rows, cols]` of codes, of its zero points and of its scales, `[rows, groups]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
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

#[inline(always)]
fn mask(bits: usize) -> u8 {
    ((1u16 << bits) - 1) as u8
}

impl Packing {
    /// Shapes of the tensors of codes, zero points and scales; `None` where rows do not fill words.
    pub fn shapes(self, bits: usize, [rows, cols]: [usize; 2], groups: usize) -> Option<[[usize; 2]; 3]> {
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
    pub fn matrix(self, bits: usize, [first, second]: [usize; 2]) -> Option<[usize; 2]> {
        Some(match self {
            Packing::Rows => [first, second.checked_mul(8)? / bits],
            Packing::Words { .. } => [second, first.checked_mul(32)? / bits],
            Packing::Interleaved => [second.checked_mul(32)? / bits, first],
        })
    }

    /// The codes of some columns of a row, one a byte.
    pub fn codes(
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
                let width = (cols * bits).div_ceil(8);
                let bytes = &bytes[row * width..(row + 1) * width];
                match bits {
                    2 => from_bytes::<2>(bytes, range, out),
                    4 => from_bytes::<4>(bytes, range, out),
                    _ => out.copy_from_slice(&bytes[range]),
                }
            }
            Packing::Words { .. } => {
                let words = &bytes.as_chunks::<4>().0[row..];
                match bits {
                    2 => from_words::<2>(words, rows, range, out),
                    4 => from_words::<4>(words, rows, range, out),
                    _ => from_words::<8>(words, rows, range, out),
                }
            }
            Packing::Interleaved => {
                let (width, bit) = (rows * bits / 8, place(row) * bits);
                let (first, mask) = (row / 8 * 4 + bit / 8, mask(bits));
                let bytes = bytes[range.start * width + first..].iter().step_by(width);
                out.iter_mut().zip(bytes).for_each(|(code, byte)| *code = (byte >> (bit % 8)) & mask);
            }
        }
    }

    /// The zero point of a group of a row.
    #[inline]
    pub fn zero(self, bits: usize, bytes: &[u8], [rows, groups]: [usize; 2], row: usize, group: usize) -> u8 {
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
    pub fn scale(self, [rows, groups]: [usize; 2], row: usize, group: usize) -> usize {
        match self {
            Packing::Rows => row * groups + group,
            Packing::Words { .. } | Packing::Interleaved => group * rows + row,
        }
    }
}

/// Codes of a row of bytes.
fn from_bytes<const BITS: usize>(bytes: &[u8], range: Range<usize>, out: &mut [u8]) {
    let per_byte = 8 / BITS;
    let before = (range.start.next_multiple_of(per_byte) - range.start).min(out.len());
    let (first, rest) = out.split_at_mut(before);
    for (code, index) in first.iter_mut().zip(range.start..) {
        *code = number(bytes, BITS, index);
    }
    let start = range.start + before;
    let bytes = &bytes[(start / per_byte).min(bytes.len())..];
    simd(
        #[inline(always)]
        || {
            for (codes, byte) in rest.chunks_mut(per_byte).zip(bytes) {
                for (place, code) in codes.iter_mut().enumerate() {
                    *code = (byte >> (place * BITS)) & mask(BITS);
                }
            }
        },
    );
}

/// Codes of a column of words, which begins `words`; the next one of it is `stride` words on.
fn from_words<const BITS: usize>(words: &[[u8; 4]], stride: usize, range: Range<usize>, out: &mut [u8]) {
    let per_word = 32 / BITS;
    let mut col = range.start;
    let mut out = out;
    while col < range.end {
        let end = ((col / per_word + 1) * per_word).min(range.end);
        let (now, later) = out.split_at_mut(end - col);
        let word = u32::from_le_bytes(words[col / per_word * stride]) >> (col % per_word * BITS);
        for (place, code) in now.iter_mut().enumerate() {
            *code = (word >> (place * BITS)) as u8 & mask(BITS);
        }
        (col, out) = (end, later);
    }
}

/// The values of codes with one scale and one zero point.
pub fn place_codes(codes: &[u8], [scale, zero]: [f32; 2], out: &mut [f32]) {
    simd(
        #[inline(always)]
        || {
            for (value, code) in out.iter_mut().zip(codes) {
                *value = (f32::from(*code) - zero) * scale;
            }
        },
    );
}

/// The values of codes, each with the scale and the zero point of its group.
pub fn place_sorted(codes: &[u8], groups: &[u32], grids: &[[f32; 2]], out: &mut [f32]) {
    for ((value, code), group) in out.iter_mut().zip(codes).zip(groups) {
        let [scale, zero] = grids[*group as usize];
        *value = (f32::from(*code) - zero) * scale;
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A tensor of codes, each put where the description of its packing says.
    fn tensor(
        packing: Packing,
        bits: usize,
        [rows, cols]: [usize; 2],
        code: impl Fn(usize, usize) -> u8,
    ) -> Vec<u8> {
        let mut bytes = vec![0; (rows * cols * bits).div_ceil(8) + rows];
        for row in 0..rows {
            for col in 0..cols {
                let bit = match packing {
                    Packing::Rows => row * (cols * bits).div_ceil(8) * 8 + col * bits,
                    Packing::Words { .. } => {
                        let per_word = 32 / bits;
                        (col / per_word * rows + row) * 32 + col % per_word * bits
                    }
                    Packing::Interleaved => {
                        let order = [0, 2, 4, 6, 1, 3, 5, 7];
                        let slot = order.iter().position(|place| *place == row % 8).unwrap();
                        (col * rows / 8 + row / 8) * 32 + slot * bits
                    }
                };
                bytes[bit / 8] |= code(row, col) << (bit % 8);
            }
        }
        bytes
    }

    #[test]
    fn every_range_of_a_row_is_read() {
        let words = Packing::Words { less: 0 };
        let cases =
            [(Packing::Rows, 2), (Packing::Rows, 4), (Packing::Rows, 8), (words, 2), (words, 4), (words, 8)];
        for (packing, bits) in cases.into_iter().chain([(Packing::Interleaved, 4)]) {
            let shape @ [rows, cols] = [16, 48];
            let code = |row: usize, col: usize| ((row * 37 + col * 11) % 251) as u8 & mask(bits);
            let bytes = tensor(packing, bits, shape, code);
            for (row, start, end) in
                [(0, 0, cols), (5, 0, 1), (6, 3, 29), (15, 47, 48), (rows - 1, 7, cols), (2, 9, 9)]
            {
                let mut out = vec![0; end - start];
                packing.codes(bits, &bytes, shape, row, start..end, &mut out);
                let wanted: Vec<u8> = (start..end).map(|col| code(row, col)).collect();
                assert_eq!(out, wanted, "{packing:?}, {bits} bits, row {row}, {start}..{end}");
            }
        }
    }

    #[test]
    fn what_is_packed_comes_out() {
        for bits in [2u8, 4, 8] {
            let values: Vec<u8> = (0..21).map(|i| (i * 7 % 251) as u8 & mask(usize::from(bits))).collect();
            let packed = pack(&values, 7, bits);
            let width = packed.len() / 3;
            for (index, value) in values.iter().enumerate() {
                assert_eq!(unpacked(&packed[index / 7 * width..], bits, index % 7), *value);
            }
        }
    }
}
