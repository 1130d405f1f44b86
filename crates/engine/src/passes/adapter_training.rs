//! Trains an adapter on a frozen base: what LoRA, QLoRA and LoftQ share.

use super::lora_options::{self, LoraOptions};
use super::training_log::LoggedEvents;
use super::{MemoryPolicy, RunContext};
use crate::cache::folder::remove_if_there;
use candle_core::DType;
use olive_arch::{Linear, Spec};
use olive_config::Targets;
use olive_core::available::Available;
use olive_core::device::uses_host_memory;
use olive_core::error::IoContext;
use olive_core::event::Event;
use olive_core::handle::ModelHandle;
use olive_core::{Error, Result};
use olive_data::{Dataset, Sample};
use olive_decoder::{Decoder, whole};
use olive_kernels::activation_type;
use olive_kernels::quant::low_rank::LowRank;
use olive_model::adapter_config::TargetModules;
use olive_model::{Adapter, AdapterConfig, Checkpoint, ModelFolder, QuantisedBase};
use olive_train::metrics::Metrics;
use olive_train::{
    Checkpoints, Fit, LoraShape, MemoryNeed, Saver, TrainError, Trainer, TrainerOptions, Workload, targets,
    wandb,
};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

/// Time between two checkpoints of a run that is not interrupted.
const SAVE_EVERY: Duration = Duration::from_secs(60);
/// Folder of the adapters that `save_steps` asks for.
const SAVED: &str = "checkpoints";
/// Folder of an adapter before its first step, if its product B · A does not begin as zero; Olive's name for it.
const INITIAL: &str = "loftq_init_adapter";

/// The model that is trained on.
pub(super) struct Base<'a> {
    pub(super) dir: &'a Path,
    pub(super) spec: &'a Spec,
    pub(super) checkpoint: &'a Checkpoint,
    /// The layers that get an adapter.
    pub(super) targets: &'a [Linear],
}

/// What takes the place of the base's linear layers, if anything does, and the low-rank matrices, by module, that the
/// adapter begins with.
pub(super) type Quantised = (Option<QuantisedBase>, BTreeMap<String, LowRank>);

/// Trains an adapter as `options` say on the model `input`, and writes it into `dir`. `quantise` gives the linear layers
/// to train on, or none to train on the base as it is. What is written on the way lies in its final place from the start:
/// whenever this ends, or is killed, `dir` holds a state to go on from and all that belongs to it.
///
/// # Errors
/// An option, data or a model that cannot be used, too little memory, a run that diverged, or an interruption.
pub(super) fn train(
    options: &LoraOptions,
    input: &ModelHandle,
    dir: &Path,
    context: &RunContext,
    quantise: impl FnOnce(&Base) -> Result<Quantised>,
) -> Result<ModelHandle> {
    let ModelHandle::Hf { dir: base } = input else {
        unreachable!("`output_kind` admits Hugging Face models only")
    };
    let training = AdapterTraining::prepare(options, base, context)?;
    training.check_memory()?;
    let (decoder, config) = training.decoder(dir, quantise)?;
    let mut trainer = Trainer::new(decoder, trainer_options(options))?;
    training.fit(&mut trainer, &config, dir)?;
    trainer.decoder.to_adapter(config)?.save(dir)?;
    Ok(ModelHandle::HfWithAdapter { base: base.clone(), adapter: dir.to_owned() })
}

/// What the memory of the training depends on, with `weights` bytes of base weights and `tokens` tokens in the largest
/// micro-batch.
pub(super) fn workload<'a>(
    options: &LoraOptions,
    spec: &'a Spec,
    weights: u64,
    targets: &'a [Linear],
    tokens: usize,
) -> Workload<'a> {
    Workload {
        spec,
        weights,
        targets,
        rank: options.r,
        tokens,
        checkpointing: options.training.gradient_checkpointing,
        dropout: options.lora_dropout > 0.0,
        use_dora: options.use_dora,
    }
}

