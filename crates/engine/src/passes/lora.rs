//! LoRA: trains a low-rank adapter on a frozen base.

use super::adapter_training::{self, Base, Quantised};
use super::{Pass, RunContext, data_key};
use crate::cache::KeyHasher;
use olive_config::canonical::LoraOptions;
use olive_core::Result;
use olive_core::handle::ModelHandle;
use olive_model::{FourBitFormat, ModelFolder, QuantisedBase};
use olive_train::{MemoryEstimate, targets};
use std::collections::BTreeMap;
use std::path::Path;

pub struct LoraPass {
    pub options: LoraOptions,
}

impl Pass for LoraPass {
    fn name(&self) -> &'static str {
        "LoRA"
    }

    fn version(&self) -> u32 {
        2
    }

    fn check(&self) -> Result<()> {
        adapter_training::check_options(&self.options)?;
        for data in [Some(&self.options.train_data), self.options.eval_data.as_ref()].into_iter().flatten() {
            olive_data::check(&data.pre_process)?;
            olive_data::inputs(&data.load)?;
        }
        Ok(())
    }

    fn check_input(&self, model: Option<&ModelHandle>) -> Result<()> {
        if let Some(model) = model {
            let spec = ModelFolder::open(model.base())?.spec()?;
            targets::select(&spec, self.options.target_modules.as_ref())?;
            targets::select_whole(&spec, self.options.modules_to_save.as_deref().unwrap_or_default())?;
        }
        let data = [Some(&self.options.train_data), self.options.eval_data.as_ref()];
        data.into_iter().flatten().try_for_each(olive_data::check_columns)
    }

    fn uses_device(&self) -> bool {
        true
    }

    fn key(&self, hasher: &mut KeyHasher) -> Result<()> {
        let mut options = self.options.clone();
        data_key::feed("train", &mut options.train_data, hasher)?;
        if let Some(data) = &mut options.eval_data {
            data_key::feed("eval", data, hasher)?;
        }
        hasher.field("lora", &options);
        Ok(())
    }

    fn memory(&self, input: &ModelHandle) -> Result<Option<MemoryEstimate>> {
        self.estimate(input, None)
    }

    fn run(&self, input: &ModelHandle, dir: &Path, context: &RunContext) -> Result<ModelHandle> {
        self.train(input, dir, context, |_| Ok((None, BTreeMap::new())))
    }
}

impl LoraPass {
    /// The pass with activations of `dtype` where the device has a choice.
    pub(super) fn computing_in(dtype: &str, options: &LoraOptions) -> LoraPass {
        LoraPass { options: LoraOptions { torch_dtype: dtype.to_owned(), ..options.clone() } }
    }

    /// What the pass needs at its peak if the linear layers are held in `format`, or as they are.
    pub(super) fn estimate(
        &self,
        input: &ModelHandle,
        format: Option<FourBitFormat>,
    ) -> Result<Option<MemoryEstimate>> {
        let ModelHandle::Hf { dir } = input else { return Ok(None) };
        let folder = ModelFolder::open(dir)?;
        let (spec, checkpoint) = (folder.spec()?, folder.checkpoint()?);
        let targets = targets::select(&spec, self.options.target_modules.as_ref())?;
        let weights = match format {
            Some(format) => QuantisedBase::model_size(&spec, &checkpoint, format)?,
            None => checkpoint.size(),
        };
        // Samples are as long as they may be; only the data could tell that they are shorter.
        let batch = self.options.training.per_device_train_batch_size;
        let tokens = batch * self.options.train_data.pre_process.max_seq_len;
        let workload = adapter_training::workload(&self.options, &spec, weights, &targets, tokens);
        Ok(Some(MemoryEstimate::of(&workload)))
    }

    /// Trains on the linear layers that `quantise` gives, or on the base as it is; see [`adapter_training::train`].
    pub(super) fn train(
        &self,
        input: &ModelHandle,
        dir: &Path,
        context: &RunContext,
        quantise: impl FnOnce(&Base) -> Result<Quantised>,
    ) -> Result<ModelHandle> {
        adapter_training::train(&self.options, input, dir, context, quantise)
    }
}
