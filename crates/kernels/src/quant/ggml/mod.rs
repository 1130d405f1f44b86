//! The tensor types of ggml, as GGUF files hold them: floats, and blocks of codes that share scales.
//!
//! Layouts and formulas are those of ggml-quants.c; each value is computed in f32, in the order of operations there. Numbers
//! are little-endian. The types that ggml computes with but writes into no file (Q8_1, Q8_K) are left out.

mod block;
mod encode;
mod super_block;

use crate::vector::simd;
use half::{bf16, f16};
use std::ops::Range;

/// How the values of a tensor are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GgmlType {
    F32,
    F16,
    Bf16,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q2K,
    Q3K,
    Q4K,
    Q5K,
    Q6K,
}

impl GgmlType {
    /// The type that has this number in ggml.h; `None` for one that is not decoded.
    pub fn of_number(number: u32) -> Option<GgmlType> {
        const ALL: [GgmlType; 13] = [
            GgmlType::F32,
            GgmlType::F16,
            GgmlType::Bf16,
            GgmlType::Q4_0,
            GgmlType::Q4_1,
            GgmlType::Q5_0,
            GgmlType::Q5_1,
            GgmlType::Q8_0,
            GgmlType::Q2K,
            GgmlType::Q3K,
            GgmlType::Q4K,
            GgmlType::Q5K,
            GgmlType::Q6K,
        ];
        ALL.into_iter().find(|kind| kind.number() == number)
    }

    /// Its number in ggml.h.
    pub fn number(self) -> u32 {
        match self {
            GgmlType::F32 => 0,
            GgmlType::F16 => 1,
            GgmlType::Q4_0 => 2,
            GgmlType::Q4_1 => 3,
            GgmlType::Q5_0 => 6,
            GgmlType::Q5_1 => 7,
            GgmlType::Q8_0 => 8,
            GgmlType::Q2K => 10,
            GgmlType::Q3K => 11,
            GgmlType::Q4K => 12,
            GgmlType::Q5K => 13,
            GgmlType::Q6K => 14,
            GgmlType::Bf16 => 30,
        }
    }

    /// Values of a block.
    pub fn block_values(self) -> usize {
        match self {
            GgmlType::F32 | GgmlType::F16 | GgmlType::Bf16 => 1,
            GgmlType::Q4_0 | GgmlType::Q4_1 | GgmlType::Q5_0 | GgmlType::Q5_1 | GgmlType::Q8_0 => {
                block::VALUES
            }
            GgmlType::Q2K | GgmlType::Q3K | GgmlType::Q4K | GgmlType::Q5K | GgmlType::Q6K => {
                super_block::VALUES
            }
        }
    }

    /// Bytes of a block.
    pub fn block_bytes(self) -> usize {
        match self {
            GgmlType::F32 => 4,
            GgmlType::F16 | GgmlType::Bf16 => 2,
            GgmlType::Q4_0 => 18,
            GgmlType::Q4_1 => 20,
            GgmlType::Q5_0 => 22,
            GgmlType::Q5_1 => 24,
            GgmlType::Q8_0 => 34,
            GgmlType::Q2K => 84,
            GgmlType::Q3K => 110,
            GgmlType::Q4K => 144,
            GgmlType::Q5K => 176,
            GgmlType::Q6K => 210,
        }
    }

    /// Values `range` of a tensor whose blocks are `bytes`; they may begin and end inside of blocks.
    ///
    /// # Panics
    /// If the tensor has not as many values, or `values` has another length than `range`.
    pub fn decode_range(self, bytes: &[u8], range: Range<usize>, mut values: &mut [f32]) {
        assert_eq!(range.len(), values.len(), "the destination holds the range");
        let (count, width) = (self.block_values(), self.block_bytes());
        let block = |index: usize| &bytes[index * width..(index + 1) * width];
        let mut partial = [0.0; super_block::VALUES];
        let mut start = range.start;
        if !start.is_multiple_of(count) && start < range.end {
            let end = start.next_multiple_of(count).min(range.end);
            self.decode(block(start / count), &mut partial[..count]);
            let (first, rest) = values.split_at_mut(end - start);
            first.copy_from_slice(&partial[start % count..][..end - start]);
            (values, start) = (rest, end);
        }
        let (whole, last) = values.split_at_mut(values.len() / count * count);
        let blocks = start / count;
        self.decode(&bytes[blocks * width..(blocks + whole.len() / count) * width], whole);
        if !last.is_empty() {
            self.decode(block(blocks + whole.len() / count), &mut partial[..count]);
            last.copy_from_slice(&partial[..last.len()]);
        }
    }

