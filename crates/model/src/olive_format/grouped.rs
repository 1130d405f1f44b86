//! A matrix as codes, and its values.

use super::settings::{ModuleSettings, QuantisationSettings};
use crate::ModelError;
use crate::checkpoint::Tensor;
use crate::stored_file::read_json;
use candle_core::DType;
use olive_core::Result;
use olive_kernels::quant::Scheme;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

const CODES: &str = ".qweight";
const SCALES: &str = ".scales";
const ZEROS: &str = ".qzeros";

/// A matrix `[rows, cols]` as codes with a scale, and a zero point where it is not symmetric, per group of a row.
#[derive(Clone)]
pub struct Grouped {
    pub settings: ModuleSettings,
    /// U8, `[rows, cols · bits / 8]`.
    codes: Tensor,
    /// Of a float type, `[rows, groups]`.
    scales: Tensor,
    /// U8, `[rows, ceil(groups · bits / 8)]`.
    zeros: Option<Tensor>,
}

impl Grouped {
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
    pub fn tensors(&self) -> impl Iterator<Item = &Tensor> {
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
        self.scales.read_f32(rows.start * self.groups()..rows.end * self.groups(), &mut scales)?;
        match olive_kernels::first_not_finite(&scales) {
            None => Ok(scales),
            Some(near) => Err(ModelError::NotFinite { name: self.scales.name.clone(), near }.into()),
        }
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
            let _ = self.scales.read_f32(row * groups + place..row * groups + place + 1, &mut scale);
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

fn row_bytes(tensor: &Tensor, rows: Range<usize>) -> &[u8] {
    let width = tensor.shape[1];
    &tensor.bytes()[rows.start * width..rows.end * width]
}

/// Puts matrices, by the names of their weights, in the place of the tensors that they are stored as.
///
/// # Errors
/// A statement or tensors that contradict each other.
pub(crate) fn fold(dir: &Path, tensors: &mut BTreeMap<String, Tensor>) -> Result<()> {
    let is_codes = |(name, tensor): (&String, &Tensor)| {
        (tensor.dtype == DType::U8).then(|| name.strip_suffix(CODES).map(str::to_owned)).flatten()
    };
    let modules: Vec<String> = tensors.iter().filter_map(is_codes).collect();
    if modules.is_empty() {
        return Ok(());
    }
    let config = read_json(&dir.join("config.json"))?.unwrap_or_default();
    let Some(settings) = QuantisationSettings::of(dir, &config)? else { return Ok(()) };
    for module in modules {
        let mut take = |suffix: &str| tensors.remove(&format!("{module}{suffix}"));
        let (codes, scales, zeros) = (take(CODES), take(SCALES), take(ZEROS));
        let refuse = |reason: String| ModelError::Quantisation { path: dir.to_owned(), reason };
        let (Some(codes), Some(scales)) = (codes, scales) else {
            return Err(refuse(format!("`{module}{CODES}` has no `{module}{SCALES}` beside it")).into());
        };
        let grouped = Grouped { settings: settings.of_module(&module), codes, scales, zeros };
        grouped.check().map_err(|reason| refuse(format!("`{module}`: {reason}")))?;
        let name = format!("{module}.weight");
        let tensor = Tensor::of_groups(&name, grouped);
        if tensors.insert(name, tensor).is_some() {
            return Err(refuse(format!("`{module}` is there in float and quantised")).into());
        }
    }
    Ok(())
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
