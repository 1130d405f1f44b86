//! A matrix as codes, and its values.

use super::ModelError;
use super::column_order::ColumnOrder;
use super::mapped_tensor::{MappedTensor, read_floats};
use super::quantisation::ModuleSettings;
use candle_core::DType;
use olive_core::Result;
use olive_kernels::quant::packing::{Packing, pack, place_codes, place_sorted};
use olive_kernels::quant::{FloatType, Scheme};
use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

/// A matrix `[rows, cols]` as codes with a scale, and a zero point where it is not symmetric, per group of a row.
#[derive(Clone)]
pub struct Grouped {
    pub settings: ModuleSettings,
    shape: [usize; 2],
    packing: Packing,
    codes: MappedTensor,
    /// Of a float type.
    scales: MappedTensor,
    zeros: Option<MappedTensor>,
    order: Option<Arc<ColumnOrder>>,
}

/// The tensors of a [`Grouped`], as a file has them.
pub(crate) struct Parts {
    pub(crate) packing: Packing,
    pub(crate) codes: MappedTensor,
    pub(crate) scales: MappedTensor,
    pub(crate) zeros: Option<MappedTensor>,
    /// I32, `[cols]`: the group of every column, where that is not those before it divided by the size.
    pub(crate) group_of: Option<MappedTensor>,
}

/// Codes that are unpacked at a time.
const RUN: usize = 256;

impl Grouped {
    /// # Errors
    /// Why the tensors do not fit each other.
    pub(crate) fn new(settings: ModuleSettings, parts: Parts) -> Result<Grouped, String> {
        let Parts { packing, codes, scales, zeros, group_of } = parts;
        let bits = usize::from(settings.bits);
        let &[first, second] = codes.shape.as_slice() else {
            return Err(format!("codes of the shape {:?} are no matrix", codes.shape));
        };
        let shape = packing.matrix(bits, [first, second]).ok_or("its rows are too long")?;
        let [rows, cols] = shape;
        rows.checked_mul(cols).and_then(|n| n.checked_mul(4)).ok_or("it is too large")?;
        let group = settings.group.unwrap_or(cols.max(1));
        if !cols.is_multiple_of(group) {
            return Err(format!("rows of {cols} weights are no groups of {group}"));
        }
        let groups = cols / group;
        let order = group_of.map(|group_of| ColumnOrder::read(&group_of, cols, group)).transpose()?.flatten();
        let grouped = Grouped { settings, shape, packing, codes, scales, zeros, order: order.map(Arc::new) };
        grouped.check(groups)?;
        Ok(grouped)
    }

    pub fn shape(&self) -> [usize; 2] {
        self.shape
    }

    /// How the codes are to be read.
    pub fn scheme(&self) -> Scheme {
        let float = FloatType::of(self.scales.dtype).expect("checked when it was opened");
        self.settings.scheme(float)
    }

    /// Scales of a row.
    pub fn groups(&self) -> usize {
        match self.packing {
            Packing::Rows => self.scales.shape[1],
            Packing::Words { .. } | Packing::Interleaved => self.scales.shape[0],
        }
    }

    /// The columns in the order that has the groups one after the other, where that is not their own. Codes are given in
    /// that order, values in their own.
    pub fn order(&self) -> Option<&[u32]> {
        self.order.as_deref().map(ColumnOrder::columns)
    }

    /// The tensors of the file: codes, scales, zero points.
    pub fn tensors(&self) -> impl Iterator<Item = &MappedTensor> {
        [&self.codes, &self.scales].into_iter().chain(&self.zeros)
    }