    /// The values of whole blocks.
    ///
    /// # Panics
    /// If `bytes` are not the blocks of as many values.
    pub fn decode(self, bytes: &[u8], values: &mut [f32]) {
        simd(
            #[inline(always)]
            || self.decode_blocks(bytes, values),
        );
    }

    #[inline(always)]
    fn decode_blocks(self, bytes: &[u8], values: &mut [f32]) {
        match self {
            GgmlType::F32 => blocks(bytes, values, |bytes, [value]| *value = f32::from_le_bytes(*bytes)),
            GgmlType::F16 => {
                blocks(bytes, values, |bytes, [value]| *value = f16::from_le_bytes(*bytes).to_f32())
            }
            GgmlType::Bf16 => {
                blocks(bytes, values, |bytes, [value]| *value = bf16::from_le_bytes(*bytes).to_f32())
            }
            GgmlType::Q4_0 => blocks(bytes, values, block::q4_0),
            GgmlType::Q4_1 => blocks(bytes, values, block::q4_1),
            GgmlType::Q5_0 => blocks(bytes, values, block::q5_0),
            GgmlType::Q5_1 => blocks(bytes, values, block::q5_1),
            GgmlType::Q8_0 => blocks(bytes, values, block::q8_0),
            GgmlType::Q2K => blocks(bytes, values, super_block::q2_k),
            GgmlType::Q3K => blocks(bytes, values, super_block::q3_k),
            GgmlType::Q4K => blocks(bytes, values, super_block::q4_k),
            GgmlType::Q5K => blocks(bytes, values, super_block::q5_k),
            GgmlType::Q6K => blocks(bytes, values, super_block::q6_k),
        }
    }
}

/// Types that values can be stored as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WrittenType {
    F32,
    F16,
    Bf16,
    Q4_0,
    Q8_0,
    Q6K,
}

impl WrittenType {
    pub fn ggml_type(self) -> GgmlType {
        match self {
            WrittenType::F32 => GgmlType::F32,
            WrittenType::F16 => GgmlType::F16,
            WrittenType::Bf16 => GgmlType::Bf16,
            WrittenType::Q4_0 => GgmlType::Q4_0,
            WrittenType::Q8_0 => GgmlType::Q8_0,
            WrittenType::Q6K => GgmlType::Q6K,
        }
    }

    /// The blocks of values.
    ///
    /// # Panics
    /// If `bytes` are not the blocks of as many values.
    pub fn encode(self, values: &[f32], bytes: &mut [u8]) {
        match self {
            WrittenType::F32 => to_blocks(values, bytes, |[value], bytes| *bytes = value.to_le_bytes()),
            WrittenType::F16 => {
                to_blocks(values, bytes, |[value], bytes| *bytes = f16::from_f32(*value).to_le_bytes())
            }
            WrittenType::Bf16 => {
                to_blocks(values, bytes, |[value], bytes| *bytes = bf16::from_f32(*value).to_le_bytes())
            }
            WrittenType::Q4_0 => to_blocks(values, bytes, encode::q4_0),
            WrittenType::Q8_0 => to_blocks(values, bytes, encode::q8_0),
            WrittenType::Q6K => to_blocks(values, bytes, encode::q6_k),
        }
    }
}

fn to_blocks<const VALUES: usize, const BYTES: usize>(
    values: &[f32],
    bytes: &mut [u8],
    encode: impl Fn(&[f32; VALUES], &mut [u8; BYTES]),
) {
    let (sources, more_values) = values.as_chunks::<VALUES>();
    let (blocks, more_bytes) = bytes.as_chunks_mut::<BYTES>();
    assert!(more_bytes.is_empty() && more_values.is_empty() && blocks.len() == sources.len(), "whole blocks");
    for (source, block) in sources.iter().zip(blocks) {
        encode(source, block);
    }
}

