//! The float types a weight can be stored in.

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

    /// Rounds every value to the nearest one this type can hold, ties to even.
    pub fn round(self, values: &mut [f32]) {
        match self {
            FloatType::F32 => {}
            FloatType::F16 => values.iter_mut().for_each(|v| *v = f16::from_f32(*v).to_f32()),
            FloatType::Bf16 => values.iter_mut().for_each(|v| *v = bf16::from_f32(*v).to_f32()),
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
