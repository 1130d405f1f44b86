//! The 4-bit codes of bitsandbytes, NF4 and FP4: blocks of 64 weights that share a scale.
//!
//! A weight is `table[code] · absmax`, computed in f32; two codes lie in a byte, the first in the high half. Codes, scales
//! and decoded values are those of bitsandbytes 0.50 to the bit. Blocks run through the whole matrix, so that one may
//! hold the end of a row and the beginning of the next.

use super::double_quant::NestedScales;
use crate::vector::simd;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Weights that share a scale.
pub const BLOCK: usize = 64;

/// Which 16 values a code stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Code {
    /// Quantiles of the normal distribution (Dettmers et al. 2023, "QLoRA", appendix E).
    Nf4,
    /// Sign, two bits of exponent, one of fraction.
    Fp4,
}

const NF4: [f32; 16] = [
    -1.0,
    -0.696_192_8,
    -0.525_073_05,
    -0.394_917_5,
    -0.284_441_38,
    -0.184_773_43,
    -0.091_050_036,
    0.0,
    0.079_580_3,
    0.160_930_2,
    0.246_112_3,
    0.337_915_24,
    0.440_709_83,
    0.562_617,
    0.722_956_84,
    1.0,
];

/// Values by code: `m / 12` for the magnitudes below, the sign in the highest bit.
const FP4: [f32; 16] = {
    const MAGNITUDES: [f32; 8] = [0.0, 0.0625, 8.0, 12.0, 4.0, 6.0, 2.0, 3.0];
    let mut table = [0.0; 16];
    let mut i = 0;
    while i < 8 {
        table[i] = MAGNITUDES[i] / 12.0;
        // Both zeros are positive, as in bitsandbytes' table.
        table[i + 8] = if i == 0 { 0.0 } else { -table[i] };
        i += 1;
    }
    table
};

/// The 16 values of a format, as constants, so that loops over them are unrolled.
trait Codebook {
    const NAME: &'static str;
    /// By code.
    const VALUES: [f32; 16];
    /// Codes in the order of their values; `None` where that is their own.
    const ORDER: Option<[u8; 16]>;
    /// Between the values next to each other.
    const BOUNDS: [f32; 15] = bounds(Self::VALUES, Self::ORDER);
}

struct Nf4;

impl Codebook for Nf4 {
    const NAME: &'static str = "nf4";
    const VALUES: [f32; 16] = NF4;
    const ORDER: Option<[u8; 16]> = None;
}

struct Fp4;

impl Codebook for Fp4 {
    const NAME: &'static str = "fp4";
    const VALUES: [f32; 16] = FP4;
    const ORDER: Option<[u8; 16]> = Some([11, 10, 13, 12, 15, 14, 9, 0, 8, 1, 6, 7, 4, 5, 2, 3]);
}

const fn bounds(values: [f32; 16], order: Option<[u8; 16]>) -> [f32; 15] {
    let mut bounds = [0.0; 15];
    let mut i = 0;
    while i < 15 {
        let [low, high] = match order {
            None => [i, i + 1],
            Some(order) => [order[i] as usize, order[i + 1] as usize],
        };
        bounds[i] = (values[low] + values[high]) / 2.0;
        i += 1;
    }
    bounds
}

/// Values of the two codes in a byte.
const fn pairs(table: [f32; 16]) -> [[f32; 2]; 256] {
    let mut pairs = [[0.0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        pairs[byte] = [table[byte >> 4], table[byte & 15]];
        byte += 1;
    }
    pairs
}

/// A codebook as code that does not know which it is reads it.
struct Entry {
    name: &'static str,
    values: [f32; 16],
    /// Values of the two codes in a byte.
    pairs: [[f32; 2]; 256],
    /// Codes and scales of some blocks.
    encode: fn(values: &[f32], codes: &mut [u8], absmax: &mut [f32]),
}

impl Entry {
    const fn of<C: Codebook>() -> Entry {
        Entry { name: C::NAME, values: C::VALUES, pairs: pairs(C::VALUES), encode: encode::<C> }
    }
}

static NF4_ENTRY: Entry = Entry::of::<Nf4>();
static FP4_ENTRY: Entry = Entry::of::<Fp4>();

impl Code {
    fn entry(self) -> &'static Entry {
        match self {
            Code::Nf4 => &NF4_ENTRY,
            Code::Fp4 => &FP4_ENTRY,
        }
    }

    /// As bitsandbytes and configurations spell it.
    pub fn name(self) -> &'static str {
        self.entry().name
    }

    /// The value of every code.
    pub fn table(self) -> [f32; 16] {
        self.entry().values
    }
}

/// What [`quantise`] gives.
pub struct Quantised {
    /// Two per byte, the earlier one in the high half.
    pub codes: Vec<u8>,
    /// Largest magnitude of every block.
    pub absmax: Vec<f32>,
}

/// A weight that is not a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotFinite {
    /// First element of the block that holds it.
    pub near: usize,
}

/// Weights that one task quantises: its f32 values stay in the nearest cache.
const TASK: usize = 64 * BLOCK;

