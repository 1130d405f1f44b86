//! A matrix as codes, and its values.

use super::ModelError;
use super::mapped_tensor::{MappedTensor, read_floats};
use super::quantisation::ModuleSettings;
use candle_core::DType;
use olive_core::Result;
use olive_kernels::quant::Scheme;
use std::ops::Range;

pub(crate) const CODES: &str = ".qweight";
pub(crate) const SCALES: &str = ".scales";
pub(crate) const ZEROS: &str = ".qzeros";

/// A matrix `[rows, cols]` as codes with a scale, and a zero point where it is not symmetric, per group of a row.
#[derive(Clone)]
pub struct Grouped {
    pub settings: ModuleSettings,
    /// U8, `[rows, cols · bits / 8]`.
    codes: MappedTensor,
    /// Of a float type, `[rows, groups]`.
    scales: MappedTensor,
    /// U8, `[rows, ceil(groups · bits / 8)]`.
    zeros: Option<MappedTensor>,
}

impl Grouped {
    /// # Errors
    /// Why the tensors do not fit each other.
    pub(crate) fn new(
        settings: ModuleSettings,
        codes: MappedTensor,
        scales: MappedTensor,
        zeros: Option<MappedTensor>,
    ) -> Result<Grouped, String> {
        let grouped = Grouped { settings, codes, scales, zeros };
        grouped.check()?;
        Ok(grouped)
    }

    pub fn shape(&self) -> [usize; 2] {
        [self.codes.shape[0], self.codes.shape[1] * 8 / usize::from(self.settings.bits)]
    }

    /// How the codes are to be read.
    pub fn scheme(&self) -> Scheme {
        let float =
            olive_kernels::quant::FloatType::of(self.scales.dtype).expect("checked when it was opened");
        self.settings.scheme(float)
    }

    pub fn groups(&self) -> usize {
        self.scales.shape[1]
    }

    /// The tensors of the file: codes, scales, zero points.
    pub fn tensors(&self) -> impl Iterator<Item = &MappedTensor> {
        [&self.codes, &self.scales].into_iter().chain(&self.zeros)
    }

    /// Packed codes of some rows.
    pub fn code_bytes(&self, rows: Range<usize>) -> &[u8] {
        row_bytes(&self.codes, rows)
    }

    /// Packed zero points of some rows; `None`: they are in the middle.
    pub fn zero_bytes(&self, rows: Range<usize>) -> Option<&[u8]> {
        self.zeros.as_ref().map(|zeros| row_bytes(zeros, rows))
    }

    /// Scales of some rows, `[rows, groups]`.
    ///
    /// # Errors
    /// One is not finite.
    pub fn read_scales(&self, rows: Range<usize>) -> Result<Vec<f32>> {
        let mut scales = vec![0.0; rows.len() * self.groups()];
        self.floats(rows.start * self.groups()..rows.end * self.groups(), &mut scales)?;
        match olive_kernels::first_not_finite(&scales) {
            None => Ok(scales),
            Some(near) => Err(ModelError::NotFinite { name: self.scales.name.clone(), near }.into()),
        }
    }

    fn floats(&self, range: Range<usize>, out: &mut [f32]) -> Result<()> {
        let size = self.scales.dtype.size_in_bytes();
        let bytes = &self.scales.bytes()[range.start * size..range.end * size];
        read_floats(self.scales.dtype, bytes, out, &self.scales.name)
    }

    /// The values of elements `range`, counted row by row.
    pub(crate) fn decode(&self, range: Range<usize>, out: &mut [f32]) {
        let [_, cols] = self.shape();
        let (bits, groups) = (usize::from(self.settings.bits), self.groups());
        let group = self.settings.group.unwrap_or(cols);
        let (codes, mask) = (self.codes.bytes(), ((1u16 << bits) - 1) as u8);
        let at = |bytes: &[u8], width: usize, row: usize, index: usize| {
            let bit = index * bits;
            bytes[row * width + bit / 8] >> (bit % 8) & mask
        };
        let mut start = range.start;
        while start < range.end {
            let (row, col) = (start / cols, start % cols);
            let place = col / group;
            let end = (start - col + ((place + 1) * group).min(cols)).min(range.end);
            let mut scale = [0.0];
            // A float type, as was checked.
            let _ = self.floats(row * groups + place..row * groups + place + 1, &mut scale);
            let zero = match &self.zeros {
                None => 1 << (bits - 1),
                Some(zeros) => at(zeros.bytes(), zeros.shape[1], row, place),
            };
            let zero = f32::from(zero);
            for (offset, value) in out[start - range.start..end - range.start].iter_mut().enumerate() {
                let code = at(codes, self.codes.shape[1], row, col + offset);
                *value = (f32::from(code) - zero) * scale[0];
            }
            start = end;
        }
    }
}

fn row_bytes(tensor: &MappedTensor, rows: Range<usize>) -> &[u8] {
    let width = tensor.shape[1];
    &tensor.bytes()[rows.start * width..rows.end * width]
}

impl Grouped {
    /// Whether the tensors fit each other.
    fn check(&self) -> Result<(), String> {
        let bits = usize::from(self.settings.bits);
        let &[rows, width] = self.codes.shape.as_slice() else {
            return Err(format!("codes of the shape {:?} are no matrix", self.codes.shape));
        };
        let cols = width.checked_mul(8).ok_or("its rows are too long")? / bits;
        rows.checked_mul(cols).and_then(|n| n.checked_mul(4)).ok_or("it is too large")?;
        let group = self.settings.group.unwrap_or(cols.max(1));
        if !cols.is_multiple_of(group) {
            return Err(format!("rows of {cols} weights are no groups of {group}"));
        }
        let groups = cols / group;
        if self.scales.shape != [rows, groups] {
            return Err(format!("{:?} scales for {rows} rows of {groups} groups", self.scales.shape));
        }
        if olive_kernels::quant::FloatType::of(self.scales.dtype).is_none() {
            return Err(format!("scales are of type {}", self.scales.dtype.as_str()));
        }
        match &self.zeros {
            None if !self.settings.symmetric => {
                Err(format!("there are no zero points (`{ZEROS}`), and it is not symmetric"))
            }
            Some(zeros) if zeros.dtype != DType::U8 || zeros.shape != [rows, (groups * bits).div_ceil(8)] => {
                Err(format!("zero points of the shape {:?} for {rows} rows of {groups} groups", zeros.shape))
            }
            _ => Ok(()),
        }
    }
}