/// A training whose model and data are known.
struct AdapterTraining<'a> {
    options: &'a LoraOptions,
    context: &'a RunContext<'a>,
    /// Folder of the base model.
    base: &'a Path,
    spec: Spec,
    checkpoint: Checkpoint,
    targets: Vec<Linear>,
    /// Modules that are trained whole, with their shapes.
    whole: Vec<(String, Vec<usize>)>,
    train: Dataset,
    eval: Option<Dataset>,
}

impl<'a> AdapterTraining<'a> {
    /// Selects the layers to train and prepares the data.
    fn prepare(
        options: &'a LoraOptions,
        base: &'a Path,
        context: &'a RunContext<'a>,
    ) -> Result<AdapterTraining<'a>> {
        let folder = ModelFolder::open(base)?;
        let spec = folder.spec()?;
        let targets = targets::select(&spec, options.target_modules.as_ref())?;
        let whole = targets::select_whole(&spec, options.modules_to_save.as_deref().unwrap_or_default())?;
        let (train, eval) = datasets(options, &folder, context)?;
        let checkpoint = folder.checkpoint()?;
        Ok(AdapterTraining { options, context, base, spec, checkpoint, targets, whole, train, eval })
    }

    /// Refuses a training that does not fit into the memory of this machine; that of a device is not looked at.
    fn check_memory(&self) -> Result<()> {
        if uses_host_memory(&self.context.device) && self.context.memory == MemoryPolicy::Refuse {
            let batch_size = self.options.training.per_device_train_batch_size;
            let tokens = longest_batch(&self.train, batch_size);
            let weights = self.checkpoint.size();
            let workload = workload(self.options, &self.spec, weights, &self.targets, tokens);
            MemoryNeed::of(&workload).check(&Available::now())?;
        }
        Ok(())
    }

    /// The base with a new adapter on it, and the adapter's configuration. An adapter that does not begin with a product of
    /// zero is saved in `dir`.
    fn decoder(
        &self,
        dir: &Path,
        quantise: impl FnOnce(&Base) -> Result<Quantised>,
    ) -> Result<(Decoder, AdapterConfig)> {
        let dtype = self.dtype();
        let (quantised, low_rank) = quantise(&Base {
            dir: self.base,
            spec: &self.spec,
            checkpoint: &self.checkpoint,
            targets: &self.targets,
        })?;
        let (spec, device) = (self.spec.clone(), &self.context.device);
        let mut decoder = Decoder::with_base(spec, &self.checkpoint, quantised.as_ref(), dtype, device)?;
        let mut adapter = self.adapter()?;
        if !low_rank.is_empty() {
            olive_train::begin_with(&mut adapter, &low_rank);
            adapter.save(&dir.join(INITIAL))?;
        }
        // The decoder copies the matrices: those of the adapter go when this returns.
        decoder.attach(&adapter)?;
        Ok((decoder, adapter.config))
    }

    /// An adapter before its first step, and the modules that are trained whole as the base has them.
    fn adapter(&self) -> Result<Adapter> {
        let (options, named) = (self.options, self.context.base);
        let base_name = match named {
            Some(named) => named.id.clone(),
            None => self.base.canonicalize().at("read", self.base)?.display().to_string(),
        };
        let mut adapter = olive_train::fresh_adapter(
            &self.targets,
            target_modules(options.target_modules.as_ref(), &self.targets),
            &lora_shape(options),
            options.training.seed,
            Some(base_name),
        );
        adapter.config.revision = named.and_then(|named| named.revision.clone());
        adapter.config.modules_to_save = options.modules_to_save.clone();
        for (module, shape) in &self.whole {
            adapter.whole.insert(module.clone(), whole::initial(&self.checkpoint, module, shape)?);
        }
        Ok(adapter)
    }

    /// Type of activations; says so once when it is not what was asked for.
    fn dtype(&self) -> DType {
        let asked = match self.options.torch_dtype.as_str() {
            "bfloat16" => DType::BF16,
            "float16" => DType::F16,
            _ => DType::F32,
        };
        let dtype = activation_type(asked, &self.context.device);
        if dtype != asked {
            self.context.events.emit(Event::Info {
                message: format!(
                    "{} was asked for; on the CPU everything is computed in float32",
                    self.options.torch_dtype
                ),
            });
        }
        dtype
    }

    /// Trains up to the last step.
    fn fit(&self, trainer: &mut Trainer, config: &AdapterConfig, dir: &Path) -> Result<()> {
        let args = &self.options.training;
        let state = dir.join(Checkpoints::NAME);
        let checkpoints = Checkpoints::open(state.clone())?;
        let saver = Saver {
            saving: &args.saving,
            config,
            dir: args.saving.output_dir.clone().unwrap_or_else(|| dir.join(SAVED)),
            keeps_best: args.selection.load_best_model_at_end,
        };
        let events = LoggedEvents::start(self.context.log.mlflow.as_ref(), &state, self.context.events);
        let fitted = olive_train::fit(
            trainer,
            &Fit {
                train: &self.train,
                eval: self.eval.as_ref(),
                args,
                checkpoints: &checkpoints,
                metrics_dir: dir,
                wandb: self.context.log.wandb.as_ref(),
                saver: Some(&saver),
                save_every: SAVE_EVERY,
                pause_after: self.context.pause_after,
                events: &events,
                cancel: self.context.cancel,
            },
        );
        events.finish(fitted.as_ref().err());
        // The state of a training that diverged must not look like something to go on from, nor its adapters like results.
        if fitted.as_ref().is_err_and(has_diverged) {
            checkpoints.clear()?;
            let written = [Metrics::NAME, Metrics::RUNS, wandb::FOLDER, SAVED].map(|name| dir.join(name));
            written.iter().try_for_each(|path| remove_if_there(path))?;
            // Damaged weights are no divergence.
            trainer.decoder.check_weights()?;
        }
        fitted.map(drop)
    }
}

