//! A matrix of 8-bit floats, E4M3 without infinities, each block of which has a scale.

use super::mapped_tensor::{MappedTensor, StoredMatrix, read_floats};
use candle_core::DType;
use olive_kernels::{Decode, first_not_finite};
use std::ops::Range;

/// `[rows, cols]`; a value is the number times the scale of its block, in f32.
pub(crate) struct Scaled {
    shape: [usize; 2],
    block: [usize; 2],
    numbers: MappedTensor,
    /// Row by row, blocks of a row first.
    scales: Vec<f32>,
}

/// The value of every byte; NaN for the two that are none.
static VALUES: [f32; 256] = values();

const fn values() -> [f32; 256] {
    let mut values = [0.0; 256];
    let mut byte = 0;
    while byte < 256 {
        let (exponent, fraction) = ((byte >> 3 & 15) as u32, (byte & 7) as u32);
        let magnitude = if exponent == 15 && fraction == 7 {
            f32::NAN
        } else if exponent == 0 {
            fraction as f32 / 512.0
        } else {
            f32::from_bits((exponent + 120) << 23 | fraction << 20)
        };
        values[byte] = if byte >= 128 { -magnitude } else { magnitude };
        byte += 1;
    }
    values
}

impl Scaled {
    /// Scales are one per block of the shape `block`, where that is stated, else one per row, or one.
    ///
    /// # Errors
    /// Why the tensors do not fit each other.
    pub(crate) fn new(
        numbers: MappedTensor,
        scales: &MappedTensor,
        block: Option<[usize; 2]>,
    ) -> Result<Scaled, String> {
        let &[rows, cols] = numbers.shape.as_slice() else {
            return Err(format!("numbers of the shape {:?} are no matrix", numbers.shape));
        };
        let of_blocks = |[height, width]: [usize; 2]| [rows.div_ceil(height), cols.div_ceil(width)];
        let block = match (block, scales.shape.as_slice()) {
            (Some(block), shape) if shape == of_blocks(block) => block,
            (_, [] | [1] | [1, 1]) => [rows.max(1), cols.max(1)],
            (_, &[count] | &[count, 1]) if count == rows => [1, cols.max(1)],
            (Some([height, width]), shape) => {
                return Err(format!(
                    "{shape:?} scales for blocks of {height} by {width} of {rows} by {cols}"
                ));
            }
            (None, shape) => return Err(format!("{shape:?} scales for {rows} rows, and no size of blocks")),
        };
        let mut values = vec![0.0; scales.shape.iter().product()];
        read_floats(scales.dtype, scales.bytes(), &mut values, &scales.name).map_err(|e| e.to_string())?;
        match first_not_finite(&values) {
            None => Ok(Scaled { shape: [rows, cols], block, numbers, scales: values }),
            Some(near) => {
                Err(format!("tensor `{}` holds values that are not finite, near element {near}", scales.name))
            }
        }
    }

    /// Whether a tensor is of the type that this reads.
    pub(crate) fn reads(dtype: DType) -> bool {
        dtype == DType::F8E4M3
    }
}

impl Decode for Scaled {
    fn decode(&self, range: Range<usize>, out: &mut [f32]) {
        let ([_, cols], [height, width]) = (self.shape, self.block);
        let per_row = cols.div_ceil(width);
        let (mut start, mut out) = (range.start, out);
        while start < range.end {
            let (row, col) = (start / cols, start % cols);
            let end = ((col / width + 1) * width).min(cols).min(col + range.end - start);
            let (now, later) = out.split_at_mut(end - col);
            let scale = self.scales[row / height * per_row + col / width];
            for (value, byte) in now.iter_mut().zip(&self.numbers.bytes()[start..]) {
                *value = VALUES[usize::from(*byte)] * scale;
            }
            (start, out) = (start + end - col, later);
        }
    }
}

impl StoredMatrix for Scaled {
    fn shape(&self) -> [usize; 2] {
        self.shape
    }

    fn tensors(&self) -> Vec<&MappedTensor> {
        vec![&self.numbers]
    }
}
