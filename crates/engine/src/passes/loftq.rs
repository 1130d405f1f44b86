//! LoftQ: QLoRA whose adapter begins with what the 4 bits leave over of the weights.

use super::{LoraPass, Pass, RunContext};
use crate::cache::KeyHasher;
use olive_config::LoftqOptions;
use olive_core::Result;
use olive_core::event::Event;
use olive_core::event::Unit;
use olive_core::handle::ModelHandle;
use olive_model::loftq::Loftq;
use olive_model::{BaseFormat, QuantisedBase};
use olive_train::MemoryEstimate;
use std::path::Path;

pub struct LoftqPass {
    pub options: LoftqOptions,
}

impl Pass for LoftqPass {
    fn name(&self) -> &'static str {
        "LoftQ"
    }

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
}

impl LoftqPass {
    /// The pass that does the training.
    fn lora(&self) -> LoraPass {
        LoraPass::computing_in(&self.options.compute_dtype, &self.options.lora)
    }
}
