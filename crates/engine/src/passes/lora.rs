//! LoRA: trains a low-rank adapter on a frozen base.

use super::adapter_training::{self, Base, Quantised};
use super::data_key;
use super::lora_options::{self, ADAPTER, LoraOptions, TRAINING, TrainedOn};
use super::pass::{DataUse, MoveData, Pass, RunContext, SampleLengths, TrainedAdapter, check_data};
use super::training::Training;
use crate::cache::KeyHasher;
use olive_config::option::{Block, Kind, Opt};
use olive_config::{
    ConfiguredPass, Fields, Findings, PASS, PassContext, PassDefinition, PassOptions, PassRead, Values,
};
use olive_core::Result;
use olive_core::cancel::CancelFlag;
use olive_core::handle::{ModelHandle, ModelKind};
use olive_model::{FourBitFormat, ModelFolder, QuantisedBase, adapter_config};
use olive_train::{MemoryNeed, targets};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

static LORA_BLOCK: Block = Block {
    name: "LoRA",
    doc: "Trains a low-rank adapter on a Hugging Face model.",
    wrapper: Some("config"),
    outer: PASS,
    parts: &[
        ADAPTER,
        TRAINING,
        &[
            Opt::new("double_quant", Kind::Bool, "An option of QLoRA.").ignored("it is an option of QLoRA"),
            Opt::new("quant_type", Kind::Any, "An option of QLoRA.").ignored("it is an option of QLoRA"),
            Opt::new("compute_dtype", Kind::Any, "An option of QLoRA.").ignored("it is an option of QLoRA"),
        ],
    ],
    open: None,
};

/// Olive's own name for LoRA with `use_dora`.
static DORA_BLOCK: Block = Block {
    name: "DoRA",
    doc: "Trains a weight-decomposed low-rank adapter: LoRA with `use_dora`.",
    wrapper: Some("config"),
    outer: PASS,
    parts: &[ADAPTER, TRAINING],
    open: None,
};

pub static LORA: PassDefinition<dyn Pass> = PassDefinition {
    block: &LORA_BLOCK,
    page: "lora.md",
    example: "\"lora\": {\"type\": \"LoRA\", …}",
    gives: ModelKind::HfWithAdapter,
    read: |fields, mut values, context, findings| {
        let shown = lora_options::resolve(fields, &mut values, TrainedOn::Float, context, findings);
        Some((Arc::new(LoraPass { options: LoraOptions::read(&values)? }), shown))
    },
};

pub static DORA: PassDefinition<dyn Pass> = PassDefinition {
    block: &DORA_BLOCK,
    page: "lora.md",
    example: "\"dora\": {\"type\": \"DoRA\", …}",
    gives: ModelKind::HfWithAdapter,
    read: read_dora,
};

fn read_dora(
    fields: &Fields<'_>,
    mut values: Values,
    context: &PassContext<'_>,
    findings: &mut Findings,
) -> Option<PassRead<dyn Pass>> {
    if values.given("use_dora") && !values.bool("use_dora") {
        let hint = "use the pass LoRA".to_owned();
        values.error("use_dora", "a DoRA pass without DoRA", Some(hint), findings);
    }
    values.set("use_dora", json!(true));
    (LORA.read)(fields, values, context, findings)
}

#[derive(Debug)]
pub struct LoraPass {
    pub options: LoraOptions,
}

impl ConfiguredPass for LoraPass {
    fn name(&self) -> &'static str {
        "LoRA"
    }

    fn options(&self) -> &dyn PassOptions {
        &self.options
    }

    fn output(&self, input: ModelKind) -> Result<ModelKind, String> {
        match input {
            ModelKind::Hf => Ok(ModelKind::HfWithAdapter),
            ModelKind::HfWithAdapter => {
                Err("the model already has an adapter, which MergeAdapterWeights must merge first".into())
            }
            ModelKind::HfWithNote => {
                Err("a note for quantisers would be left out; train before SelectiveMixedPrecision".into())
            }
            ModelKind::Onnx => Err("an ONNX model cannot be trained".into()),
        }
    }
}

