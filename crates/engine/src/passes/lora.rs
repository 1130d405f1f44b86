//! LoRA: trains a low-rank adapter on a frozen base.

use super::data_key;
use super::lora_options::{self, ADAPTER, LoraOptions, TRAINING, TrainedOn};
use super::pass::{DataUse, Pass, RunContext, TrainedAdapter};
use crate::cache::KeyHasher;
use candle_core::DType;
use olive_arch::{Linear, Spec};
use olive_config::option::{Block, Kind, Opt};
use olive_config::{
    ConfiguredPass, DataConfig, Fields, Findings, PASS, PassContext, PassDefinition, PassOptions, PassRead,
    Targets, Values,
};
use olive_core::Result;
use olive_core::error::IoContext;
use olive_core::event::Event;
use olive_core::handle::{ModelHandle, ModelKind};
use olive_data::{Dataset, Sample};
use olive_decoder::{Decoder, whole};
use olive_kernels::quant::low_rank::LowRank;
use olive_model::adapter::{self, TargetModules};
use olive_model::{Checkpoint, FourBitFormat, ModelFolder, QuantisedBase};
use olive_train::metrics::Metrics;
use olive_train::{
    Checkpoints, Fit, LoraShape, MemoryEstimate, Saver, TrainError, Trainer, TrainerOptions, Workload,
    memory, targets,
};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Time between two checkpoints of a run that nobody interrupts.
const SAVE_EVERY: Duration = Duration::from_secs(60);
/// Folder of the adapters that are saved on the way.
const SAVED: &str = "checkpoints";
/// Folder of an adapter that does not begin with a product of zero, before its first step; Olive's name for it.
const INITIAL: &str = "loftq_init_adapter";

/// The model that is trained on.
pub(super) struct Base<'a> {
    pub(super) dir: &'a Path,
    pub(super) spec: &'a Spec,
    pub(super) checkpoint: &'a Checkpoint,
    /// The layers that get an adapter.
    pub(super) targets: &'a [Linear],
}

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
    example: "\"lora\": {\"type\": \"LoRA\", …}",
    gives: ModelKind::HfWithAdapter,
    read: |fields, mut values, context, findings| {
        let shown = lora_options::resolve(fields, &mut values, TrainedOn::Float, context, findings);
        Some((Arc::new(LoraPass { options: LoraOptions::read(&values)? }), shown))
    },
};

pub static DORA: PassDefinition<dyn Pass> = PassDefinition {
    block: &DORA_BLOCK,
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
            ModelKind::Onnx => Err("an ONNX model cannot be trained".into()),
        }
    }
}

impl Pass for LoraPass {
    fn version(&self) -> u32 {
        2
    }

    fn check(&self) -> Result<()> {
        self.check_options()?;
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

    fn writes(&self, name: &str) -> bool {
        [adapter::CONFIG, "adapter_model.safetensors"].contains(&name)
    }

    fn data(&self) -> Vec<DataUse<'_>> {
        lora_options::data(&self.options)
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
        Ok(Some(MemoryEstimate::of(&self.workload(&spec, weights, &targets, tokens))))
    }

    /// The whole pass, on the linear layers that `quantised` gives, or on the base as it is. The low-rank matrices that it
    /// gives, by module, are what the adapter begins with.
    pub(super) fn train(
        &self,
        input: &ModelHandle,
        dir: &Path,
        context: &RunContext,
        quantised: impl FnOnce(&Base) -> Result<(Option<QuantisedBase>, BTreeMap<String, LowRank>)>,
    ) -> Result<ModelHandle> {
        let ModelHandle::Hf { dir: base } = input else {
            unreachable!("`output_kind` admits Hugging Face models only")
        };
        self.check_options()?;
        let folder = ModelFolder::open(base)?;
        let spec = folder.spec()?;
        let selected = targets::select(&spec, self.options.target_modules.as_ref())?;
        let whole_modules =
            targets::select_whole(&spec, self.options.modules_to_save.as_deref().unwrap_or_default())?;
        let (train, eval) = self.datasets(&folder, context)?;

        let checkpoint = folder.checkpoint()?;
        if context.device.is_cpu()
            && let Some(available) = memory::available()
        {
            let tokens = longest_batch(&train, self.options.training.per_device_train_batch_size);
            memory::check(&self.workload(&spec, checkpoint.size(), &selected, tokens), available)?;
        }

        let dtype = self.dtype(context);
        let (quantised, start) =
            quantised(&Base { dir: base, spec: &spec, checkpoint: &checkpoint, targets: &selected })?;
        let mut decoder = Decoder::with_base(spec, &checkpoint, quantised.as_ref(), dtype, &context.device)?;
        let mut adapter = olive_train::fresh_adapter(
            &selected,
            target_modules(self.options.target_modules.as_ref(), &selected),
            &self.shape(),
            self.options.training.seed,
            Some(match context.base {
                Some(named) => named.id.clone(),
                None => base.canonicalize().at("read", base)?.display().to_string(),
            }),
        );
        adapter.config.revision = context.base.and_then(|named| named.revision.clone());
        for (module, shape) in whole_modules {
            adapter.whole.insert(module.clone(), whole::initial(&checkpoint, &module, &shape)?);
        }
        adapter.config.modules_to_save = self.options.modules_to_save.clone();
        if !start.is_empty() {
            olive_train::begin_with(&mut adapter, &start);
            adapter.save(&dir.join(INITIAL))?;
        }
        decoder.attach(&adapter)?;
        let adapter_config = adapter.config;
        drop((adapter.modules, adapter.whole, start)); // The decoder has its own.
        let mut trainer = Trainer::new(decoder, self.trainer_options())?;
        let checkpoints = Checkpoints::open(dir.join(Checkpoints::NAME))?;
        let training = &self.options.training;
        let saver = Saver {
            saving: &training.saving,
            config: &adapter_config,
            dir: training.saving.output_dir.clone().unwrap_or_else(|| checkpoints.dir().join(SAVED)),
            keeps_best: training.selection.load_best_model_at_end,
        };
        let fitted = olive_train::fit(
            &mut trainer,
            &Fit {
                train: &train,
                eval: eval.as_ref(),
                args: training,
                checkpoints: &checkpoints,
                saver: Some(&saver),
                save_every: SAVE_EVERY,
                events: context.events,
                cancel: context.cancel,
            },
        );
        // What did not converge must not look like something to go on from.
        if let Err(error) = &fitted
            && let Some(TrainError::Diverged { .. }) = error.downcast_ref()
        {
            checkpoints.clone().clear()?;
        }
        fitted?;

        trainer.decoder.to_adapter(adapter_config.clone())?.save(dir)?;
        for name in [Metrics::NAME, Metrics::RUNS, SAVED] {
            let from = checkpoints.dir().join(name);
            if from.exists() {
                std::fs::rename(&from, dir.join(name)).at("write", &from)?;
            }
        }
        checkpoints.clear()?;
        Ok(ModelHandle::HfWithAdapter { base: base.clone(), adapter: dir.to_owned() })
    }

