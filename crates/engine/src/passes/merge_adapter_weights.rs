//! The `MergeAdapterWeights` pass: a model and an adapter to a model with `W + scale · B · A` in place of `W`.
//!
//! Streamed: the base is mapped, a merged tensor lives in memory in pieces of some megabytes, everything else is
//! copied from file to file. The type of every tensor stays as it is.

use super::pass::{Mismatch, Pass, RunContext};
use super::{merge_error, quantised_base};
use crate::cache::KeyHasher;
use candle_core::DType;
use olive_config::option::Block;
use olive_config::{ConfiguredPass, PASS, PassDefinition, PassOptions, choice, options};
use olive_core::Result;
use olive_core::event::Event;
use olive_core::handle::{ModelHandle, ModelKind};
use olive_kernels::quant::FloatType;
use olive_model::safetensors_file::{Entry, ModelFiles, Writer};
use olive_model::{
    Adapter, BaseFormat, MergedCheckpoint, ModelError, ModelFolder, QuantisedBase, Tensor, WeightSource,
};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::Arc;

options! {
    #[derive(Debug, Clone, PartialEq, Serialize, Default)]
    pub struct MergeOptions {
        MERGE_OPTIONS {
            /// What an adapter of QLoRA is added to: the base model as it is, or the 4-bit weights that it was trained on;
            /// null is `float`, and `quantised` for an adapter of LoftQ, which admits nothing else.
            pub base_weights: Option<BaseWeights>;
        }
    }
}

/// What an adapter is added to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BaseWeights {
    /// The base model as it is.
    Float,
    /// What QLoRA's or LoftQ's 4 bits leave of it, which is what the adapter was trained on.
    Quantised,
}

choice!(BaseWeights: "float", "quantised|quantized");

static BLOCK: Block = Block {
    name: "MergeAdapterWeights",
    doc: "Adds an adapter to the weights of its base model.",
    wrapper: Some("config"),
    outer: PASS,
    parts: &[MERGE_OPTIONS],
    open: None,
};

pub static MERGE: PassDefinition<dyn Pass> = PassDefinition {
    block: &BLOCK,
    page: "merge_adapter_weights.md",
    example: "\"merge\": {\"type\": \"MergeAdapterWeights\"}",
    gives: ModelKind::Hf,
    read: |_, values, _, _| {
        Some((Arc::new(MergePass { options: MergeOptions::read(&values)? }), values.resolved("")))
    },
};

#[derive(Debug, Clone)]
pub struct MergePass {
    pub options: MergeOptions,
}

impl ConfiguredPass for MergePass {
    fn name(&self) -> &'static str {
        "MergeAdapterWeights"
    }

    fn options(&self) -> &dyn PassOptions {
        &self.options
    }

    fn output(&self, input: ModelKind) -> Result<ModelKind, String> {
        match input {
            ModelKind::HfWithAdapter => Ok(ModelKind::Hf),
            ModelKind::Hf | ModelKind::HfWithNote => {
                Err("there is no adapter to merge; a pass that trains, such as LoRA, makes one".into())
            }
            ModelKind::Onnx => Err("an ONNX model has no adapter to merge".into()),
        }
    }
}

impl Pass for MergePass {
    fn version(&self) -> u32 {
        2
    }

    fn check_input(&self, model: Option<&ModelHandle>) -> Result<()> {
        if let Some(ModelHandle::HfWithAdapter { base, adapter }) = model {
            open_merged(&ModelFolder::open(base)?, adapter)?;
        }
        Ok(())
    }

    fn key(&self, hasher: &mut KeyHasher) -> Result<()> {
        hasher.field("options", &self.options);
        Ok(())
    }

    fn run(&self, input: &ModelHandle, dir: &Path, context: &RunContext) -> Result<ModelHandle> {
        let ModelHandle::HfWithAdapter { base, adapter } = input else {
            unreachable!("`output_kind` refuses models without an adapter before anything runs")
        };
        let folder = ModelFolder::open(base)?.with_adapter(adapter);
        let quantised = self.quantised(&folder, adapter, context)?;
        let base_weights = self.base_weights(adapter)?;
        let mut merged = open_merged(&folder, adapter)?;
        if let (BaseWeights::Quantised, Some(quantised)) = (base_weights, &quantised) {
            merged = merged.onto(quantised.clone());
        }
        write_checkpoint(&merged, dir, context)?;
        drop(merged);
        folder.copy_side_files(dir)?;
        if let Some(quantised) = &quantised {
            let error = merge_error::measure(&folder, quantised, adapter, dir, context)?;
            let weights = match base_weights {
                BaseWeights::Float => "the base as it is",
                BaseWeights::Quantised => "the dequantised base",
            };
            context.events.emit(Event::Info {
                message: format!(
                    "merged into {weights}; beside the 4-bit base with the adapter, logits differ by {:.4} on average \
                     and {:.3} at most, and {:.0} % of {} tokens have the same successor",
                    error.mean,
                    error.max,
                    100.0 * error.same_choice,
                    error.positions,
                ),
            });
        }
        Ok(ModelHandle::Hf { dir: dir.to_owned() })
    }

    fn writes(&self, name: &str) -> bool {
        ModelFolder::is_model_file(name)
    }