fn has_diverged(error: &Error) -> bool {
    matches!(error.downcast_ref(), Some(TrainError::Diverged { .. }))
}

/// Training and evaluation samples: the latter from a configuration of their own, or held out.
fn datasets(
    options: &LoraOptions,
    folder: &ModelFolder,
    context: &RunContext,
) -> Result<(Dataset, Option<Dataset>)> {
    let training = lora_options::training(options);
    let (train, eval) = training.datasets(folder, context.events, context.cancel)?;
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

fn lora_shape(options: &LoraOptions) -> LoraShape {
    LoraShape {
        rank: options.r,
        alpha: options.alpha,
        dropout: options.lora_dropout,
        use_rslora: options.use_rslora,
        use_dora: options.use_dora,
    }
}

fn trainer_options(options: &LoraOptions) -> TrainerOptions {
    let args = &options.training;
    TrainerOptions {
        adamw: args.into(),
        max_grad_norm: args.max_grad_norm,
        dropout: options.lora_dropout,
        gradient_checkpointing: args.gradient_checkpointing,
        neftune_noise_alpha: args.neftune_noise_alpha.unwrap_or(0.0),
        seed: args.seed,
    }
}

/// Tokens of the largest micro-batch that shuffling could make.
pub(super) fn longest_batch(data: &Dataset, batch_size: usize) -> usize {
    let mut lengths: Vec<usize> = data.samples.iter().map(Sample::real_tokens).collect();
    lengths.sort_unstable_by(|a, b| b.cmp(a));
    lengths.iter().take(batch_size).sum()
}

/// What `adapter_config.json` says was selected: the names or the pattern as asked for, the resolved names otherwise.
fn target_modules(asked: Option<&Targets>, selected: &[Linear]) -> TargetModules {
    match asked {
        Some(Targets::Names(names)) => TargetModules::Names(names.clone()),
        Some(Targets::Pattern(pattern)) => TargetModules::Pattern(pattern.clone()),
        Some(Targets::AllLinear) | None => {
            let names: BTreeSet<_> = selected.iter().map(|l| l.kind.name()).collect();
            TargetModules::Names(names.into_iter().map(Into::into).collect())
        }
    }
}
