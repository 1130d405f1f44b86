//! LoRA on a base whose linear layers are stored in 4 bits. Planned and checked; running it comes with the NF4
//! storage.

use super::{Pass, RunContext, training_data};
use crate::Result;
use crate::config::QloraOptions;
use crate::engine::KeyHasher;
use crate::model::ModelHandle;
use crate::train::TrainError;
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
        Err(TrainError::Unsupported {
            what: "training on a base of 4 bits",
            hint: "the pass is read and planned, but not run; a LoRA pass with the same options can be run",
        }
        .into())
    }

    fn key(&self, hasher: &mut KeyHasher) -> Result<()> {
        let QloraOptions { lora, compute_dtype, quant_type, double_quant } = &self.options;
        hasher.field("quantisation", &(compute_dtype, quant_type, double_quant));
        training_data::key(lora, hasher)
    }

    fn run(&self, _: &ModelHandle, _: &Path, _: &RunContext) -> Result<ModelHandle> {
        unreachable!("`check` refuses before anything runs")
    }
}
