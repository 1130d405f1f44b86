//! LoRA on a base whose linear layers are stored in 4 bits. Planned and checked; running it comes with the NF4
//! storage.

use super::{Pass, RunContext};
use crate::Result;
use crate::config::QloraOptions;
use crate::data;
use crate::engine::KeyHasher;
use crate::model::ModelHandle;
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

    fn unavailable(&self) -> Option<&'static str> {
        Some("QLoRA is planned and checked, but cannot be run yet; a LoRA pass with the same options can")
    }

    fn key(&self, hasher: &mut KeyHasher) -> Result<()> {
        hasher.field("options", &self.options);
        let lora = &self.options.lora;
        for (name, data) in [("train", Some(&lora.train_data)), ("eval", lora.eval_data.as_ref())] {
            for file in data.map(|d| data::input_files(&d.load)).transpose()?.into_iter().flatten() {
                hasher.file(name, &file)?;
            }
        }
        Ok(())
    }

    fn run(&self, _: &ModelHandle, _: &Path, _: &RunContext) -> Result<ModelHandle> {
        unreachable!("a plan with an unavailable pass is refused before it runs")
    }
}
