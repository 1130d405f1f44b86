//! Weights by rows, from a checkpoint as it is or with an adapter merged on the way.
//!
//! Whoever exports a model reads through [`WeightSource`], so that "merge, then build" and "build with an adapter"
//! see the same values: a merged row is computed the same way, and rounded to the base's type, wherever it is asked
//! for.

use super::{
    Adapter, Checkpoint, Grouped, ModelError, QuantisedBase,
    adapter::{LoraPair, WholeTensor},
};
use candle_core::DType;
use olive_core::Result;
use olive_kernels::quant::FloatType;
use olive_kernels::{HostMatrix, first_not_finite};
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

/// Reads weights as f32, a few rows at a time.
pub trait WeightSource: Sync {
    /// Type on disk and shape; `None` if there is no such tensor.
    fn describe(&self, name: &str) -> Option<(DType, &[usize])>;

    /// Rows `rows` of a matrix (or elements of a vector) as f32, row-major.
    ///
    /// # Errors
    /// The tensor is not there or not of a float type, or a value is not finite.
    fn read_rows(&self, name: &str, rows: Range<usize>, out: &mut [f32]) -> Result<()>;

    /// Says that the tensor will not be read again soon: its pages need not stay in memory.
    fn release(&self, name: &str);

    /// The codes that a matrix is stored as, if it is stored so and its values are those of the codes.
    fn groups(&self, _name: &str) -> Option<&Grouped> {
        None
    }

    /// A whole tensor as f32.
    ///
    /// # Errors
    /// As [`WeightSource::read_rows`].
    fn read(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        self.expect_shape(name, shape)?;
        let mut out = vec![0.0; shape.iter().product()];
        self.read_rows(name, 0..shape[0], &mut out)?;
        Ok(out)
    }

    /// # Errors
    /// The tensor is not there or has another shape.
    fn expect_shape(&self, name: &str, shape: &[usize]) -> Result<()>;
}

impl WeightSource for Checkpoint {
    fn describe(&self, name: &str) -> Option<(DType, &[usize])> {
        self.get(name).map(|t| (t.dtype, t.shape.as_slice()))
    }

    fn read_rows(&self, name: &str, rows: Range<usize>, out: &mut [f32]) -> Result<()> {
        let tensor = self.tensor(name)?;
        let start = rows.start * row_width(&tensor.shape);
        tensor.read_f32(start..start + out.len(), out)?;
        check_finite(name, start, out)
    }

    fn groups(&self, name: &str) -> Option<&Grouped> {
        self.get(name)?.groups()
    }

    fn release(&self, name: &str) {
        if let Some(tensor) = self.get(name) {
            tensor.release();
        }
    }

    fn expect_shape(&self, name: &str, shape: &[usize]) -> Result<()> {
        self.tensor_of(name, shape).map(|_| ())
    }
}

/// A checkpoint with a LoRA adapter on it: `W + scale · B · A`, with DoRA its rows scaled to their magnitudes, rounded once
/// to W's type.
pub struct MergedCheckpoint {
    base: Checkpoint,
    /// Takes the place of the base's linear layers.
    quantised: Option<QuantisedBase>,
    /// By weight name.
    pairs: BTreeMap<String, LoraPair>,
    /// Weights that take the place of the base's, by name.
    whole: BTreeMap<String, WholeTensor>,
}

impl MergedCheckpoint {
    /// Checks that every module of the adapter has its weight in the base, with the right shape. `tied`: the model
    /// uses its embedding matrix as head. `adapter_dir` is for messages.
    ///
    /// # Errors
    /// A module that is not in the base, shapes that do not fit, an adapted head that is the embedding too.
    pub fn new(
        base: Checkpoint,
        adapter: Adapter,
        tied: bool,
        adapter_dir: &Path,
    ) -> Result<MergedCheckpoint> {
        let refuse = |reason: String| ModelError::Adapter { path: adapter_dir.to_owned(), reason };
        let missing: Vec<&str> = adapter
            .modules
            .keys()
            .filter(|module| base.get(&weight_name(module)).is_none())
            .filter(|module| !(tied && module.as_str() == "lm_head"))
            .map(String::as_str)
            .collect();
        if let Some(first) = missing.first() {
            let more = match missing.len() {
                1 => String::new(),
                n => format!(" (nor {} more of its modules)", n - 1),
            };
            return Err(refuse(format!("the base model has no `{first}.weight`{more}")).into());
        }
        let mut pairs = BTreeMap::new();
        for (module, pair) in adapter.modules {
            let name = weight_name(&module);
            if tied && (module == "lm_head" || name == olive_arch::Spec::EMBEDDING) {
                return Err(refuse(format!(
                    "it changes `{module}`, which this model uses both as embedding and as head"
                ))
                .into());
            }
            base.tensor_of(&name, &[pair.out_features, pair.in_features])
                .map_err(|e| refuse(format!("`{module}` does not fit: {e}")))?;
            pairs.insert(name, pair);
        }
        let mut whole = BTreeMap::new();
        for (module, tensor) in adapter.whole {
            let name = weight_name(&module);
            base.tensor_of(&name, &tensor.shape)
                .map_err(|e| refuse(format!("`{module}` does not fit: {e}")))?;
            if tied && name == olive_arch::Spec::EMBEDDING {
                let what = "which this model uses as its head, too";
                return Err(refuse(format!("it replaces `{module}`, {what}")).into());
            }
            whole.insert(name, tensor);
        }
        Ok(MergedCheckpoint { base, quantised: None, pairs, whole })
    }

