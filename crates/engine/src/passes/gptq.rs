//! The pass `Gptq`: the linear layers of a checkpoint as codes, chosen by what flows through the model.

use super::code_options::{
    BITS, GroupSize, ModuleOverrides, Work, attach_data, output, settings, with_moved_data,
};
use super::data_key;
use super::pass::{DataPurpose, DataUse, MoveData, Pass, RunContext, check_data};
use crate::cache::KeyHasher;
use olive_arch::Spec;
use olive_config::option::{Block, POSITIVE};
use olive_config::{
    ConfiguredPass, DataConfig, Fields, Findings, PASS, PassContext, PassDefinition, PassOptions, PassRead,
    Values, options,
};
use olive_core::device::Device;
use olive_core::handle::{ModelHandle, ModelKind};
use olive_core::{Result, error::IoContext};
use olive_decoder::Decoder;
use olive_kernels::quant::gptq::Order;
use olive_model::ModelFolder;
use olive_model::{NewCodes, PackedCodes};
use olive_quantise::calibration_batch::Together;
use olive_quantise::{Gptq, LayerCodes, Plan, QuantiseError, Wanted, kept};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

options! {
    #[derive(Debug, Clone, Serialize)]
    pub struct GptqOptions {
        GPTQ_OPTIONS {
            /// Bits of a weight.
            pub bits: u8 = BITS, default("4"), searchable();
            /// Neighbours in a row that share a scale: a power of two from 16 on; -1 is the whole row.
            pub group_size: GroupSize, default("128"), searchable();
            /// No zero points.
            pub sym: bool, default("false"), searchable();
            /// Quantise the head as well.
            pub lm_head: bool, default("false"), searchable();
            /// Other settings for single modules: `{"lm_head": {"bits": 8, "group_size": 32, "symmetric": false}}`.
            pub overrides: ModuleOverrides;
            /// Share of the mean of the moments that is added to their diagonal.
            pub damp_percent: f64 = POSITIVE, default("0.01"), searchable();
            /// Round the columns with the largest inputs first; null: if a whole row shares a scale, which is the only
            /// case where that is possible.
            pub desc_act: Option<bool>;
            /// Dataset that flows through the model: a name in `data_configs`.
            pub data_config: Option<DataConfig>;
        }
    }
}

static BLOCK: Block = Block {
    name: "Gptq",
    doc: "Rounds the weights of a checkpoint to few bits, each error made up for by the columns after it.",
    wrapper: Some("config"),
    outer: PASS,
    parts: &[GPTQ_OPTIONS],
    open: None,
};

pub static GPTQ: PassDefinition<dyn Pass> = PassDefinition {
    block: &BLOCK,
    page: "quantise.md",
    example: "\"gptq\": {\"type\": \"Gptq\", \"bits\": 4, \"data_config\": …}",
    gives: ModelKind::Hf,
    read,
};

fn read(
    fields: &Fields<'_>,
    mut values: Values,
    context: &PassContext<'_>,
    findings: &mut Findings,
) -> Option<PassRead<dyn Pass>> {
    let shown = attach_data(fields, &mut values, context, findings);
    let options = GptqOptions::read(&values)?;
    if options.desc_act == Some(true) && options.group_size.0 != -1 {
        let message = "columns can be rounded in another order only where a whole row shares a scale";
        values.error(
            "desc_act",
            message,
            Some("set `group_size` to -1, or leave `desc_act` out".into()),
            findings,
        );
    }
    Some((Arc::new(GptqPass { options }), shown))
}

#[derive(Debug, Clone)]
pub struct GptqPass {
    pub options: GptqOptions,
}

impl ConfiguredPass for GptqPass {
    fn name(&self) -> &'static str {
        "Gptq"
    }

    fn options(&self) -> &dyn PassOptions {
        &self.options
    }

    fn output(&self, input: ModelKind) -> Result<ModelKind, String> {
        output(input)
    }
}

impl GptqPass {
    fn wanted(&self) -> Wanted {
        let GptqOptions { bits, group_size, sym, lm_head, overrides, .. } = &self.options;
        Wanted {
            default: settings(*bits, *group_size, *sym),
            overrides: overrides.0.clone(),
            lm_head: *lm_head,
            embeds: false,
        }
    }

