//! The model that is measured.

use olive_core::Result;
use olive_core::device::Device;
use olive_core::handle::ModelHandle;
use olive_model::QuantisedBase;
use olive_runtime::{ActiveAdapter, Generator, Library, LoadedModel};
use std::cell::OnceCell;
use std::sync::Arc;

/// An opened model: a float decoder, with or without an adapter, or a session of ONNX Runtime.
pub struct Subject {
    handle: ModelHandle,
    model: Arc<LoadedModel>,
    /// Version of ONNX Runtime, if that computes.
    onnxruntime: Option<String>,
}

/// How a model is opened.
pub struct Opening<'a> {
    /// Of an ONNX model.
    pub adapter: ActiveAdapter,
    /// Linear layers in 4 bits that take the place of a float model's own: what an adapter of QLoRA was trained on.
    pub quantised: Option<&'a QuantisedBase>,
    /// Of a float model.
    pub device: &'a Device,
    /// Asked for when the model needs ONNX Runtime.
    pub library: &'a dyn Fn() -> Result<Library>,
}

impl Subject {
    /// # Errors
    /// As [`LoadedModel::open`].
    pub fn open(handle: &ModelHandle, opening: &Opening<'_>) -> Result<Subject> {
        let Opening { adapter, quantised, device, library } = opening;
        let version = OnceCell::new();
        let library = || {
            let found = library()?;
            version.get_or_init(|| found.version.clone());
            Ok(found)
        };
        let model = LoadedModel::open(handle, adapter, *quantised, device, &library)?;
        Ok(Subject { handle: handle.clone(), model: Arc::new(model), onnxruntime: version.into_inner() })
    }

    pub fn handle(&self) -> &ModelHandle {
        &self.handle
    }

    pub fn model(&self) -> &LoadedModel {
        &self.model
    }

    /// Version of ONNX Runtime, if that computes.
    pub fn onnxruntime(&self) -> Option<&str> {
        self.onnxruntime.as_deref()
    }

    /// Threads that compute, if the processor does.
    pub fn threads(&self) -> usize {
        self.model.threads()
    }

    /// The model with its tokenizer, to answer prompts. Its weights are not loaded again.
    ///
    /// # Errors
    /// As [`Generator::of`].
    pub fn generator(&self) -> Result<Generator> {
        Generator::of(&self.handle, self.model.clone())
    }
}