#[inline(always)]
fn blocks<const BYTES: usize, const VALUES: usize>(
    bytes: &[u8],
    values: &mut [f32],
    decode: impl Fn(&[u8; BYTES], &mut [f32; VALUES]),
) {
    let (blocks, more_bytes) = bytes.as_chunks::<BYTES>();
    let (targets, more_values) = values.as_chunks_mut::<VALUES>();
    assert!(more_bytes.is_empty() && more_values.is_empty() && blocks.len() == targets.len(), "whole blocks");
    for (block, target) in blocks.iter().zip(targets) {
        decode(block, target);
    }
}

/// A scale, stored as f16.
fn scale(low: u8, high: u8) -> f32 {
    f16::from_le_bytes([low, high]).to_f32()
}

#[cfg(test)]
mod tests {
    use super::GgmlType;
    use candle_core::Device;
    use candle_core::quantized::GgmlDType;
    use candle_core::quantized::ggml_file::qtensor_from_ggml;
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::{RngCore, SeedableRng};

    const BLOCKS: usize = 300;

    /// Any bytes are blocks of any type: scales of every kind, those without meaning among them.
    #[test]
    fn values_are_those_of_candle() {
        let mut random = ChaCha8Rng::seed_from_u64(7);
        for (number, theirs) in [
            (0, GgmlDType::F32),
            (1, GgmlDType::F16),
            (2, GgmlDType::Q4_0),
            (3, GgmlDType::Q4_1),
            (6, GgmlDType::Q5_0),
            (7, GgmlDType::Q5_1),
            (8, GgmlDType::Q8_0),
            (10, GgmlDType::Q2K),
            (11, GgmlDType::Q3K),
            (12, GgmlDType::Q4K),
            (13, GgmlDType::Q5K),
            (14, GgmlDType::Q6K),
            (30, GgmlDType::BF16),
        ] {
            let ours = GgmlType::of_number(number).unwrap();
            let layout = (ours.block_values(), ours.block_bytes());
            assert_eq!(layout, (theirs.block_size(), theirs.type_size()), "{ours:?}");
            // candle reads blocks in place, as structures of numbers.
            let mut aligned = vec![0u32; BLOCKS * layout.1 / 4];
            let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut aligned);
            random.fill_bytes(bytes);
            let mut values = vec![0.0; BLOCKS * layout.0];
            ours.decode(bytes, &mut values);
            let blocks = qtensor_from_ggml(theirs, bytes, vec![values.len()], &Device::Cpu).unwrap();
            let expected: Vec<f32> = blocks.dequantize(&Device::Cpu).unwrap().to_vec1().unwrap();
            assert!(expected.iter().any(|value| value.is_nan()), "{ours:?}");
            for (at, (value, expected)) in values.iter().zip(&expected).enumerate() {
                // Which of two NaNs an operation gives is nowhere said.
                let same = value.to_bits() == expected.to_bits() || value.is_nan() && expected.is_nan();
                assert!(same, "{ours:?}: value {at} is {value}, not {expected}");
            }
        }
        assert_eq!(GgmlType::of_number(9), None);
    }

    /// Any part of a tensor is that part of the whole.
    #[test]
    fn ranges_may_cut_blocks() {
        let mut random = ChaCha8Rng::seed_from_u64(8);
        for kind in [GgmlType::F32, GgmlType::Bf16, GgmlType::Q4_0, GgmlType::Q8_0, GgmlType::Q6K] {
            let mut bytes = vec![0; 3 * kind.block_bytes()];
            random.fill_bytes(&mut bytes);
            let mut all = vec![0.0; 3 * kind.block_values()];
            kind.decode(&bytes, &mut all);
            for start in 0..all.len() {
                for end in [start, start + 1, start + 31, start + 300, all.len()] {
                    let range = start..end.min(all.len()).max(start);
                    let mut part = vec![0.0; range.len()];
                    kind.decode_range(&bytes, range.clone(), &mut part);
                    let bits = |values: &[f32]| values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
                    assert_eq!(bits(&part), bits(&all[range]), "{kind:?}");
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "whole blocks")]
    fn half_a_block_is_refused() {
        GgmlType::Q8_0.decode(&[0; 33], &mut [0.0; 32]);
    }
}
