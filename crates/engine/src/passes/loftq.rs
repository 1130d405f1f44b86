//! LoftQ: QLoRA whose adapter begins with what the 4 bits leave over of the weights.

use super::lora::LoraPass;
use super::lora_options::{self, ADAPTER, DTYPE, LoraOptions, TRAINING, TrainedOn};
use super::pass::{DataUse, MoveData, Pass, RunContext, SampleLengths, TrainedAdapter};
use super::training::Training;
use crate::cache::KeyHasher;
use olive_config::option::{BOOL, Block, TEXT, at_least};
use olive_config::{
    ConfiguredPass, Era, Fields, Findings, PASS, PassContext, PassDefinition, PassOptions, PassRead, Values,
    options,
};
use olive_core::Result;
use olive_core::event::Event;
use olive_core::event::Unit;
use olive_core::handle::{ModelHandle, ModelKind};
use olive_model::loftq::Loftq;
use olive_model::{BaseFormat, QuantisedBase};
use olive_train::MemoryNeed;
use serde::Serialize;
use std::path::Path;
use std::sync::Arc;

options! {
    /// The code is NF4, the scales stay float.
    #[derive(Debug, Clone, Serialize)]
    pub struct LoftqOptions {
        QUANTISATION {
            /// The adapter and its training.
            #[serde(flatten)]
            nested lora: LoraOptions;
            /// Type of computation; null is `torch_dtype`.
            pub compute_dtype: String = DTYPE;
            /// How often the 4-bit weights and the adapter are adjusted to each other before training.
            pub loftq_iter: usize = at_least(1), default("1"), searchable();
            /// The 4-bit code.
            - "quant_type" = TEXT, refused_unless("\"nf4\"", "LoftQ quantises to nf4; QLoRA has fp4 too");
            /// Quantise the block scales too.
            - "double_quant" = BOOL,
                refused_unless("false", "LoftQ keeps the scales as they are; QLoRA can quantise them");
            /// Whether Olive's merge stays in 4 bits.
            - "save_quant_config" = BOOL, only(Era::New), quiet();
        }
    }
}

static BLOCK: Block = Block {
    name: "LoftQ",
    doc: "Trains a low-rank adapter on a model whose linear layers are held in 4 bits, beginning with what the 4 bits leave \
          over of the weights.",
    wrapper: Some("config"),
    outer: PASS,
    parts: &[ADAPTER, QUANTISATION, TRAINING],
    open: None,
};

pub static LOFTQ: PassDefinition<dyn Pass> = PassDefinition {
    block: &BLOCK,
    page: "qlora.md",
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
    lora_options::resolve_compute_dtype(&mut values);
    let shown = lora_options::resolve(fields, &mut values, TrainedOn::FourBits, context, findings);
    Some((Arc::new(LoftqPass { options: LoftqOptions::read(&values)? }), shown))
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
        2
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

    fn memory(&self, input: &ModelHandle, lengths: SampleLengths) -> Result<Option<MemoryNeed>> {
        self.lora().need(input, lengths, Some(Loftq::FORMAT))
    }

    fn run(&self, input: &ModelHandle, dir: &Path, context: &RunContext) -> Result<ModelHandle> {
        let iterations = self.options.loftq_iter;
        let output = self.lora().train(input, dir, context, |base| {
            let file = dir.join(QuantisedBase::BESIDE);
            let phase = "split base";
            let total = Some(QuantisedBase::count(base.spec) as u64);
            context.events.emit(Event::PhaseStarted { phase: phase.into(), total, unit: Unit::Tensors });
            let split = Loftq { targets: base.targets, rank: self.options.lora.r, iterations };
            let start = split.write(base.spec, base.checkpoint, &file, |done| {
                context.events.emit(Event::PhaseProgress { done: done as u64 });
                context.cancel.check()
            })?;
            context.events.emit(Event::PhaseFinished { phase: phase.into() });
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

    fn with_data(&self, moved: &mut MoveData) -> Result<Option<Arc<dyn Pass>>> {
        let lora = lora_options::with_data(&self.options.lora, moved)?;
        Ok(Some(Arc::new(LoftqPass { options: LoftqOptions { lora, ..self.options.clone() } })))
    }

    fn training(&self) -> Option<Training<'_>> {
        Some(lora_options::training(&self.options.lora))
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
