//! The tensors of a file, and how their values come from those of a checkpoint.

use super::names;
use super::precision::{Precision, Role};
use super::query::query_factor;
use crate::error::ExportError;
use olive_arch::{Linear, LinearKind, QkNorm, QueryScale, Spec};
use olive_core::Result;
use olive_kernels::quant::ggml::WrittenType;
use olive_model::WeightSource;

/// A tensor on its way into a file.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Matrix {
    pub name: String,
    /// Rows, or 1.
    pub rows: usize,
    /// Values of a row.
    pub columns: usize,
    pub kind: WrittenType,
    pub values: Source,
}

/// Where values come from.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Source {
    /// A tensor of the checkpoint.
    Checkpoint { name: String, change: Change },
    /// These.
    Values(Vec<f32>),
}

/// What is done to values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Change {
    None,
    /// Rows of every head from `[half, pair]` to `[pair, half]`: readers rotate neighbours.
    Interleave {
        heads: usize,
    },
    /// A norm that is stored as an offset from one, as a factor; times another factor.
    PlusOne {
        times: f32,
    },
}

impl Change {
    /// What the rows of a linear layer need.
    pub fn of_linear(kind: LinearKind, spec: &Spec) -> Change {
        let heads = match kind {
            LinearKind::Q => spec.attention.heads,
            LinearKind::K => spec.attention.kv_heads,
            _ => return Change::None,
        };
        if spec.family.gguf.reorders_qk { Change::Interleave { heads } } else { Change::None }
    }
}

impl Matrix {
    /// How many dimensions the file gives it.
    pub fn dimensions(&self) -> Vec<usize> {
        if self.is_vector() { vec![self.columns] } else { vec![self.columns, self.rows] }
    }

    fn is_vector(&self) -> bool {
        self.rows == 0
    }

    /// Rows to write: a vector is one.
    pub fn row_count(&self) -> usize {
        self.rows.max(1)
    }

    pub fn bytes(&self) -> u64 {
        let kind = self.kind.ggml_type();
        (self.row_count() * (self.columns / kind.block_values()) * kind.block_bytes()) as u64
    }

    /// A vector of values that the checkpoint does not have.
    pub fn of_values(name: &str, values: Vec<f32>) -> Matrix {
        Matrix {
            name: name.into(),
            rows: 0,
            columns: values.len(),
            kind: WrittenType::F32,
            values: Source::Values(values),
        }
    }
}

/// Everything that the checkpoint has, in the order in which a reader uses it.
///
/// # Errors
/// A tensor that is missing or has another shape.
pub(super) fn matrices(weights: &dyn WeightSource, spec: &Spec, precision: Precision) -> Result<Vec<Matrix>> {
    let listing = Listing { spec, precision };
    let embedding = if spec.tied { Role::Head } else { Role::Embedding };
    let mut all =
        vec![listing.matrix(Spec::EMBEDDING, embedding, spec.vocab_size, spec.hidden_size, Change::None)?];
    for layer in 0..spec.num_layers() {
        listing.layer(layer, &mut all)?;
    }
    all.push(listing.norm("model.norm.weight", spec.hidden_size)?);
    if !spec.tied {
        all.push(listing.matrix(Spec::HEAD, Role::Head, spec.vocab_size, spec.hidden_size, Change::None)?);
    }
    for matrix in &all {
        if let Source::Checkpoint { name, .. } = &matrix.values {
            match matrix.rows {
                0 => weights.expect_shape(name, &[matrix.columns])?,
                rows => weights.expect_shape(name, &[rows, matrix.columns])?,
            }
        }
    }
    Ok(all)
}

struct Listing<'a> {
    spec: &'a Spec,
    precision: Precision,
}

impl Listing<'_> {
    fn layer(&self, layer: usize, all: &mut Vec<Matrix>) -> Result<(), ExportError> {
        let spec = self.spec;
        let attention = &spec.attention;
        for name in spec.norm_layout.names().into_iter().flatten() {
            let name = format!("model.layers.{layer}.{name}_layernorm.weight");
            all.push(self.norm(&name, spec.hidden_size)?);
        }
        for linear in spec.linears(layer) {
            let Linear { out_features, in_features, .. } = linear;
            let change = Change::of_linear(linear.kind, spec);
            all.push(self.matrix(&linear.weight_name(), Role::Matrix, out_features, in_features, change)?);
            if linear.bias {
                let name = format!("{}.bias", linear.module);
                all.push(self.vector(&name, out_features, change)?);
            }
        }
        for (letter, heads) in [("q", attention.heads), ("k", attention.kv_heads)] {
            let size = match attention.qk_norm {
                None => continue,
                Some(QkNorm::PerHead) => attention.head_dim,
                Some(QkNorm::Full) => heads * attention.head_dim,
            };
            let name = format!("model.layers.{layer}.self_attn.{letter}_norm.weight");
            all.push(self.norm(&name, size)?);
        }
        Ok(())
    }

    fn norm(&self, name: &str, size: usize) -> Result<Matrix, ExportError> {
        let change = match self.spec.norm_plus_one {
            true => Change::PlusOne { times: self.query_factor(name) },
            false => Change::None,
        };
        self.vector(name, size, change)
    }

    /// What of the scale of queries goes into their norm.
    fn query_factor(&self, name: &str) -> f32 {
        let goes_in = matches!(self.spec.family.gguf.query_scale, QueryScale::InNorm { .. });
        if goes_in && name.ends_with("self_attn.q_norm.weight") {
            query_factor(self.spec) as f32
        } else {
            1.0
        }
    }

    fn vector(&self, name: &str, size: usize, change: Change) -> Result<Matrix, ExportError> {
        self.matrix(name, Role::Vector, 0, size, change)
    }

    fn matrix(
        &self,
        name: &str,
        role: Role,
        rows: usize,
        columns: usize,
        change: Change,
    ) -> Result<Matrix, ExportError> {
        let Some(in_file) = names::in_file(name, self.spec) else {
            return Err(ExportError::Tensor { name: name.to_owned() });
        };
        let values = Source::Checkpoint { name: name.to_owned(), change };
        Ok(Matrix { name: in_file, rows, columns, kind: self.precision.of(role, columns), values })
    }
}
