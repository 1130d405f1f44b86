//! Blocks of 256 values ("K"): groups of 16 or 32 have scales of a few bits, which share one in f16.

use super::scale;

pub(super) const VALUES: usize = 256;

type Values = [f32; VALUES];

pub(super) fn q2_k([front @ .., d0, d1, m0, m1]: &[u8; 84], values: &mut Values) {
    let (scales, codes) = front.split_at(16);
    let (factor, minimum) = (scale(*d0, *d1), scale(*m0, *m1));
    for (group, values) in groups::<16>(values) {
        let (factor, minimum) =
            (factor * f32::from(scales[group] & 15), minimum * f32::from(scales[group] >> 4));
        let Pairs { start, shift } = Pairs::of(group);
        for (value, code) in values.iter_mut().zip(&codes[start..]) {
            *value = factor * f32::from(code >> shift & 3) - minimum;
        }
    }
}

/// The third bit of a code, which is the sign, lies apart, and is set where the code is not negative.
pub(super) fn q3_k([front @ .., d0, d1]: &[u8; 110], values: &mut Values) {
    let (signs, rest) = front.split_at(32);
    let (codes, scales) = rest.split_at(64);
    let (factor, scales) = (scale(*d0, *d1), six_bits(scales));
    for (group, values) in groups::<16>(values) {
        let factor = factor * (f32::from(scales[group]) - 32.0);
        let Pairs { start, shift } = Pairs::of(group);
        let signs = signs[group % 2 * 16..].iter().map(|sign| sign >> (group / 2) & 1);
        for ((value, code), sign) in values.iter_mut().zip(&codes[start..]).zip(signs) {
            *value = factor * (f32::from(code >> shift & 3 | sign << 2) - 4.0);
        }
    }
}

pub(super) fn q4_k([d0, d1, m0, m1, back @ ..]: &[u8; 144], values: &mut Values) {
    let (scales, codes) = back.split_at(12);
    let (factor, minimum) = (scale(*d0, *d1), scale(*m0, *m1));
    for (group, values) in groups::<32>(values) {
        let (f, m) = scale_and_minimum(scales, group);
        let (factor, minimum) = (factor * f32::from(f), minimum * f32::from(m));
        let shift = group % 2 * 4;
        for (value, code) in values.iter_mut().zip(&codes[group / 2 * 32..]) {
            *value = factor * f32::from(code >> shift & 15) - minimum;
        }
    }
}

pub(super) fn q5_k([d0, d1, m0, m1, back @ ..]: &[u8; 176], values: &mut Values) {
    let (scales, rest) = back.split_at(12);
    let (fifth, codes) = rest.split_at(32);
    let (factor, minimum) = (scale(*d0, *d1), scale(*m0, *m1));
    for (group, values) in groups::<32>(values) {
        let (f, m) = scale_and_minimum(scales, group);
        let (factor, minimum) = (factor * f32::from(f), minimum * f32::from(m));
        let shift = group % 2 * 4;
        for ((value, code), fifth) in values.iter_mut().zip(&codes[group / 2 * 32..]).zip(fifth) {
            *value = factor * f32::from(code >> shift & 15 | (fifth >> group & 1) << 4) - minimum;
        }
    }
}

pub(super) fn q6_k([front @ .., d0, d1]: &[u8; 210], values: &mut Values) {
    let (low, rest) = front.split_at(128);
    let (high, scales) = rest.split_at(64);
    let factor = scale(*d0, *d1);
    for (group, values) in groups::<16>(values) {
        let factor = factor * f32::from(scales[group].cast_signed());
        let Pairs { start, shift } = Pairs::of(group);
        // A half of the block has 64 bytes of low bits: those of its first two quarters, and in their high halves the others.
        let (half, quarter) = (group / 8, group % 8 / 2);
        let low = &low[half * 64 + quarter % 2 * 32 + group % 2 * 16..];
        let low = low.iter().map(|low| low >> (quarter / 2 * 4) & 15);
        for ((value, low), high) in values.iter_mut().zip(low).zip(&high[start..]) {
            *value = factor * (f32::from(low | (high >> shift & 3) << 4) - 32.0);
        }
    }
}

fn groups<const SIZE: usize>(values: &mut Values) -> impl Iterator<Item = (usize, &mut [f32; SIZE])> {
    values.as_chunks_mut().0.iter_mut().enumerate()
}

/// Where the pairs of bits of a group of 16 values are. 32 bytes hold those of half a block: the lowest ones of its first 32
/// values, the next ones of the next 32.
struct Pairs {
    start: usize,
    shift: usize,
}

impl Pairs {
    fn of(group: usize) -> Pairs {
        Pairs { start: group / 8 * 32 + group % 2 * 16, shift: group % 8 / 2 * 2 }
    }
}

/// 16 numbers of 6 bits in 12 bytes: the low four bits of two numbers in each of the first eight, the high two of four in the
/// others.
fn six_bits(bytes: &[u8]) -> [u8; 16] {
    std::array::from_fn(|at| {
        let low = bytes[at % 8] >> (at / 8 * 4) & 15;
        let high = bytes[8 + at % 4] >> (at / 4 * 2) & 3;
        low | high << 4
    })
}

/// The scale and the minimum of a group of 32 values, 6 bits each in 12 bytes. Those of the first four groups are a byte's low
/// bits; the other bits of these bytes are the high ones of the last four, whose low ones share a byte.
fn scale_and_minimum(bytes: &[u8], group: usize) -> (u8, u8) {
    if group < 4 {
        return (bytes[group] & 63, bytes[group + 4] & 63);
    }
    let low = bytes[group + 4];
    (low & 15 | bytes[group - 4] >> 6 << 4, low >> 4 | bytes[group] >> 6 << 4)
}
