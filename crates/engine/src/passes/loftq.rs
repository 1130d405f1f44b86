//! LoftQ: QLoRA whose adapter begins with what the 4 bits leave over of the weights.

use super::lora::LoraPass;
use super::lora_options::{self, ADAPTER, DTYPE, LoraOptions, TRAINING, TrainedOn};
use super::pass::{DataUse, Pass, RunContext, TrainedAdapter};
use crate::cache::KeyHasher;
use olive_config::option::{Block, Kind, Opt, at_least};
use olive_config::{
    ConfiguredPass, Era, Fields, Findings, PASS, PassContext, PassDefinition, PassOptions, PassRead, Values,
};
use olive_core::Result;
use olive_core::event::Event;
use olive_core::event::Unit;
use olive_core::handle::{ModelHandle, ModelKind};
use olive_model::loftq::Loftq;
use olive_model::{BaseFormat, QuantisedBase};
use olive_train::MemoryEstimate;
use serde::Serialize;
use std::path::Path;
use std::sync::Arc;

/// The code is NF4, the scales stay float.
#[derive(Debug, Clone, Serialize)]
pub struct LoftqOptions {
    #[serde(flatten)]
    pub lora: LoraOptions,
    /// `bfloat16`, `float16`, `float32`.
    pub compute_dtype: String,
    /// How often weights and adapter are adjusted to each other before training, at least once.
    pub loftq_iter: usize,
}

static BLOCK: Block = Block {
    name: "LoftQ",
    doc: "Trains a low-rank adapter on a model whose linear layers are held in 4 bits, beginning with what the 4 bits leave \
          over of the weights.",
    wrapper: Some("config"),
    outer: PASS,
    parts: &[
        ADAPTER,
        &[
            Opt::new("compute_dtype", DTYPE, "Type of computation; null is `torch_dtype`."),
            Opt::new(
                "loftq_iter",
                at_least(1),
                "How often the 4-bit weights and the adapter are adjusted to each other before training.",
            )
            .default("1"),
            Opt::new("quant_type", Kind::Text, "The 4-bit code.")
                .refused_unless("\"nf4\"", "LoftQ quantises to nf4; QLoRA has fp4 too"),
            Opt::new("double_quant", Kind::Bool, "Quantise the block scales too.")
                .refused_unless("false", "LoftQ keeps the scales as they are; QLoRA can quantise them"),
            Opt::new("save_quant_config", Kind::Bool, "Whether Olive's merge stays in 4 bits.")
                .only(Era::New)
                .ignored_unless("true", "merging always goes into the weights as they are stored"),
        ],
        TRAINING,
    ],
    open: None,
};

pub static LOFTQ: PassDefinition<dyn Pass> = PassDefinition {
    block: &BLOCK,
    example: "\"loftq\": {\"type\": \"LoftQ\", …}",
    gives: ModelKind::HfWithAdapter,
    read,
};

fn read(
    fields: &Fields<'_>,
    mut values: Values,
    context: &PassContext<'_>,
    findings: &mut Findings,
) -> Option<PassRead<dyn Pass>> {
    let compute_dtype = lora_options::compute_dtype(&mut values);
    let loftq_iter = values.usize("loftq_iter");
    let (lora, resolved) = lora_options::read(fields, values, TrainedOn::FourBits, context, findings)?;
    let options = LoftqOptions { lora, compute_dtype, loftq_iter };
    Some((Arc::new(LoftqPass { options }), resolved))
}

#[derive(Debug)]
pub struct LoftqPass {
    pub options: LoftqOptions,
}

impl ConfiguredPass for LoftqPass {
    fn name(&self) -> &'static str {
        "LoftQ"
    }

    fn options(&self) -> &dyn PassOptions {
        &self.options
    }

    fn output(&self, input: ModelKind) -> Result<ModelKind, String> {
        self.lora().output(input)
    }
}

impl Pass for LoftqPass {
    fn version(&self) -> u32 {
        1
    }

    fn check(&self) -> Result<()> {
        self.lora().check()
    }

    fn check_input(&self, model: Option<&ModelHandle>) -> Result<()> {
        self.lora().check_input(model)
    }

    fn uses_device(&self) -> bool {
        true
    }

    fn key(&self, hasher: &mut KeyHasher) -> Result<()> {
        hasher.field("loftq_iter", &self.options.loftq_iter);
        self.lora().key(hasher)
    }

    fn memory(&self, input: &ModelHandle) -> Result<Option<MemoryEstimate>> {
        self.lora().estimate(input, Some(Loftq::FORMAT))
    }

    fn run(&self, input: &ModelHandle, dir: &Path, context: &RunContext) -> Result<ModelHandle> {
        let iterations = self.options.loftq_iter;
        let output = self.lora().train(input, dir, context, |base| {
            let file = dir.join(QuantisedBase::BESIDE);
            let phase = "split base";
            let total = Some(QuantisedBase::count(base.spec) as u64);
            context.events.emit(Event::PhaseStarted { phase, total, unit: Unit::Tensors });
            let split = Loftq { targets: base.targets, rank: self.options.lora.r, iterations };
            let start = split.write(base.spec, base.checkpoint, &file, |done| {
                context.events.emit(Event::PhaseProgress { done: done as u64 });
                context.cancel.check()
            })?;
            context.events.emit(Event::PhaseFinished { phase });
            context.events.emit(Event::Info {
                message: format!(
                    "linear layers in {} bits a weight (nf4); the new adapter takes their rounding error to {:.1} % of what it \
                     is without",
                    Loftq::FORMAT.bits(),
                    100.0 * start.error,
                ),
            });
            Ok((Some(QuantisedBase::open(base.spec, Loftq::FORMAT, &file)?), start.low_rank))
        })?;
        let base_key = context.artefacts.map(|a| a.input_key.to_owned());
        BaseFormat { format: Loftq::FORMAT, base_key, loftq_iter: Some(iterations) }.write(dir)?;
        Ok(output)
    }

    fn writes(&self, name: &str) -> bool {
        self.lora().writes(name)
    }

    fn data(&self) -> Vec<DataUse<'_>> {
        lora_options::data(&self.options.lora)
    }

    fn adapter(&self) -> Option<TrainedAdapter> {
        self.lora().adapter().map(|adapter| TrainedAdapter { needs_quantised_base: true, ..adapter })
    }
}

impl LoftqPass {
    /// The pass that does the training.
    fn lora(&self) -> LoraPass {
        LoraPass::computing_in(&self.options.compute_dtype, &self.options.lora)
    }
}
