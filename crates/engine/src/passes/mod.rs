//! The steps of a pipeline. A pass knows nothing of the terminal, the cache or other passes.

mod data_key;
pub mod loftq;
pub mod lora;
pub mod merge_adapter_weights;
mod merge_error;
pub mod model_builder;
pub mod qlora;
mod quantised_base;

pub use loftq::LoftqPass;
pub use lora::LoraPass;
pub use merge_adapter_weights::MergePass;
pub use model_builder::ModelBuilderPass;
pub use qlora::QloraPass;

pub use olive_config::kind::{output_kind, settle};

use crate::cache::{Artefacts, KeyHasher};
use olive_config::PassOptions;
use olive_core::Result;
use olive_core::cancel::CancelFlag;
use olive_core::device::Device;
use olive_core::event::EventSink;
use olive_core::handle::ModelHandle;
use olive_model::HubModel;
use olive_train::MemoryEstimate;
use std::path::Path;

/// One step: takes a model, writes another one into a folder of its own.
pub trait Pass {
    /// The type's name in Olive's spelling, for example `LoRA`.
    fn name(&self) -> &'static str;

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

    /// What the pass needs at its peak, where that can be predicted from the input and the options alone.
    ///
    /// # Errors
    /// The input cannot be read.
    fn memory(&self, _input: &ModelHandle) -> Result<Option<MemoryEstimate>> {
        Ok(None)
    }

    /// Does the work. `dir` exists and is empty, but for the folder `resume` that an earlier, interrupted attempt may
    /// have left; it becomes the artefact when this returns.
    ///
    /// # Errors
    /// Whatever stopped the work; of `dir`, only `resume` is then kept.
    fn run(&self, input: &ModelHandle, dir: &Path, context: &RunContext) -> Result<ModelHandle>;
}

/// The pass that these options describe.
pub fn build(options: &PassOptions) -> Box<dyn Pass> {
    match options.clone() {
        PassOptions::LoRA(options) => Box::new(LoraPass { options }),
        PassOptions::QLoRA(options) => Box::new(QloraPass { options }),
        PassOptions::LoftQ(options) => Box::new(LoftqPass { options }),
        PassOptions::MergeAdapterWeights(options) => Box::new(MergePass { options }),
        PassOptions::ModelBuilder(options) => Box::new(ModelBuilderPass { options }),
    }
}

/// What a pass may use of the world.
pub struct RunContext<'a> {
    pub device: Device,
    pub cancel: &'a CancelFlag,
    pub events: &'a dyn EventSink,
    /// The hub's name for the model that the pass works on, or for its base, if the user gave that.
    pub base: Option<&'a HubModel>,
    /// The cache, for what is worth keeping beside the result; without it such things are made in memory.
    pub artefacts: Option<Artefacts<'a>>,
}
