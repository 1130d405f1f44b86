//! The `ModelBuilder` pass: a Hugging Face model, or one with an adapter, to an ONNX folder for onnxruntime-genai.

use super::data_key;
use super::pass::{DataPurpose, DataUse, Mismatch, Pass, RunContext, check_data};
use crate::cache::KeyHasher;
use olive_config::{ConfiguredPass, DataConfig, EvalSize, PassDefinition, PassOptions};
use olive_core::Result;
use olive_core::device::Device;
use olive_core::event::Event;
use olive_core::handle::{ModelHandle, ModelKind};
use olive_decoder::Decoder;
use olive_model::{Adapter, AdapterConfig, MergedCheckpoint, ModelFolder, QuantisedBase, WeightSource};
use olive_onnx::{Adapters, BuildOptions, Calibration, ModelBuilderOptions, Weights, adapter_file};
use std::path::Path;
use std::sync::Arc;

pub static MODEL_BUILDER: PassDefinition<dyn Pass> = PassDefinition {
    block: &olive_onnx::MODEL_BUILDER,
    page: "model_builder.md",
    example: "\"builder\": {\"type\": \"ModelBuilder\", …}",
    gives: ModelKind::Onnx,
    read: |fields, values, context, findings| {
        let (options, resolved) = olive_onnx::read_model_builder(fields, values, context, findings)?;
        Some((Arc::new(ModelBuilderPass { options }), resolved))
    },
};

#[derive(Debug, Clone)]
pub struct ModelBuilderPass {
    pub options: ModelBuilderOptions,
}

impl ConfiguredPass for ModelBuilderPass {
    fn name(&self) -> &'static str {
        "ModelBuilder"
    }

    fn options(&self) -> &dyn PassOptions {
        &self.options
    }

    fn output(&self, input: ModelKind) -> Result<ModelKind, String> {
        match input {
            ModelKind::Hf | ModelKind::HfWithNote | ModelKind::Onnx
                if self.options.adapters == Adapters::Separate =>
            {
                Err("there is no adapter to keep apart; a pass that trains, such as LoRA, makes one".into())
            }
            // An adapter is merged on the way, so that the base is never exported alone.
            ModelKind::Hf | ModelKind::HfWithAdapter | ModelKind::HfWithNote => Ok(ModelKind::Onnx),
            ModelKind::Onnx if self.options.metadata_only => Ok(ModelKind::Onnx),
            ModelKind::Onnx => {
                Err("the model is an ONNX model already; `metadata_only` writes genai_config.json for one"
                    .into())
            }
        }
    }
}

impl Pass for ModelBuilderPass {
    fn version(&self) -> u32 {
        2
    }

    fn key(&self, hasher: &mut KeyHasher) -> Result<()> {
        let mut options = self.options.clone();
        if let Some(data) = &mut options.calibration {
            data_key::feed("calibration", data, hasher)?;
        }
        hasher.field("options", &options);
        Ok(())
    }

    fn check(&self) -> Result<()> {
        BuildOptions::new(&self.options)?;
        check_data(&self.data())
    }

    fn check_input(&self, model: Option<&ModelHandle>) -> Result<()> {
        let layers = self.options.num_hidden_layers;
        let folder = model.map(|model| ModelFolder::open(model.base())?.with_layers(layers)).transpose()?;
        if let Some((model, folder)) = model.zip(folder.as_ref()) {
            if model.kind() != ModelKind::Onnx && !self.options.metadata_only {
                olive_onnx::check_codes(&folder.checkpoint()?)?;
            }
            if let ModelHandle::HfWithAdapter { adapter, .. } = model {
                AdapterConfig::open(adapter)?;
            }
            for data in self.data() {
                olive_data::check_model(&data.config.pre_process, folder)?;
            }
            if let (ModelHandle::HfWithAdapter { adapter, .. }, Adapters::Separate) =
                (model, self.options.adapters)
            {
                let spec = folder.spec()?;
                olive_onnx::check_adapter(&within(&Adapter::open(adapter)?, spec.num_layers()), &spec)?;
            }
        }
        self.data().iter().try_for_each(|data| olive_data::check_rows(data.config, folder.as_ref()))
    }

