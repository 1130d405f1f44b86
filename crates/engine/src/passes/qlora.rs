//! QLoRA: trains a low-rank adapter on a base whose linear layers are held in 4 bits.

use super::lora::LoraPass;
use super::lora_options::{self, ADAPTER, DTYPE, LoraOptions, TRAINING, TrainedOn};
use super::pass::{DataUse, MoveData, Pass, RunContext, SampleLengths, TrainedAdapter};
use super::quantised_base;
use super::training::Training;
use crate::cache::KeyHasher;
use olive_config::option::{BOOL, Block};
use olive_config::{
    ConfiguredPass, Era, Fields, Findings, PASS, PassContext, PassDefinition, PassOptions, PassRead, Values,
    choice, options,
};
use olive_core::Result;
use olive_core::event::Event;
use olive_core::handle::{ModelHandle, ModelKind};
use olive_kernels::quant::nf4::Code;
use olive_model::{BaseFormat, FourBitFormat};
use olive_train::MemoryNeed;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

options! {
    #[derive(Debug, Clone, Serialize)]
    pub struct QloraOptions {
        QUANTISATION {
            /// The adapter and its training.
            #[serde(flatten)]
            nested lora: LoraOptions;
            /// Type of computation; null is `torch_dtype`.
            pub compute_dtype: String = DTYPE;
            /// The 4-bit code.
            pub quant_type: QuantType, default("\"nf4\""), searchable();
            /// Quantise the block scales too.
            pub double_quant: bool, default("false"), searchable();
            /// Whether Olive's merge stays in 4 bits.
            - "save_quant_config" = BOOL, only(Era::New), quiet();
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum QuantType {
    Nf4,
    Fp4,
}

choice!(QuantType: "nf4", "fp4");

static BLOCK: Block = Block {
    name: "QLoRA",
    doc: "Trains a low-rank adapter on a model whose linear layers are held in 4 bits.",
    wrapper: Some("config"),
    outer: PASS,
    parts: &[ADAPTER, QUANTISATION, TRAINING],
    open: None,
};

pub static QLORA: PassDefinition<dyn Pass> = PassDefinition {
    block: &BLOCK,
    page: "qlora.md",
    example: "\"qlora\": {\"type\": \"QLoRA\", …}",
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
    Some((Arc::new(QloraPass { options: QloraOptions::read(&values)? }), shown))
}

#[derive(Debug)]
pub struct QloraPass {
    pub options: QloraOptions,
}

impl ConfiguredPass for QloraPass {
    fn name(&self) -> &'static str {
        "QLoRA"
    }

    fn options(&self) -> &dyn PassOptions {
        &self.options
    }

    fn output(&self, input: ModelKind) -> Result<ModelKind, String> {
        self.lora().output(input)
    }
}

impl Pass for QloraPass {
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
        hasher.field("base", &self.format());
        self.lora().key(hasher)
    }

    fn memory(&self, input: &ModelHandle, lengths: SampleLengths) -> Result<Option<MemoryNeed>> {
        self.lora().need(input, lengths, Some(self.format()))
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

    fn writes(&self, name: &str) -> bool {
        self.lora().writes(name)
    }

    fn data(&self) -> Vec<DataUse<'_>> {
        lora_options::data(&self.options.lora)
    }

    fn with_data(&self, moved: &mut MoveData) -> Result<Option<Arc<dyn Pass>>> {
        let lora = lora_options::with_data(&self.options.lora, moved)?;
        Ok(Some(Arc::new(QloraPass { options: QloraOptions { lora, ..self.options.clone() } })))
    }

    fn training(&self) -> Option<Training<'_>> {
        Some(lora_options::training(&self.options.lora))
    }

    fn adapter(&self) -> Option<TrainedAdapter> {
        self.lora().adapter()
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
