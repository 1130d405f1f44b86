//! The float types a weight can be stored in.

use crate::vector::simd;
use candle_core::DType;
use half::{bf16, f16};

/// Storage type of activations and unquantised weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FloatType {
    F32,
    F16,
    Bf16,
}

impl FloatType {
    /// The type of that name in a checkpoint; `None` for what no weight is stored in.
    pub fn of(dtype: DType) -> Option<FloatType> {
        match dtype {
            DType::F32 => Some(FloatType::F32),
            DType::F16 => Some(FloatType::F16),
            DType::BF16 => Some(FloatType::Bf16),
            _ => None,
        }
    }

    /// What tensors call it.
    pub fn dtype(self) -> DType {
        match self {
            FloatType::F32 => DType::F32,
            FloatType::F16 => DType::F16,
            FloatType::Bf16 => DType::BF16,
        }
    }

    /// Bytes of one element.
    pub fn size(self) -> usize {
        match self {
            FloatType::F32 => 4,
            FloatType::F16 | FloatType::Bf16 => 2,
        }
    }

    /// The least positive value of full precision.
    pub fn smallest(self) -> f32 {
        match self {
            FloatType::F32 | FloatType::Bf16 => f32::MIN_POSITIVE,
            FloatType::F16 => f16::MIN_POSITIVE.to_f32(),
        }
    }

    /// The nearest value that this type can hold, of two the even one.
    #[inline]
    pub fn nearest(self, value: f32) -> f32 {
        match self {
            FloatType::F32 => value,
            FloatType::F16 => f16::from_f32(value).to_f32(),
            FloatType::Bf16 => bf16::from_f32(value).to_f32(),
        }
    }

    /// Makes every value the [nearest](Self::nearest) of this type.
    pub fn round(self, values: &mut [f32]) {
        match self {
            FloatType::F32 => {}
            FloatType::F16 => values.iter_mut().for_each(|v| *v = FloatType::F16.nearest(*v)),
            FloatType::Bf16 => values.iter_mut().for_each(|v| *v = FloatType::Bf16.nearest(*v)),
        }
    }

    /// `values += factor · other`, rounded once to what this type can hold.
    pub fn add_rounded(self, values: &mut [f32], other: &[f32], factor: f32) {
        let pairs = values.iter_mut().zip(other);
        match self {
            FloatType::F32 => pairs.for_each(|(v, o)| *v += factor * o),
            FloatType::F16 => pairs.for_each(|(v, o)| *v = f16::from_f32(*v + factor * o).to_f32()),
            FloatType::Bf16 => pairs.for_each(|(v, o)| *v = bf16::from_f32(*v + factor * o).to_f32()),
        }
    }

    /// The values that lie one after the other in `bytes`, little-endian.
    #[inline]
    pub fn widen(self, bytes: &[u8], out: &mut [f32]) {
        assert_eq!(bytes.len(), out.len() * self.size(), "the destination holds the values");
        simd(
            #[inline(always)]
            || match self {
                FloatType::F32 => {
                    out.iter_mut().zip(bytes.as_chunks().0).for_each(|(v, b)| *v = f32::from_le_bytes(*b));
                }
                FloatType::F16 => {
                    let bits = bytes.as_chunks().0.iter().map(|b| u16::from_le_bytes(*b));
                    out.iter_mut().zip(bits).for_each(|(v, bits)| *v = widened(bits));
                }
                FloatType::Bf16 => {
                    let bits = bytes.as_chunks().0.iter().map(|b| u16::from_le_bytes(*b));
                    out.iter_mut().zip(bits).for_each(|(v, bits)| *v = f32::from_bits(u32::from(bits) << 16));
                }
            },
        );
    }

    /// Appends the values in this type, little-endian.
    pub fn extend_bytes(self, values: &[f32], out: &mut Vec<u8>) {
        match self {
            FloatType::F32 if cfg!(target_endian = "little") => {
                out.extend_from_slice(bytemuck::cast_slice(values));
            }
            FloatType::F32 => values.iter().for_each(|v| out.extend_from_slice(&v.to_le_bytes())),
            FloatType::F16 => {
                values.iter().for_each(|v| out.extend_from_slice(&f16::from_f32(*v).to_le_bytes()));
            }
            FloatType::Bf16 => {
                values.iter().for_each(|v| out.extend_from_slice(&bf16::from_f32(*v).to_le_bytes()));
            }
        }
    }

    /// The values in this type, little-endian.
    pub fn to_bytes(self, values: &[f32]) -> Vec<u8> {
        let mut out = Vec::with_capacity(values.len() * self.size());
        self.extend_bytes(values, &mut out);
        out
    }
}

/// A half as it is, by integer operations and one product, which becomes SIMD of any width.
#[inline(always)]
fn widened(bits: u16) -> f32 {
    // 2¹¹², by which the exponent's bias is less.
    const BIAS: f32 = f32::from_bits((127 + 112) << 23);
    let magnitude = u32::from(bits & 0x7fff) << 13;
    let finite = (f32::from_bits(magnitude) * BIAS).to_bits();
    let value = if bits & 0x7c00 == 0x7c00 { magnitude | 0x7f80_0000 } else { finite };
    f32::from_bits(value | u32::from(bits & 0x8000) << 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_half_is_widened_exactly() {
        let bits: Vec<u16> = (0..=u16::MAX).collect();
        let bytes: Vec<u8> = bits.iter().flat_map(|bits| bits.to_le_bytes()).collect();
        for (float, exact) in [
            (FloatType::F16, (|bits| f16::from_bits(bits).to_f32()) as fn(u16) -> f32),
            (FloatType::Bf16, |bits| bf16::from_bits(bits).to_f32()),
        ] {
            let mut values = vec![0.0; bits.len()];
            float.widen(&bytes, &mut values);
            for (bits, value) in bits.iter().zip(values) {
                let exact = exact(*bits);
                assert!(
                    value.to_bits() == exact.to_bits() || value.is_nan() && exact.is_nan(),
                    "{bits:x}: {value}"
                );
            }
        }
    }
}