    fn run(&self, input: &ModelHandle, dir: &Path, context: &RunContext) -> Result<ModelHandle> {
        let options = BuildOptions::new(&self.options)?;
        let open = |base: &Path| ModelFolder::open(base)?.with_layers(options.num_hidden_layers);
        let separate = self.options.adapters == Adapters::Separate;
        let build = |folder: &ModelFolder,
                     source: &dyn WeightSource,
                     quantised: Option<&QuantisedBase>,
                     adapter: Option<&Adapter>| {
            let data = self.options.calibration.as_ref();
            let calibration = data.map(|data| calibration(data, folder, quantised, adapter, context));
            olive_onnx::build(
                folder,
                Weights { source, adapter: adapter.filter(|_| separate) },
                &options,
                calibration.transpose()?,
                dir,
                context.cancel,
                context.events,
            )
        };
        match input {
            ModelHandle::Hf { dir: base } | ModelHandle::HfWithNote { base, .. } if options.metadata_only => {
                olive_onnx::write_metadata(&open(base)?, &options, dir)?;
            }
            ModelHandle::HfWithAdapter { base, adapter } if options.metadata_only => {
                let folder = open(base)?.with_adapter(adapter);
                olive_onnx::write_metadata(&folder, &options, dir)?;
                if separate {
                    let adapter = within(&Adapter::open(adapter)?, folder.spec()?.num_layers());
                    let weights = Weights { source: &folder.checkpoint()?, adapter: Some(&adapter) };
                    olive_onnx::write_adapter(&folder, weights, &options, dir)?;
                }
            }
            ModelHandle::Hf { dir: base } | ModelHandle::HfWithNote { base, .. } => {
                if input.kind() == ModelKind::HfWithNote {
                    let message = "the note of SelectiveMixedPrecision has no effect without a quantiser, such as Gptq or Rtn, \
                                   after it";
                    context.events.emit(Event::Warning { message: message.into() });
                }
                let folder = open(base)?;
                build(&folder, &folder.checkpoint()?, None, None)?;
            }
            ModelHandle::HfWithAdapter { base, adapter } => {
                let whole = ModelFolder::open(base)?.with_adapter(adapter);
                let quantised = QuantisedBase::beside(adapter, &whole.spec()?)?;
                let folder = whole.with_layers(options.num_hidden_layers)?;
                let (tied, layers) = (folder.spec()?.tied, folder.spec()?.num_layers());
                let opened = Adapter::open(adapter)?;
                let checkpoint = folder.checkpoint()?;
                let mut merged = if separate {
                    MergedCheckpoint::unchanged(checkpoint)
                } else {
                    MergedCheckpoint::new(checkpoint, opened.clone(), tied, adapter)?
                };
                if let Some(quantised) = &quantised {
                    merged = merged.onto(quantised.clone());
                }
                let opened = if separate { within(&opened, layers) } else { opened };
                build(&folder, &merged, quantised.as_ref(), Some(&opened))?;
            }
            ModelHandle::Onnx { dir: model } if options.metadata_only => {
                olive_onnx::add_metadata(model, &options, dir)?;
            }
            ModelHandle::Onnx { .. } => {
                unreachable!("`output_kind` refuses ONNX models before anything runs")
            }
        }
        Ok(ModelHandle::Onnx { dir: dir.to_owned() })
    }

    fn writes(&self, name: &str) -> bool {
        name.strip_suffix(".data").unwrap_or(name) == self.options.file_name()
            || name == "genai_config.json"
            || (self.options.adapters == Adapters::Separate && name == adapter_file::FILE)
            || ModelFolder::is_side_file(name)
    }

    fn data(&self) -> Vec<DataUse<'_>> {
        let calibration = self.options.calibration.iter().flat_map(DataConfig::parts);
        calibration.map(|config| DataUse { purpose: DataPurpose::Calibration, config }).collect()
    }

    fn naming_graph(&self, name: &str) -> Option<Arc<dyn Pass>> {
        let options = ModelBuilderOptions { filename: Some(name.to_owned()), ..self.options.clone() };
        self.options.filename.is_none().then(|| Arc::new(ModelBuilderPass { options }) as Arc<dyn Pass>)
    }

    fn leaving_adapter_apart(&self) -> Option<Arc<dyn Pass>> {
        let options = ModelBuilderOptions { adapters: Adapters::Separate, ..self.options.clone() };
        (self.options.adapters == Adapters::Merged)
            .then(|| Arc::new(ModelBuilderPass { options }) as Arc<dyn Pass>)
    }

    fn after(&self, before: &dyn Pass) -> Result<Option<Arc<dyn Pass>>, Mismatch> {
        let tied = before.adapter().and_then(|adapter| adapter.tied_to_base);
        match (self.options.adapters, tied) {
            (Adapters::Separate, Some(what)) => Err(Mismatch {
                reason: format!("{what}, so its adapter cannot be kept apart"),
                hint: "`adapters: merged` puts it into the weights",
            }),
            (Adapters::Separate, None) | (Adapters::Merged, _) => Ok(None),
        }
    }
}

/// Share of the data that measures what the rest has chosen.
const HELD_OUT: f64 = 0.25;
const HELD_OUT_SEED: u64 = 42;

/// The data that chooses codes, and the model as it runs in float. Codes are chosen on the CPU, wherever the rest runs.
fn calibration(
    config: &DataConfig,
    folder: &ModelFolder,
    quantised: Option<&QuantisedBase>,
    adapter: Option<&Adapter>,
    context: &RunContext,
) -> Result<Calibration> {
    let dataset = olive_data::prepare(config, folder, context.events, context.cancel)?;
    let (samples, held_out) = olive_data::hold_out(dataset, EvalSize::Fraction(HELD_OUT), HELD_OUT_SEED)?;
    let load = |adapter| Decoder::load(folder, quantised, adapter, &Device::Cpu);
    let layers = folder.spec()?.num_layers();
    let adapter = adapter.map(|adapter| within(adapter, layers));
    Ok(Calibration { float: load(adapter.as_ref())?, work: load(None)?, samples, held_out })
}

/// The adapter of a model of which only the first layers are built.
fn within(adapter: &Adapter, layers: usize) -> Adapter {
    let stays = |module: &str| {
        let layer = module.strip_prefix("model.layers.").and_then(|rest| rest.split('.').next());
        layer.and_then(|layer| layer.parse::<usize>().ok()).is_none_or(|layer| layer < layers)
    };
    let mut adapter = adapter.clone();
    adapter.modules.retain(|module, _| stays(module));
    adapter.whole.retain(|module, _| stays(module));
    adapter
}