    fn data(&self) -> Result<&DataConfig, QuantiseError> {
        self.options.data_config.as_ref().ok_or(QuantiseError::DataMissing { pass: "Gptq" })
    }

    fn order(&self) -> Order {
        match self.options.desc_act.unwrap_or(self.options.group_size.0 == -1) {
            true => Order::ByActivation,
            false => Order::AsTheyStand,
        }
    }

    /// Chooses codes, and leaves those of every layer in `dir`.
    fn choose(&self, work: &Work, plan: &Plan, dir: &Path, context: &RunContext) -> Result<()> {
        let data = self.data()?;
        let batches = work.batches(data, Together::Any, context)?;
        let load = || Decoder::load(&work.folder, None, None, &Device::Cpu);
        let float = load()?;
        let scheme = |module: &str| work.scheme(plan.new.iter().find(|new| new.module == module)?);
        let gptq = Gptq {
            float: &float,
            source: &work.checkpoint,
            scheme: &scheme,
            order: self.order(),
            damping: self.options.damp_percent as f32,
            cancel: context.cancel,
            events: context.events,
        };
        let mut earlier = |layer: usize| kept::read(&layer_file(dir, Some(layer)), Some(layer), &scheme);
        let mut done = |codes: LayerCodes| kept::write(&layer_file(dir, codes.layer), &codes);
        gptq.run(load()?, &batches, &mut earlier, &mut done)
    }
}

/// Where the codes of a layer, or of the head, are kept until all are there.
fn layer_file(dir: &Path, layer: Option<usize>) -> PathBuf {
    dir.join(layer.map_or("head.safetensors".to_owned(), |layer| format!("layer-{layer}.safetensors")))
}

impl Pass for GptqPass {
    fn version(&self) -> u32 {
        1
    }

    fn key(&self, hasher: &mut KeyHasher) -> Result<()> {
        let mut options = self.options.clone();
        if let Some(data) = &mut options.data_config {
            data_key::feed("calibration", data, hasher)?;
        }
        hasher.field("options", &options);
        Ok(())
    }

    fn check(&self) -> Result<()> {
        self.data()?;
        check_data(&Pass::data(self))
    }

    fn check_input(&self, model: Option<&ModelHandle>) -> Result<()> {
        let Some(model) = model else { return Ok(()) };
        let work = Work::on(model)?;
        work.check_data(&Pass::data(self))?;
        work.plan(&self.wanted(), &()).map(drop)
    }

    fn run(&self, input: &ModelHandle, dir: &Path, context: &RunContext) -> Result<ModelHandle> {
        let work = Work::on(input)?;
        if work.folder.quantisation()?.is_some() {
            return Err(QuantiseError::Quantised { pass: "Gptq" }.into());
        }
        let plan = work.plan(&self.wanted(), context.events)?;
        let layers = dir.join("resume");
        std::fs::create_dir_all(&layers).at("create", &layers)?;
        self.choose(&work, &plan, &layers, context)?;
        let mut codes = |new: &NewCodes| -> Result<PackedCodes> {
            let layer = (new.module != Spec::HEAD_MODULE).then(|| layer_of(&new.module)).flatten();
            let scheme = work.scheme(new).ok_or(QuantiseError::Quantised { pass: "Gptq" })?;
            kept::packed(&layer_file(&layers, layer), &new.module, scheme)
        };
        work.write(&plan, dir, &mut codes, context)?;
        Ok(ModelHandle::Hf { dir: dir.to_owned() })
    }

    fn writes(&self, name: &str) -> bool {
        ModelFolder::is_model_file(name)
    }

    fn data(&self) -> Vec<DataUse<'_>> {
        let data = self.options.data_config.iter().flat_map(DataConfig::parts);
        data.map(|config| DataUse { purpose: DataPurpose::Calibration, config }).collect()
    }

    fn with_data(&self, moved: &mut MoveData) -> Result<Option<Arc<dyn Pass>>> {
        with_moved_data(self, |pass| &mut pass.options.data_config, moved)
    }
}

/// The number in `model.layers.N.…`.
fn layer_of(module: &str) -> Option<usize> {
    module.split('.').find_map(|part| part.parse().ok())
}
