//! A model's linear layers as LoftQ begins with them: in 4 bits, each with a low-rank part of what rounding leaves over.

use super::four_bit::FourBitFormat;
use super::quantised_base::{entries, in_four_bits, sources, write_matrix};
use super::safetensors_file::{Entry, Writer};
use super::{Checkpoint, FourBitMatrix, ModelError, Tensor};
use olive_arch::{Linear, Spec};
use olive_core::Result;
use olive_kernels::quant::loftq::{self, Split};
use olive_kernels::quant::low_rank::LowRank;
use olive_kernels::quant::nf4::Code;
use rayon::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// How a model is split.
pub struct Loftq<'a> {
    /// The layers that get an adapter; the others are rounded only.
    pub targets: &'a [Linear],
    pub rank: usize,
    /// At least 1.
    pub iterations: usize,
}

/// What the adapter begins with.
#[derive(Default)]
pub struct Start {
    /// By module path.
    pub low_rank: BTreeMap<String, LowRank>,
    /// Norm of all the adapted layers' rounding errors together, relative to that of rounding without an adapter.
    pub error: f64,
}

/// Weights that are worked on at the same time, at most, unless a single matrix has more.
const AT_ONCE: usize = 1 << 25;

impl Loftq<'_> {
    pub const FORMAT: FourBitFormat = FourBitFormat { quant_type: Code::Nf4, double_quant: false };

    /// Splits the layers, several at a time, and writes the 4-bit part of each to `file`, as [`super::QuantisedBase::open`]
    /// reads it. `done` is told the number of finished matrices and may stop the work.
    ///
    /// # Errors
    /// A missing or misshapen tensor, values that are not finite, an error of `done`, or the file cannot be written.
    pub fn write(
        &self,
        spec: &Spec,
        checkpoint: &Checkpoint,
        file: &Path,
        mut done: impl FnMut(usize) -> Result<()>,
    ) -> Result<Start> {
        let targets: BTreeSet<&str> = self.targets.iter().map(|linear| linear.module.as_str()).collect();
        let tensors = sources(spec, checkpoint)?;
        let header: Vec<Entry> = tensors.iter().flat_map(|tensor| entries(tensor, Self::FORMAT)).collect();
        let mut writer = Writer::create(file, &header)?;
        let mut low_rank = BTreeMap::new();
        let (mut plain, mut left, mut finished) = (0.0, 0.0, 0);
        for group in groups(&tensors) {
            let parts = group
                .par_iter()
                .map(|tensor| {
                    let module = tensor.name.strip_suffix(".weight").unwrap_or(&tensor.name);
                    if !targets.contains(module) {
                        return Ok((in_four_bits(tensor, Self::FORMAT)?, None));
                    }
                    let Split { quantised, low_rank, plain_error } = self.split(tensor)?;
                    let shape = [tensor.shape[0], tensor.shape[1]];
                    let matrix = FourBitMatrix::new(quantised, shape, Self::FORMAT);
                    Ok((matrix, Some((module, low_rank, plain_error))))
                })
                .collect::<Result<Vec<_>>>()?;
            for (tensor, (matrix, adapter)) in group.iter().zip(parts) {
                tensor.release();
                write_matrix(&matrix, tensor.dtype, &mut writer)?;
                if let Some((module, start, plain_error)) = adapter {
                    plain += plain_error;
                    left += start.error;
                    low_rank.insert(module.to_owned(), start);
                }
                finished += 1;
                done(finished)?;
            }
        }
        writer.finish()?;
        Ok(Start { low_rank, error: if plain > 0.0 { (left / plain).sqrt() } else { 0.0 } })
    }

    fn split(&self, tensor: &Tensor) -> Result<Split> {
        let weights = tensor.to_f32()?;
        let shape = [tensor.shape[0], tensor.shape[1]];
        loftq::split(&weights, shape, self.rank, self.iterations)
            .map_err(|at| ModelError::NotFinite { name: tensor.name.clone(), near: at.near }.into())
    }
}

/// Cuts the tensors into runs of at most [`AT_ONCE`] weights; a larger tensor has a run of its own.
fn groups<'a, 'b>(tensors: &'b [&'a Tensor]) -> Vec<&'b [&'a Tensor]> {
    let mut groups = Vec::new();
    let (mut start, mut size) = (0, 0);
    for (i, tensor) in tensors.iter().enumerate() {
        let count = tensor.element_count();
        if size + count > AT_ONCE && i > start {
            groups.push(&tensors[start..i]);
            (start, size) = (i, 0);
        }
        size += count;
    }
    groups.push(&tensors[start..]);
    groups
}