    /// Without an adapter.
    pub fn unchanged(base: Checkpoint) -> MergedCheckpoint {
        MergedCheckpoint { base, quantised: None, pairs: BTreeMap::new(), whole: BTreeMap::new() }
    }

    /// The adapter on what 4 bits leave of the linear layers, also of those that it does not change.
    #[must_use]
    pub fn onto(self, quantised: QuantisedBase) -> MergedCheckpoint {
        MergedCheckpoint { quantised: Some(quantised), ..self }
    }

    pub fn base(&self) -> &Checkpoint {
        &self.base
    }

    /// Whether this tensor differs from the base's.
    pub fn changes(&self, name: &str) -> bool {
        self.pairs.contains_key(name) || self.whole.contains_key(name) || self.quantised(name).is_some()
    }

    fn quantised(&self, name: &str) -> Option<&super::FourBitMatrix> {
        self.quantised.as_ref()?.get(name)
    }
}

fn weight_name(module: &str) -> String {
    format!("{module}.weight")
}

impl WeightSource for MergedCheckpoint {
    fn describe(&self, name: &str) -> Option<(DType, &[usize])> {
        self.base.describe(name)
    }

    fn read_rows(&self, name: &str, rows: Range<usize>, out: &mut [f32]) -> Result<()> {
        let base = self.base.tensor(name)?;
        let float = rounded_to(base.dtype);
        let start = rows.start * row_width(&base.shape);
        if let Some(tensor) = self.whole.get(name) {
            out.copy_from_slice(&tensor.values[start..start + out.len()]);
            float.round(out);
        } else if let Some(matrix) = self.quantised(name) {
            matrix.read_f32(start..start + out.len(), out);
        } else {
            self.base.read_rows(name, rows.clone(), out)?;
        }
        match self.pairs.get(name) {
            None => float.round(out),
            Some(pair) => pair.merge_rows(rows, out, float),
        }
        check_finite(name, start, out)
    }

    fn groups(&self, name: &str) -> Option<&Grouped> {
        if self.changes(name) { None } else { self.base.groups(name) }
    }

    fn release(&self, name: &str) {
        self.base.release(name);
        if let Some(matrix) = self.quantised(name) {
            matrix.release();
        }
    }

    fn expect_shape(&self, name: &str, shape: &[usize]) -> Result<()> {
        self.base.expect_shape(name, shape)
    }
}

/// Elements of a row; those of a vector are rows of their own.
fn row_width(shape: &[usize]) -> usize {
    shape.iter().skip(1).product()
}

/// Refuses values of a tensor, from element `start` on, that are no numbers.
fn check_finite(name: &str, start: usize, values: &[f32]) -> Result<()> {
    match first_not_finite(values) {
        None => Ok(()),
        Some(at) => Err(ModelError::NotFinite { name: name.to_owned(), near: start + at }.into()),
    }
}

/// The type that merged values are rounded to: that on disk, where it is one that weights are stored in.
fn rounded_to(dtype: DType) -> FloatType {
    FloatType::of(dtype).unwrap_or(FloatType::F32)
}

/// Rows that are merged together. Requests are served from whole tiles, so that the result of a row does not
/// depend on which rows it was asked for with.
const TILE: usize = 64;

impl LoraPair {
    /// Makes `W + scale · B · A` of the rows `rows` of W, with DoRA their lengths the magnitudes, rounded once.
    pub fn merge_rows(&self, rows: Range<usize>, out: &mut [f32], float: FloatType) {
        let width = self.in_features;
        let mut delta = vec![0.0; TILE * width];
        let mut start = rows.start / TILE * TILE;
        while start < rows.end {
            let end = (start + TILE).min(self.out_features);
            let delta = &mut delta[..(end - start) * width];
            product(&self.b[start * self.rank..end * self.rank], &self.a, self.rank, delta);
            let (from, to) = (start.max(rows.start), end.min(rows.end));
            let target = &mut out[(from - rows.start) * width..(to - rows.start) * width];
            let delta = &delta[(from - start) * width..(to - start) * width];
            match &self.magnitude {
                None => float.add_rounded(target, delta, self.scale as f32),
                Some(magnitude) => {
                    FloatType::F32.add_rounded(target, delta, self.scale as f32);
                    target.chunks_exact_mut(width).zip(&magnitude[from..to]).for_each(|(row, magnitude)| {
                        let norm = row.iter().map(|w| f64::from(*w) * f64::from(*w)).sum::<f64>().sqrt();
                        let factor = magnitude / norm as f32;
                        row.iter_mut().for_each(|w| *w *= factor);
                    });
                    float.round(target);
                }
            }
            start = end;
        }
    }
}

/// `out = b · a` with `b [rows, rank]`, `a [rank, width]`, all row-major, on this thread alone.
fn product(b: &[f32], a: &[f32], rank: usize, out: &mut [f32]) {
    let (rows, width) = (b.len() / rank, a.len() / rank);
    assert_eq!((b.len(), a.len(), out.len()), (rows * rank, rank * width, rows * width));
    #[expect(unsafe_code, reason = "the matrix product takes pointers")]
    // SAFETY: the assertion above gives the three buffers the sizes that these row and column strides reach, and
    // `out` overlaps neither of the others.
    unsafe {
        gemm::gemm(
            rows,
            width,
            rank,
            out.as_mut_ptr(),
            1,
            width as isize,
            false,
            b.as_ptr(),
            1,
            rank as isize,
            a.as_ptr(),
            1,
            width as isize,
            0.0f32,
            1.0f32,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}
