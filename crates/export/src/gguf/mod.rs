//! GGUF files, version 3, as llama.cpp's converter and quantiser write them.

mod adapter;
mod file;
mod keys;
mod matrices;
mod names;
mod precision;
mod query;
mod rope;
mod tokenizer;
mod values;

pub use adapter::export_adapter;
pub use file::Written;
pub use precision::Precision;

use crate::error::ExportError;
use file::File;
use matrices::{Matrix, matrices};
use olive_arch::Spec;
use olive_core::Result;
use olive_core::cancel::CancelFlag;
use olive_core::event::EventSink;
use olive_core::handle::ModelHandle;
use olive_model::{Adapter, MergedCheckpoint, ModelFolder, WeightSource};
use std::path::Path;
use tokenizer::Tokenizer;

/// A model, and how it is to be called.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// A Hugging Face folder, or one with an adapter, which is merged on the way.
    pub model: &'a ModelHandle,
    pub name: &'a str,
    pub precision: Precision,
}

/// Writes the model into `path`, tensor by tensor. What a reader will do otherwise than the model is warned of.
///
/// # Errors
/// [`ExportError`]; a model that cannot be read; a file that cannot be written, of which then nothing is left.
pub fn export(
    request: &Request<'_>,
    path: &Path,
    cancel: &CancelFlag,
    events: &dyn EventSink,
) -> Result<Written> {
    let folder = ModelFolder::of(request.model)?;
    let spec = folder.spec()?;
    let Some(architecture) = spec.family.gguf.written_name() else {
        return Err(ExportError::Family { architecture: spec.family.architecture }.into());
    };
    let weights = weights(request.model, &folder, &spec)?;
    let tokenizer = Tokenizer::read(&folder, &spec)?;
    let described = keys::Described { folder: &folder, spec: &spec, architecture };
    let mut file = File::default();
    described.add(request, &mut file, events)?;
    tokenizer.add(&mut file);
    let mut matrices: Vec<Matrix> = matrices(&*weights, &spec, request.precision)?;
    matrices.extend(rope::factors(&spec.rope));
    file.write(path, &matrices, &*weights, cancel, events)
}

fn weights(model: &ModelHandle, folder: &ModelFolder, spec: &Spec) -> Result<Box<dyn WeightSource>> {
    let checkpoint = folder.checkpoint()?;
    Ok(match model {
        ModelHandle::HfWithAdapter { adapter, .. } => {
            Box::new(MergedCheckpoint::new(checkpoint, Adapter::open(adapter)?, spec.tied, adapter)?)
        }
        ModelHandle::Hf { .. } | ModelHandle::HfWithNote { .. } | ModelHandle::Onnx { .. } => {
            Box::new(checkpoint)
        }
    })
}
