//! What the formats of quantised weights have in common, for whoever writes a model file.

use super::block_format::BlockFormat;
use super::quantised_rows::QuantisedRows;
use crate::float_type::FloatType;
use std::fmt::Debug;

/// How a linear layer's weight or a table, `[rows, cols]`, is stored in a model file.
///
/// A format is a type that says which parts a matrix becomes and what their bytes are; the writer knows formats by this
/// trait alone.
pub trait WeightFormat: Debug + Send + Sync {
    /// The tensors that a matrix `[rows, cols]` becomes, in the order in which the file has them.
    fn parts(&self, shape: [usize; 2]) -> Vec<Part>;

    /// Name of a part of the weight `weight`.
    fn part_name(&self, weight: &str, part: PartKind) -> String;

    /// Whether [`PartKind::ZeroPoints`] is among the parts.
    fn has_zero_points(&self) -> bool;

    /// Quantises rows of `cols` elements each, replacing what `out` holds. The values are rounded to the float type in
    /// place first.
    fn quantise(&self, rows: &mut [f32], cols: usize, out: &mut QuantisedRows);

    /// The values that the operator sees for row `row` of some rows of `out.len()` elements.
    fn decode_row(&self, rows: &QuantisedRows, row: usize, out: &mut [f32]);

    fn arrangement(&self) -> Arrangement<'_>;

    /// The format of the blocks, where codes may be chosen by data instead of by [`WeightFormat::quantise`].
    fn block_format(&self) -> Option<BlockFormat>;
}

/// How the elements of a matrix follow each other in its parts.
pub enum Arrangement<'a> {
    /// Row by row, each in whole bytes: rows are written independently, as they were quantised.
    ByRow,
    /// Column by column, so that a byte may hold codes of two rows: the parts are written when all rows are there.
    ByColumn(&'a dyn ByColumn),
}

/// A format whose parts are put together from all rows.
pub trait ByColumn {
    /// Parts of a matrix `[rows, cols]`, all zero.
    fn zeros(&self, shape: [usize; 2]) -> QuantisedRows;

    /// Puts `count` rows, from row `first` of the matrix on, where they belong in parts that are zero there.
    fn put(
        &self,
        rows: &QuantisedRows,
        first: usize,
        count: usize,
        shape: [usize; 2],
        whole: &mut QuantisedRows,
    );
}

/// One of the tensors that a matrix becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    pub kind: PartKind,
    pub element: ElementType,
    pub dims: Vec<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartKind {
    Codes,
    Scales,
    ZeroPoints,
}

/// What a part holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ElementType {
    Float(FloatType),
    /// A byte: a code, or several.
    U8,
    /// Two in a byte, the first in the low half.
    U4,
    /// As [`ElementType::U4`], in two's complement.
    I4,
}

impl ElementType {
    pub fn bits(self) -> usize {
        match self {
            ElementType::Float(float) => 8 * float.size(),
            ElementType::U8 => 8,
            ElementType::U4 | ElementType::I4 => 4,
        }
    }
}

impl Part {
    pub fn bytes(&self) -> usize {
        (self.dims.iter().product::<usize>() * self.element.bits()).div_ceil(8)
    }

    /// Where row `row` begins, in bytes, if the rows before it fill whole bytes.
    pub fn row_offset(&self, row: usize) -> usize {
        row * self.dims[1..].iter().product::<usize>() * self.element.bits() / 8
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quant::{Algorithm, DequantizeLinearFormat, Rounding, TableFormat};

    fn formats() -> Vec<Box<dyn WeightFormat>> {
        let mut formats: Vec<Box<dyn WeightFormat>> = Vec::new();
        let float = FloatType::F32;
        for symmetric in [true, false] {
            for algorithm in [Algorithm::Default, Algorithm::Rtn, Algorithm::KQuant] {
                for bits in [4, 8] {
                    let rounding = Rounding::HalvesUp;
                    formats.push(Box::new(BlockFormat {
                        algorithm,
                        bits,
                        block_size: 32,
                        symmetric,
                        rounding,
                        float,
                    }));
                }
            }
            formats.push(Box::new(TableFormat { block_size: 32, symmetric, float }));
            let rounding = Rounding::HalvesAway;
            formats.push(Box::new(DequantizeLinearFormat::new(BlockFormat {
                algorithm: Algorithm::Default,
                bits: 4,
                block_size: 32,
                symmetric,
                rounding,
                float,
            })));
        }
        formats
    }

    #[test]
    fn every_format_gives_back_what_it_was_given_and_fills_its_parts() {
        let (rows, cols) = (6, 80);
        let values: Vec<f32> = (0..rows * cols).map(|i| ((i * 37) as f32).sin()).collect();
        for format in formats() {
            let mut quantised = QuantisedRows::default();
            format.quantise(&mut values.clone(), cols, &mut quantised);
            let mut decoded = vec![0.0; cols];
            for (row, values) in values.chunks_exact(cols).enumerate() {
                format.decode_row(&quantised, row, &mut decoded);
                for (i, (value, decoded)) in values.iter().zip(&decoded).enumerate() {
                    // The default method cuts the end of the range that is opposite to the extreme.
                    let allowed = quantised.scales[row * cols.div_ceil(32) + i / 32].abs() * 1.01;
                    assert!(
                        (value - decoded).abs() <= allowed,
                        "{format:?} [{row}, {i}]: {value} became {decoded}"
                    );
                }
            }
            let whole = match format.arrangement() {
                Arrangement::ByRow => quantised,
                Arrangement::ByColumn(columns) => {
                    let mut whole = columns.zeros([rows, cols]);
                    columns.put(&quantised, 0, rows, [rows, cols], &mut whole);
                    whole
                }
            };
            let parts = format.parts([rows, cols]);
            for part in &parts {
                let held = match part.kind {
                    PartKind::Codes => whole.codes.len(),
                    PartKind::Scales => 4 * whole.scales.len(),
                    PartKind::ZeroPoints => whole.zero_points.len(),
                };
                assert_eq!(part.bytes(), held, "{format:?} {part:?}");
            }
            assert_eq!(parts.iter().any(|p| p.kind == PartKind::ZeroPoints), format.has_zero_points());
        }
    }
}