/// Quantises `len` weights, which `read` gives as f32 by ranges, on all threads. Holds the result only.
///
/// # Errors
/// A weight is infinite or not a number, or an error of `read`.
pub fn quantise<E: From<NotFinite> + Send>(
    code: Code,
    len: usize,
    read: impl Fn(Range<usize>, &mut [f32]) -> Result<(), E> + Sync,
) -> Result<Quantised, E> {
    let mut codes = vec![0; len.div_ceil(2)];
    let mut absmax = vec![0.0; len.div_ceil(BLOCK)];
    let tasks = codes.par_chunks_mut(TASK / 2).zip(absmax.par_chunks_mut(TASK / BLOCK)).enumerate();
    tasks.try_for_each(|(index, (codes, absmax))| -> Result<(), E> {
        let start = index * TASK;
        let mut values = [0.0; TASK];
        let values = &mut values[..TASK.min(len - start)];
        read(start..start + values.len(), values)?;
        (code.entry().encode)(values, codes, absmax);
        match absmax.iter().position(|max| !max.is_finite()) {
            Some(block) => Err(NotFinite { near: start + block * BLOCK }.into()),
            None => Ok(()),
        }
    })?;
    Ok(Quantised { codes, absmax })
}

/// Smallest scale that is divided by; smaller ones only occur in blocks of zeros and the like.
const TINY: f32 = 1e-38;

fn encode<C: Codebook>(values: &[f32], codes: &mut [u8], absmax: &mut [f32]) {
    simd(
        #[inline(always)]
        || encode_blocks::<C>(values, codes, absmax),
    );
}

#[inline(always)]
fn encode_blocks<C: Codebook>(values: &[f32], codes: &mut [u8], absmax: &mut [f32]) {
    let (blocks, rest) = values.as_chunks::<BLOCK>();
    let (codes_of_blocks, codes_of_rest) = codes.split_at_mut(blocks.len() * BLOCK / 2);
    let codes_of_blocks = codes_of_blocks.as_chunks_mut::<{ BLOCK / 2 }>().0;
    for ((block, codes), absmax) in blocks.iter().zip(codes_of_blocks).zip(&mut *absmax) {
        *absmax = largest(block);
        let factor = 1.0 / absmax.max(TINY);
        let mut scaled = [0.0; BLOCK];
        for (scaled, value) in scaled.iter_mut().zip(block) {
            *scaled = value * factor;
        }
        *codes = pack(&encode_block::<C>(&scaled));
    }
    if !rest.is_empty() {
        // bitsandbytes divides in the last, shorter block where it multiplies by the inverse in the others.
        let max = largest(rest).max(TINY);
        absmax[blocks.len()] = max;
        let mut scaled = [0.0; BLOCK];
        for (scaled, value) in scaled.iter_mut().zip(rest) {
            *scaled = value / max;
        }
        let packed = pack(&encode_block::<C>(&scaled));
        codes_of_rest.copy_from_slice(&packed[..codes_of_rest.len()]);
    }
}

/// The largest magnitude; not finite if any value is not: without their sign, floats are ordered like integers.
#[inline(always)]
fn largest(values: &[f32]) -> f32 {
    f32::from_bits(values.iter().fold(0, |max, value| max.max(value.to_bits() & 0x7fff_ffff)))
}

/// The code of the nearest value; a value in the middle of two goes to the lower one. The number of bounds below a
/// value is its rank, which needs no branch and no table.
#[inline(always)]
fn encode_block<C: Codebook>(scaled: &[f32; BLOCK]) -> [u32; BLOCK] {
    let mut ranks = [0u32; BLOCK];
    for bound in &C::BOUNDS {
        for (rank, value) in ranks.iter_mut().zip(scaled) {
            *rank += u32::from(value > bound);
        }
    }
    if let Some(order) = &C::ORDER {
        ranks.iter_mut().for_each(|rank| *rank = u32::from(order[*rank as usize]));
    }
    ranks
}

#[inline(always)]
fn pack(codes: &[u32; BLOCK]) -> [u8; BLOCK / 2] {
    std::array::from_fn(|i| (codes[2 * i] << 4 | codes[2 * i + 1]) as u8)
}

/// The scale of every block, as it is stored.
#[derive(Clone, Copy)]
pub enum Scales<'a> {
    /// Little-endian f32.
    Plain(&'a [u8]),
    Nested(NestedScales<'a>),
}

impl Scales<'_> {
    #[inline(always)]
    fn of(&self, block: usize) -> f32 {
        match self {
            Scales::Plain(bytes) => f32::from_le_bytes(bytes.as_chunks::<4>().0[block]),
            Scales::Nested(nested) => nested.of(block),
        }
    }
}

/// Weights `range` of a quantised matrix as f32.
pub fn decode(code: Code, codes: &[u8], scales: Scales, range: Range<usize>, out: &mut [f32]) {
    assert_eq!(range.len(), out.len(), "the destination holds the range");
    let Entry { pairs, values: table, .. } = code.entry();
    let mut out = out;
    let mut at = range.start;
    while at < range.end {
        let block = at / BLOCK;
        let end = ((block + 1) * BLOCK).min(range.end);
        let (now, later) = out.split_at_mut(end - at);
        let scale = scales.of(block);
        let mut now = now;
        if at % 2 == 1 {
            let (first, others) = now.split_at_mut(1);
            first[0] = table[usize::from(codes[at / 2] & 15)] * scale;
            (now, at) = (others, at + 1);
        }
        let (whole, last) = now.as_chunks_mut::<2>();
        for (out, byte) in whole.iter_mut().zip(&codes[at / 2..]) {
            let [first, second] = pairs[usize::from(*byte)];
            *out = [first * scale, second * scale];
        }
        if let [last] = last {
            *last = table[usize::from(codes[end / 2] >> 4)] * scale;
        }
        (at, out) = (end, later);
    }
}