    fn check_options(&self) -> Result<(), TrainError> {
        let options = &self.options;
        let refuse = |name, value: String, expected| Err(TrainError::BadOption { name, value, expected });
        if options.r == 0 {
            return refuse("r", "0".into(), "it must be at least 1");
        }
        if !(0.0..1.0).contains(&options.lora_dropout) {
            return refuse("lora_dropout", options.lora_dropout.to_string(), "it must be in [0, 1)");
        }
        Ok(())
    }

    fn shape(&self) -> LoraShape {
        let o = &self.options;
        LoraShape {
            rank: o.r,
            alpha: o.alpha,
            dropout: o.lora_dropout,
            use_rslora: o.use_rslora,
            use_dora: o.use_dora,
        }
    }

    fn trainer_options(&self) -> TrainerOptions {
        let args = &self.options.training;
        TrainerOptions {
            adamw: args.into(),
            max_grad_norm: args.max_grad_norm,
            dropout: self.options.lora_dropout,
            gradient_checkpointing: args.gradient_checkpointing,
            neftune_noise_alpha: args.neftune_noise_alpha.unwrap_or(0.0),
            seed: args.seed,
        }
    }

    fn workload<'a>(
        &self,
        spec: &'a Spec,
        weights: u64,
        targets: &'a [Linear],
        tokens: usize,
    ) -> Workload<'a> {
        let checkpointing = self.options.training.gradient_checkpointing;
        Workload { spec, weights, targets, rank: self.options.r, tokens, checkpointing }
    }

    /// Type of activations; says so once when it is not what was asked for.
    fn dtype(&self, context: &RunContext) -> DType {
        let asked = match self.options.torch_dtype.as_str() {
            "bfloat16" => DType::BF16,
            "float16" => DType::F16,
            _ => DType::F32,
        };
        if context.device.is_cpu() && asked != DType::F32 {
            context.events.emit(Event::Info {
                message: format!(
                    "{} was asked for; on the CPU everything is computed in float32",
                    self.options.torch_dtype
                ),
            });
            return DType::F32;
        }
        asked
    }

    /// Training and evaluation samples: the latter from a configuration of their own, or held out.
    fn datasets(&self, folder: &ModelFolder, context: &RunContext) -> Result<(Dataset, Option<Dataset>)> {
        let prepare =
            |config: &DataConfig| olive_data::prepare(config, folder, context.events, context.cancel);
        let train = prepare(&self.options.train_data)?;
        let (train, eval) = match (&self.options.eval_data, self.options.eval_dataset_size) {
            (Some(eval), _) => (train, Some(prepare(eval)?)),
            (None, Some(size)) => {
                let (train, eval) = olive_data::hold_out(train, size, self.options.training.data_seed)?;
                (train, Some(eval))
            }
            (None, None) => (train, None),
        };
        let held_out = eval.as_ref().map_or(String::new(), |e| {
            format!(", {} samples of {} tokens for evaluation", e.samples.len(), e.tokens())
        });
        context.events.emit(Event::Info {
            message: format!(
                "{} samples of {} tokens in all for training{held_out}",
                train.samples.len(),
                train.tokens()
            ),
        });
        Ok((train, eval))
    }
}

/// Tokens of the largest micro-batch that shuffling could make.
fn longest_batch(data: &Dataset, batch_size: usize) -> usize {
    let real = |s: &Sample| match &s.attention_mask {
        None => s.input_ids.len(),
        Some(mask) => mask.iter().filter(|m| **m != 0).count(),
    };
    let mut lengths: Vec<usize> = data.samples.iter().map(real).collect();
    lengths.sort_unstable_by(|a, b| b.cmp(a));
    lengths.iter().take(batch_size).sum()
}

/// What `adapter_config.json` says was selected: the names or the pattern as asked for, the resolved names otherwise.
fn target_modules(asked: Option<&Targets>, selected: &[olive_arch::Linear]) -> TargetModules {
    match asked {
        Some(Targets::Names(names)) => TargetModules::Names(names.clone()),
        Some(Targets::Pattern(pattern)) => TargetModules::Pattern(pattern.clone()),
        Some(Targets::AllLinear) | None => {
            let names: std::collections::BTreeSet<_> = selected.iter().map(|l| l.kind.name()).collect();
            TargetModules::Names(names.into_iter().map(Into::into).collect())
        }
    }
}
