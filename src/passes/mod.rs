//! The steps of a pipeline. A pass knows nothing of the terminal, the cache or other passes.

mod kind;

pub use kind::output_kind;

use crate::Result;
use crate::device::{Device, DeviceChoice};
use crate::engine::{CancelFlag, KeyHasher};
use crate::model::ModelHandle;
use crate::report::EventSink;
use std::path::Path;

/// One step: takes a model, writes another one into a folder of its own.
pub trait Pass {
    /// The type's name in Olive's spelling, for example `LoRA`.
    fn name(&self) -> &'static str;

    /// Raised whenever the same options give another result than before.
    fn version(&self) -> u32;

    /// Whether the pass can work on such a model.
    ///
    /// # Errors
    /// A sentence that completes "`builder` cannot follow here: ".
    fn accepts(&self, input: ModelKind) -> std::result::Result<ModelKind, String>;

    /// Feeds everything into the hasher that the result depends on, besides the input model.
    ///
    /// # Errors
    /// A data file that cannot be read.
    fn key(&self, hasher: &mut KeyHasher) -> Result<()>;

    /// Does the work. `dir` exists and is empty; it becomes the artefact when this returns.
    ///
    /// # Errors
    /// Whatever stopped the work; `dir` is then discarded (but for what a later run can resume from).
    fn run(&self, input: &ModelHandle, dir: &Path, context: &RunContext) -> Result<ModelHandle>;
}

/// The shape of a [`ModelHandle`] before it exists, for checking a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModelKind {
    Hf,
    HfWithAdapter,
    Onnx,
}

/// What a pass may use of the world.
pub struct RunContext<'a> {
    pub device: Device,
    pub device_choice: DeviceChoice,
    pub cancel: &'a CancelFlag,
    pub events: &'a dyn EventSink,
}