    /// Codes of some rows, packed row by row.
    pub fn code_bytes(&self, rows: Range<usize>) -> Cow<'_, [u8]> {
        if self.packing == Packing::Rows && self.order.is_none() {
            return Cow::Borrowed(row_bytes(&self.codes, rows));
        }
        let [_, cols] = self.shape;
        let (mut codes, mut sorted) = (vec![0; cols], vec![0; cols]);
        let mut packed = Vec::with_capacity(rows.len() * cols * usize::from(self.settings.bits) / 8);
        for row in rows {
            self.unpack(row, 0..cols, &mut codes);
            if let Some(order) = &self.order {
                order.sort(&codes, &mut sorted);
                std::mem::swap(&mut codes, &mut sorted);
            }
            packed.extend(pack(&codes, cols, self.settings.bits));
        }
        Cow::Owned(packed)
    }

    /// Zero points of some rows, packed row by row; `None`: they are in the middle.
    pub fn zero_bytes(&self, rows: Range<usize>) -> Option<Cow<'_, [u8]>> {
        let zeros = self.zeros.as_ref()?;
        if self.packing == Packing::Rows {
            return Some(Cow::Borrowed(row_bytes(zeros, rows)));
        }
        let groups = self.groups();
        let of_row = |row| (0..groups).map(move |group| self.zero(row, group));
        let unpacked: Vec<u8> = rows.flat_map(of_row).collect();
        Some(Cow::Owned(pack(&unpacked, groups, self.settings.bits)))
    }

    /// Scales of some rows, `[rows, groups]`.
    ///
    /// # Errors
    /// One is not finite.
    pub fn read_scales(&self, rows: Range<usize>) -> Result<Vec<f32>> {
        let groups = self.groups();
        let mut scales = vec![0.0; rows.len() * groups];
        if self.packing == Packing::Rows {
            self.floats(rows.start * groups..rows.end * groups, &mut scales)?;
        } else {
            let mut column = vec![0.0; rows.len()];
            for group in 0..groups {
                let start = group * self.shape[0];
                self.floats(start + rows.start..start + rows.end, &mut column)?;
                for (row, scale) in column.iter().enumerate() {
                    scales[row * groups + group] = *scale;
                }
            }
        }
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

    fn unpack(&self, row: usize, cols: Range<usize>, out: &mut [u8]) {
        let bits = usize::from(self.settings.bits);
        self.packing.codes(bits, self.codes.bytes(), self.shape, row, cols, out);
    }

    fn zero(&self, row: usize, group: usize) -> u8 {
        let bits = usize::from(self.settings.bits);
        match &self.zeros {
            None => 1 << (bits - 1),
            Some(zeros) => self.packing.zero(bits, zeros.bytes(), [self.shape[0], self.groups()], row, group),
        }
    }

    /// Scale and zero point of a group of a row.
    fn grid(&self, row: usize, group: usize) -> [f32; 2] {
        let at = self.packing.scale([self.shape[0], self.groups()], row, group);
        let mut scale = [0.0];
        // A float type, as was checked.
        let _ = self.floats(at..at + 1, &mut scale);
        [scale[0], f32::from(self.zero(row, group))]
    }

    /// The values of elements `range`, counted row by row.
    pub(crate) fn decode(&self, range: Range<usize>, out: &mut [f32]) {
        let [_, cols] = self.shape;
        let mut codes = [0; RUN];
        let mut grids = Vec::new();
        let mut known = None;
        let (mut start, mut out) = (range.start, out);
        while start < range.end {
            let (row, col) = (start / cols, start % cols);
            let count = RUN.min(cols - col).min(range.end - start);
            let (now, later) = out.split_at_mut(count);
            let codes = &mut codes[..count];
            self.unpack(row, col..col + count, codes);
            match &self.order {
                None => self.place_groups(row, col, codes, now),
                Some(order) => {
                    if known != Some(row) {
                        grids.clear();
                        grids.extend((0..self.groups()).map(|group| self.grid(row, group)));
                        known = Some(row);
                    }
                    place_sorted(codes, &order.group_of()[col..col + count], &grids, now);
                }
            }
            (start, out) = (start + count, later);
        }
    }

    /// The values of codes that begin with column `col`, groups being neighbours.
    fn place_groups(&self, row: usize, col: usize, codes: &[u8], out: &mut [f32]) {
        let group = self.settings.group.unwrap_or(self.shape[1]);
        let mut done = 0;
        while done < codes.len() {
            let place = (col + done) / group;
            let end = ((place + 1) * group - col).min(codes.len());
            place_codes(&codes[done..end], self.grid(row, place), &mut out[done..end]);
            done = end;
        }
    }

    /// Whether the tensors fit each other.
    fn check(&self, groups: usize) -> Result<(), String> {
        let bits = usize::from(self.settings.bits);
        let [rows, cols] = self.shape;
        let no_words = || format!("{rows} rows of {cols} codes do not fill their words");
        let [codes, zeros, scales] = self.packing.shapes(bits, self.shape, groups).ok_or_else(no_words)?;
        let dtype = if self.packing == Packing::Rows { DType::U8 } else { DType::I32 };
        if self.codes.dtype != dtype || self.codes.shape != codes {
            let found = (self.codes.dtype.as_str(), &self.codes.shape);
            return Err(format!("codes are of type {} and of the shape {:?}", found.0, found.1));
        }
        if self.scales.shape != scales {
            return Err(format!("{:?} scales for {rows} rows of {groups} groups", self.scales.shape));
        }
        if FloatType::of(self.scales.dtype).is_none() {
            return Err(format!("scales are of type {}", self.scales.dtype.as_str()));
        }
        match &self.zeros {
            None if !self.settings.symmetric => {
                Err("there are no zero points (`.qzeros`), and it is not symmetric".into())
            }
            Some(found) if found.dtype != dtype || found.shape != zeros => {
                Err(format!("zero points of the shape {:?} for {rows} rows of {groups} groups", found.shape))
            }
            _ => Ok(()),
        }
    }
}

fn row_bytes(tensor: &MappedTensor, rows: Range<usize>) -> &[u8] {
    let width = tensor.shape[1];
    &tensor.bytes()[rows.start * width..rows.end * width]
}
