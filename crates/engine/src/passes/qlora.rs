//! QLoRA: trains a low-rank adapter on a base whose linear layers are held in 4 bits.

use super::{LoraPass, Pass, RunContext, quantised_base};
use crate::cache::KeyHasher;
use olive_config::{QloraOptions, QuantType};
use olive_core::Result;
use olive_core::event::Event;
use olive_core::handle::ModelHandle;
use olive_kernels::quant::nf4::Code;
use olive_model::{BaseFormat, FourBitFormat};
use olive_train::MemoryEstimate;
use std::collections::BTreeMap;
use std::path::Path;

pub struct QloraPass {
    pub options: QloraOptions,
}

impl Pass for QloraPass {
    fn name(&self) -> &'static str {
        "QLoRA"
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
        hasher.field("base", &self.format());
        self.lora().key(hasher)
    }

    fn memory(&self, input: &ModelHandle) -> Result<Option<MemoryEstimate>> {
        self.lora().estimate(input, Some(self.format()))
    }

    fn run(&self, input: &ModelHandle, dir: &Path, context: &RunContext) -> Result<ModelHandle> {
        let format = self.format();
        let artefacts = context.artefacts.as_ref();
        let output = self.lora().train(input, dir, context, |base| {
            let quantised =
                quantised_base::open(base.dir, base.spec, base.checkpoint, format, artefacts, context)?;
            context.events.emit(Event::Info {
                message: format!(
                    "linear layers in {} bits a weight ({}{})",
                    (100.0 * format.bits()).round() / 100.0,
                    format.quant_type.name(),
                    if format.double_quant { ", scales quantised" } else { "" },
                ),
            });
            Ok((Some(quantised), BTreeMap::new()))
        })?;
        // For whoever wants to know, or to have, the weights that the adapter was trained on.
        let base_key = artefacts.map(|a| a.input_key.to_owned());
        BaseFormat { format, base_key, loftq_iter: None }.write(dir)?;
        Ok(output)
    }
}

impl QloraPass {
    /// The pass that does the training.
    fn lora(&self) -> LoraPass {
        LoraPass::computing_in(&self.options.compute_dtype, &self.options.lora)
    }

    fn format(&self) -> FourBitFormat {
        let quant_type = match self.options.quant_type {
            QuantType::Nf4 => Code::Nf4,
            QuantType::Fp4 => Code::Fp4,
        };
        FourBitFormat { quant_type, double_quant: self.options.double_quant }
    }
}