impl Pass for LoraPass {
    fn version(&self) -> u32 {
        3
    }

    fn check(&self) -> Result<()> {
        check_data(&self.data())
    }

    fn check_input(&self, model: Option<&ModelHandle>) -> Result<()> {
        let folder = model.map(|model| ModelFolder::open(model.base())).transpose()?;
        if let Some(folder) = &folder {
            let spec = folder.spec()?;
            targets::select(&spec, self.options.target_modules.as_ref())?;
            targets::select_whole(&spec, self.options.modules_to_save.as_deref().unwrap_or_default())?;
            self.data()
                .iter()
                .try_for_each(|data| olive_data::check_model(&data.config.pre_process, folder))?;
            folder.checkpoint()?;
        }
        self.data().iter().try_for_each(|data| olive_data::check_rows(data.config, folder.as_ref()))
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

    fn memory(&self, input: &ModelHandle, lengths: SampleLengths) -> Result<Option<MemoryNeed>> {
        self.need(input, lengths, None)
    }

    fn run(&self, input: &ModelHandle, dir: &Path, context: &RunContext) -> Result<ModelHandle> {
        self.train(input, dir, context, |_| Ok((None, BTreeMap::new())))
    }

    fn writes(&self, name: &str) -> bool {
        [adapter_config::CONFIG, "adapter_model.safetensors"].contains(&name)
    }

    fn data(&self) -> Vec<DataUse<'_>> {
        lora_options::data(&self.options)
    }

    fn with_data(&self, moved: &mut MoveData) -> Result<Option<Arc<dyn Pass>>> {
        let options = lora_options::with_data(&self.options, moved)?;
        Ok(Some(Arc::new(LoraPass { options })))
    }

    fn training(&self) -> Option<Training<'_>> {
        Some(lora_options::training(&self.options))
    }

    fn adapter(&self) -> Option<TrainedAdapter> {
        let whole = self.options.modules_to_save.as_ref().is_some_and(|modules| !modules.is_empty());
        let tied_to_base = match (self.options.use_dora, whole) {
            (true, _) => Some("DoRA scales the rows of the base"),
            (false, true) => Some("`modules_to_save` trains weights of the base"),
            (false, false) => None,
        };
        Some(TrainedAdapter { needs_quantised_base: false, tied_to_base })
    }
}

impl LoraPass {
    /// The pass with activations of `dtype` where the device has a choice.
    pub(super) fn computing_in(dtype: &str, options: &LoraOptions) -> LoraPass {
        LoraPass { options: LoraOptions { torch_dtype: dtype.to_owned(), ..options.clone() } }
    }

    /// What the pass needs at its peak if the linear layers are held in `format`, or as they are.
    pub(super) fn need(
        &self,
        input: &ModelHandle,
        lengths: SampleLengths,
        format: Option<FourBitFormat>,
    ) -> Result<Option<MemoryNeed>> {
        let ModelHandle::Hf { dir } = input else { return Ok(None) };
        let folder = ModelFolder::open(dir)?;
        let (spec, checkpoint) = (folder.spec()?, folder.checkpoint()?);
        let targets = targets::select(&spec, self.options.target_modules.as_ref())?;
        let weights = match format {
            Some(format) => QuantisedBase::model_size(&spec, &checkpoint, format)?,
            None => checkpoint.size(),
        };
        let batch = self.options.training.per_device_train_batch_size;
        let tokens = match lengths {
            SampleLengths::Longest => batch.saturating_mul(self.options.train_data.pre_process.max_seq_len),
            SampleLengths::OfData => {
                let cancel = CancelFlag::default();
                let data = olive_data::prepare(&self.options.train_data, &folder, &(), &cancel)?;
                adapter_training::longest_batch(&data, batch)
            }
        };
        let workload = adapter_training::workload(&self.options, &spec, weights, &targets, tokens);
        Ok(Some(MemoryNeed::of(&workload)))
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
