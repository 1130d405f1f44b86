//! The interface of passes, and what they may use.

use super::training::Training;
use super::training_log::TrainingLog;
use crate::cache::{Artefacts, KeyHasher};
use olive_config::{ConfiguredPass, DataConfig};
use olive_core::Result;
use olive_core::cancel::CancelFlag;
use olive_core::device::Device;
use olive_core::event::EventSink;
use olive_core::handle::ModelHandle;
use olive_model::HubModel;
use olive_train::MemoryNeed;
use serde_json::{Map, Value};
use std::path::Path;
use std::sync::Arc;

/// One step: takes a model, writes another one into a folder of its own.
pub trait Pass: ConfiguredPass + Send + Sync {
    /// Raised whenever the same options give another result than before.
    fn version(&self) -> u32;

    /// Feeds everything into the hasher that the result depends on, besides the input model.
    ///
    /// # Errors
    /// A data file that cannot be read.
    fn key(&self, hasher: &mut KeyHasher) -> Result<()>;

    /// Finds what would stop the pass, as far as that can be known before anything is fetched or run.
    ///
    /// # Errors
    /// An option that cannot be honoured, a data file that is not there.
    fn check(&self) -> Result<()> {
        Ok(())
    }

    /// Finds what would stop the pass because the model or the data does not have what the options name. `model` is what
    /// the first pass works on: passes before this one change its values, not its layers. Without it, as it may not be
    /// there yet, only the data is looked at; data files that are not there are left to [`Pass::check`].
    ///
    /// # Errors
    /// A module or a column that does not exist, a model or a data file that cannot be understood.
    fn check_input(&self, _model: Option<&ModelHandle>) -> Result<()> {
        Ok(())
    }

    /// Whether the result depends on the device it is computed on.
    fn uses_device(&self) -> bool {
        false
    }

    /// What the pass needs at its peak, where that can be predicted from the input, the options and how long samples are.
    ///
    /// # Errors
    /// The input or the data cannot be read.
    fn memory(&self, _input: &ModelHandle, _lengths: SampleLengths) -> Result<Option<MemoryNeed>> {
        Ok(None)
    }

    /// Does the work. `dir` exists and is empty, or as an earlier, interrupted attempt left it together with a folder
    /// `resume`; it becomes the artefact, without that folder, when this returns.
    ///
    /// # Errors
    /// Whatever stopped the work; `dir` is then kept if `resume` is in it.
    fn run(&self, input: &ModelHandle, dir: &Path, context: &RunContext) -> Result<ModelHandle>;

    /// Whether the result has a file of this name.
    fn writes(&self, name: &str) -> bool;

    /// The data that the pass reads.
    fn data(&self) -> Vec<DataUse<'_>> {
        Vec::new()
    }

    /// The same pass after `moved` had each of its data configurations. `None`: it reads no data.
    ///
    /// # Errors
    /// Those of `moved`.
    fn with_data(&self, _moved: &mut MoveData) -> Result<Option<Arc<dyn Pass>>> {
        Ok(None)
    }

    /// The training that the pass is.
    fn training(&self) -> Option<Training<'_>> {
        None
    }

    /// Whether the model that it takes should have its adapter beside it, not in its weights.
    fn wants_adapter_apart(&self) -> bool {
        false
    }

    /// The same pass, but leaving the adapter of its input beside the model that it makes. `None`: it does so, or cannot.
    fn leaving_adapter_apart(&self) -> Option<Arc<dyn Pass>> {
        None
    }

    /// The same pass, but with this name for the file of the graph that it makes. `None`: it has one, or makes no graph.
    fn naming_graph(&self, _name: &str) -> Option<Arc<dyn Pass>> {
        None
    }

    /// What passes after this one must know of the adapter that it trains.
    fn adapter(&self) -> Option<TrainedAdapter> {
        None
    }

    /// Resolves options that depend on the previous pass of the flow. An adapter that is the input of the flow says the
    /// same itself, once it is read. `None`: the pass stays as it is.
    ///
    /// # Errors
    /// Why both do not go together.
    fn after(&self, _before: &dyn Pass) -> Result<Option<Arc<dyn Pass>>, Mismatch> {
        Ok(None)
    }
}

/// Says where data lies now, if it was moved.
pub type MoveData<'a> = dyn FnMut(&mut DataConfig) -> Result<()> + 'a;

/// A dataset of a pass, and what the pass does with it.
#[derive(Debug, Clone, Copy)]
pub struct DataUse<'a> {
    pub purpose: DataPurpose,
    pub config: &'a DataConfig,
}

/// Finds what is wrong with the data of a pass before a model is looked at.
///
/// # Errors
/// An option that cannot be honoured, a file that is not there.
pub(super) fn check_data(uses: &[DataUse<'_>]) -> Result<()> {
    uses.iter().try_for_each(|DataUse { config, .. }| {
        olive_data::check(&config.pre_process)?;
        olive_data::inputs(&config.load).map(drop)
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataPurpose {
    Training,
    Evaluation,
    Calibration,
}

/// How long the samples of a training are taken to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SampleLengths {
    /// As long as the options let them be.
    Longest,
    /// As the data, which is read and tokenised for that, has them.
    OfData,
}

/// What becomes of a pass that does not fit into the memory of this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MemoryPolicy {
    #[default]
    Refuse,
    /// It runs nevertheless: the system may swap, or end the process.
    Ignore,
}

impl DataPurpose {
    /// As manifests and documents have it.
    pub fn name(self) -> &'static str {
        match self {
            DataPurpose::Training => "training",
            DataPurpose::Evaluation => "evaluation",
            DataPurpose::Calibration => "calibration",
        }
    }
}

/// An adapter as passes after its training see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrainedAdapter {
    /// It makes up for the rounding of the 4-bit base, so it can be added to that base only.
    pub needs_quantised_base: bool,
    /// Why it cannot be kept apart from the base: completes "…, so its adapter cannot be kept apart".
    pub tied_to_base: Option<&'static str>,
}

/// Why two passes do not go together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    pub reason: String,
    pub hint: &'static str,
}

/// What a pass may use of the world.
pub struct RunContext<'a> {
    pub device: Device,
    pub memory: MemoryPolicy,
    pub cancel: &'a CancelFlag,
    pub events: &'a dyn EventSink,
    /// The hub's name for the model that the pass works on, or for its base, if the user gave that.
    pub base: Option<&'a HubModel>,
    /// A training that is not at its end stops after so many steps, with [`Paused`](olive_train::Paused).
    pub pause_after: Option<usize>,
    /// The cache, for what is worth keeping beside the result; without it such things are made in memory.
    pub artefacts: Option<Artefacts<'a>>,
    /// Where the training is logged, beside its own files.
    pub log: TrainingLog<'a>,
}

/// The options of a pass with its type, as manifests have them.
pub fn tagged_options(pass: &dyn Pass) -> Value {
    let mut tagged = Map::from_iter([("type".to_owned(), Value::from(pass.name()))]);
    if let Value::Object(options) = pass.options().to_json() {
        tagged.extend(options);
    }
    Value::Object(tagged)
}