    fn after(&self, before: &dyn Pass) -> Result<Option<Arc<dyn Pass>>, Mismatch> {
        let loftq = before.adapter().is_some_and(|adapter| adapter.needs_quantised_base);
        let resolved = base_weights(self.options.base_weights, loftq)
            .map_err(|reason| Mismatch { reason, hint: "leave `base_weights` out" })?;
        Ok(Some(Arc::new(MergePass { options: MergeOptions { base_weights: Some(resolved) } })))
    }
}

impl MergePass {
    /// What the adapter is added to.
    fn base_weights(&self, adapter: &Path) -> Result<BaseWeights> {
        let loftq = BaseFormat::read(adapter)?.is_some_and(|record| record.loftq_iter.is_some());
        base_weights(self.options.base_weights, loftq).map_err(|reason| {
            let reason = format!("{reason}: leave `base_weights` out");
            ModelError::Adapter { path: adapter.to_owned(), reason }.into()
        })
    }

    /// The 4-bit base that the adapter says it was trained on, if it does.
    fn quantised(
        &self,
        folder: &ModelFolder,
        adapter: &Path,
        context: &RunContext,
    ) -> Result<Option<QuantisedBase>> {
        match (quantised_base::of_adapter(folder, adapter, context)?, self.options.base_weights) {
            (None, Some(BaseWeights::Quantised)) => Err(ModelError::Adapter {
                path: adapter.to_owned(),
                reason: "it does not say which 4-bit base it was trained on, as QLoRA's adapters do, so \
                         `base_weights` cannot be \"quantised\""
                    .into(),
            }
            .into()),
            (base, _) => Ok(base),
        }
    }
}

/// What an adapter is added to, which may make up for the rounding of its base: what was asked for, else what it can
/// be added to.
///
/// # Errors
/// Why it cannot be added to what was asked for.
fn base_weights(asked: Option<BaseWeights>, loftq: bool) -> Result<BaseWeights, String> {
    match asked {
        Some(BaseWeights::Float) if loftq => {
            Err("an adapter of LoftQ holds what 4 bits left over of the weights, so it cannot be added to the float \
                 weights"
                .into())
        }
        Some(asked) => Ok(asked),
        None if loftq => Ok(BaseWeights::Quantised),
        None => Ok(BaseWeights::Float),
    }
}

/// Writes the weights into `dir`.
fn write_checkpoint(merged: &MergedCheckpoint, dir: &Path, context: &RunContext) -> Result<()> {
    let with_entry = |tensor| Ok((vec![entry(merged, tensor)?], tensor));
    let tensors = merged.base().tensors().map(with_entry).collect::<Result<Vec<_>>>()?;
    let files = ModelFiles { dir, phase: "merge weights", cancel: context.cancel, events: context.events };
    files.write(&tensors, &mut |tensor, writer| {
        if merged.changes(&tensor.name) {
            write_merged(merged, tensor, writer)?;
        } else {
            tensor.finite_pieces().try_for_each(|piece| writer.write(&piece?))?;
        }
        tensor.release();
        Ok(())
    })
}

/// The weights of a model with an adapter on them, computed as they are read.
fn open_merged(folder: &ModelFolder, adapter: &Path) -> Result<MergedCheckpoint> {
    MergedCheckpoint::new(folder.checkpoint()?, Adapter::open(adapter)?, folder.spec()?.tied, adapter)
}

/// Merging computes in f32.
fn entry(merged: &MergedCheckpoint, tensor: &Tensor) -> Result<Entry> {
    let dtype = match tensor.dtype {
        DType::F64 if merged.changes(&tensor.name) => DType::F32,
        dtype => dtype,
    };
    Entry::new(&tensor.name, dtype, &tensor.shape)
}

/// Merges a matrix by runs of rows, all cores at work on a run.
fn write_merged(merged: &MergedCheckpoint, tensor: &Tensor, writer: &mut Writer) -> Result<()> {
    let float = match tensor.dtype {
        // Merging computes in f32.
        DType::F32 | DType::F64 => FloatType::F32,
        DType::F16 => FloatType::F16,
        DType::BF16 => FloatType::Bf16,
        other => {
            let found = other.as_str().to_owned();
            return Err(ModelError::Dtype { name: tensor.name.clone(), found }.into());
        }
    };
    let rows = tensor.shape.first().copied().unwrap_or(1);
    let cols = tensor.shape.iter().skip(1).product::<usize>();
    // A panel is what one thread merges at a time; a run of panels is what is held in memory.
    let panel = ((1 << 19) / cols.max(1)).next_multiple_of(64);
    let run = panel * 4 * rayon::current_num_threads();
    for start in (0..rows).step_by(run) {
        let end = (start + run).min(rows);
        let panels: Vec<usize> = (start..end).step_by(panel).collect();
        let parts = panels
            .par_iter()
            .map(|&from| {
                let to = (from + panel).min(end);
                let mut values = vec![0.0; (to - from) * cols];
                merged.read_rows(&tensor.name, from..to, &mut values)?;
                Ok(float.to_bytes(&values))
            })
            .collect::<Result<Vec<_>>>()?;
        for part in parts {
            writer.write(&part)?;
        }
    }
    Ok(())
}
