//! The `ModelBuilder` pass: a Hugging Face model, or one with an adapter, to an ONNX folder for onnxruntime-genai.

use super::{Pass, RunContext};
use crate::Result;
use crate::config::canonical::ModelBuilderOptions;
use crate::engine::KeyHasher;
use crate::model::{Adapter, MergedCheckpoint, ModelFolder, ModelHandle, WeightSource};
use crate::onnx::{self, BuildOptions};
use std::path::Path;

#[derive(Debug, Clone)]
pub struct ModelBuilderPass {
    pub options: ModelBuilderOptions,
}

impl Pass for ModelBuilderPass {
    fn name(&self) -> &'static str {
        "ModelBuilder"
    }

    fn version(&self) -> u32 {
        1
    }

    fn key(&self, hasher: &mut KeyHasher) -> Result<()> {
        hasher.field("options", &self.options);
        Ok(())
    }

    fn run(&self, input: &ModelHandle, dir: &Path, context: &RunContext) -> Result<ModelHandle> {
        let options = BuildOptions::new(&self.options)?;
        let build = |folder: &ModelFolder, source: &dyn WeightSource| {
            onnx::build(folder, source, &options, dir, context.cancel, context.events)
        };
        match input {
            ModelHandle::Hf { dir: base } => {
                let folder = ModelFolder::open(base)?;
                build(&folder, &folder.checkpoint()?)?;
            }
            ModelHandle::HfWithAdapter { base, adapter } => {
                let folder = ModelFolder::open(base)?;
                let tied = folder.spec()?.tied;
                let merged =
                    MergedCheckpoint::new(folder.checkpoint()?, Adapter::open(adapter)?, tied, adapter)?;
                build(&folder, &merged)?;
            }
            ModelHandle::Onnx { .. } => {
                unreachable!("`output_kind` refuses ONNX models before anything runs")
            }
        }
        Ok(ModelHandle::Onnx { dir: dir.to_owned() })
    }
}
