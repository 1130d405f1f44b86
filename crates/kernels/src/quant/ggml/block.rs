//! Blocks of 32 values with one scale, and a minimum where the codes are not signed.

use super::scale;

pub(super) const VALUES: usize = 32;

type Values = [f32; VALUES];

pub(super) fn q4_0([d0, d1, codes @ ..]: &[u8; 18], values: &mut Values) {
    let scale = scale(*d0, *d1);
    nibbles(codes, values, |_, code| (f32::from(code) - 8.0) * scale);
}

pub(super) fn q4_1([d0, d1, m0, m1, codes @ ..]: &[u8; 20], values: &mut Values) {
    let (factor, minimum) = (scale(*d0, *d1), scale(*m0, *m1));
    nibbles(codes, values, |_, code| f32::from(code) * factor + minimum);
}

pub(super) fn q5_0([d0, d1, h0, h1, h2, h3, codes @ ..]: &[u8; 22], values: &mut Values) {
    let (scale, fifth) = (scale(*d0, *d1), FifthBits::new([*h0, *h1, *h2, *h3]));
    nibbles(codes, values, |at, code| (f32::from(code | fifth.of(at)) - 16.0) * scale);
}

pub(super) fn q5_1([d0, d1, m0, m1, h0, h1, h2, h3, codes @ ..]: &[u8; 24], values: &mut Values) {
    let (factor, minimum) = (scale(*d0, *d1), scale(*m0, *m1));
    let fifth = FifthBits::new([*h0, *h1, *h2, *h3]);
    nibbles(codes, values, |at, code| f32::from(code | fifth.of(at)) * factor + minimum);
}

pub(super) fn q8_0([d0, d1, codes @ ..]: &[u8; 34], values: &mut Values) {
    let scale = scale(*d0, *d1);
    for (value, code) in values.iter_mut().zip(codes) {
        *value = f32::from(code.cast_signed()) * scale;
    }
}

/// Low halves of the bytes are the codes of the first 16 values, high halves those of the others.
fn nibbles(codes: &[u8; VALUES / 2], values: &mut Values, value: impl Fn(usize, u8) -> f32) {
    let (low, high) = values.split_at_mut(VALUES / 2);
    for (at, code) in codes.iter().enumerate() {
        low[at] = value(at, code & 15);
        high[at] = value(at + VALUES / 2, code >> 4);
    }
}

/// The highest bits of 5-bit codes.
#[derive(Clone, Copy)]
struct FifthBits(u32);

impl FifthBits {
    fn new(bytes: [u8; 4]) -> FifthBits {
        FifthBits(u32::from_le_bytes(bytes))
    }

    /// That of value `at`, in its place.
    fn of(self, at: usize) -> u8 {
        ((self.0 >> at & 1) << 4) as u8
    }
}
