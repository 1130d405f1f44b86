//! What tests of computations share, here and in the crates above: inputs, and how near is near enough.

use crate::frozen_linear::{FrozenWeight, HostMatrix};
use crate::gemm::{Decode, Stored};
use candle_core::{DType, Device, Tensor};
use half::{bf16, f16};
use olive_core::Result;
use std::ops::Range;
use std::sync::Arc;

pub use crate::host::without_kernels;

/// Values in (-1, 1) that depend on `seed` alone.
///
/// # Errors
/// There is no room for them.
pub fn random(shape: &[usize], seed: u64) -> Result<Tensor> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let values: Vec<f32> = (0..shape.iter().product::<usize>())
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        })
        .collect();
    Ok(Tensor::from_vec(values, shape, &Device::Cpu)?)
}

/// A matrix in memory, by its type in a file.
struct StoredMatrix {
    shape: [usize; 2],
    dtype: DType,
    bytes: Vec<u8>,
    /// The same, for the types that products do not read in place.
    values: Vec<f32>,
}

impl Decode for StoredMatrix {
    fn decode(&self, range: Range<usize>, out: &mut [f32]) {
        out.copy_from_slice(&self.values[range]);
    }
}

impl HostMatrix for StoredMatrix {
    fn shape(&self) -> [usize; 2] {
        self.shape
    }

    fn stored(&self) -> Stored<'_> {
        match self.dtype {
            DType::BF16 => Stored::Bf16(&self.bytes),
            DType::F16 => Stored::F16(&self.bytes),
            DType::F32 => Stored::F32(&self.values),
            _ => Stored::Coded(self),
        }
    }
}

/// A matrix `[out, in]` of that type.
///
/// # Errors
/// There is no room for it.
pub fn weight(out: usize, width: usize, dtype: DType, seed: u64) -> Result<FrozenWeight> {
    let values = random(&[out, width], seed)?.flatten_all()?.to_vec1::<f32>()?;
    let (values, bytes): (_, Vec<[u8; 2]>) = match dtype {
        DType::BF16 => {
            values.iter().map(|v| bf16::from_f32(*v)).map(|v| (v.to_f32(), v.to_le_bytes())).unzip()
        }
        DType::F16 => values.iter().map(|v| f16::from_f32(*v)).map(|v| (v.to_f32(), v.to_le_bytes())).unzip(),
        _ => (values, Vec::new()),
    };
    let matrix = StoredMatrix { shape: [out, width], dtype, bytes: bytes.concat(), values };
    FrozenWeight::new(Arc::new(matrix), DType::F32, &Device::Cpu)
}

/// The largest difference is at most `tolerance` times the largest value.
///
/// # Panics
/// When it is not.
#[track_caller]
pub fn assert_close(got: &Tensor, want: &Tensor, tolerance: f32) {
    assert_eq!(got.dims(), want.dims());
    let values = |t: &Tensor| t.flatten_all().and_then(|t| t.to_vec1::<f32>()).expect("f32 values");
    let (got, want) = (values(got), values(want));
    let scale = want.iter().fold(0f32, |m, v| m.max(v.abs()));
    let worst = got.iter().zip(&want).fold(0f32, |m, (a, b)| m.max((a - b).abs()));
    assert!(scale > 0.0, "the reference is not all zero");
    assert!(worst <= tolerance * scale, "differs by {worst:e} at a scale of {scale:e}");
    assert!(got.iter().all(|v| v.is_finite()));
}
