//! The pass `QuaRot`: a checkpoint turned so that few bits hold it better.

use super::pass::{Pass, RunContext};
use crate::cache::KeyHasher;
use olive_config::option::Block;
use olive_config::{ConfiguredPass, PASS, PassDefinition, PassOptions, choice, options};
use olive_core::Result;
use olive_core::handle::{ModelHandle, ModelKind};
use olive_kernels::rotation::Rotation;
use olive_model::ModelFolder;
use olive_quantise::Rotated;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::Arc;

options! {
    #[derive(Debug, Clone, Serialize)]
    pub struct QuaRotOptions {
        QUAROT_OPTIONS {
            /// Seed of the rotations.
            pub seed: u64, default("0");
            /// `hadamard`: random signs and a Hadamard matrix, which spreads every coordinate evenly over all; `random`: any
            /// rotation, also for sizes of which no Hadamard matrix is known.
            pub rotate_mode: RotateMode, default("\"hadamard\""), searchable();
        }
    }
}

/// How rotations are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RotateMode {
    Hadamard,
    Random,
}

choice!(RotateMode: "hadamard", "random");

static BLOCK: Block = Block {
    name: "QuaRot",
    doc: "Rotates what flows between the layers of a model, without changing what it computes: few bits then hold it better.",
    wrapper: Some("config"),
    outer: PASS,
    parts: &[QUAROT_OPTIONS],
    open: None,
};

pub static QUAROT: PassDefinition<dyn Pass> = PassDefinition {
    block: &BLOCK,
    page: "quantise.md",
    example: "\"quarot\": {\"type\": \"QuaRot\"}",
    gives: ModelKind::Hf,
    read: |_, values, _, _| {
        Some((Arc::new(QuaRotPass { options: QuaRotOptions::read(&values)? }), values.resolved("")))
    },
};

#[derive(Debug, Clone)]
pub struct QuaRotPass {
    pub options: QuaRotOptions,
}

impl ConfiguredPass for QuaRotPass {
    fn name(&self) -> &'static str {
        "QuaRot"
    }

    fn options(&self) -> &dyn PassOptions {
        &self.options
    }

    fn output(&self, input: ModelKind) -> Result<ModelKind, String> {
        match input {
            ModelKind::Hf => Ok(ModelKind::Hf),
            ModelKind::HfWithAdapter => Err("the adapter is to be merged first".into()),
            ModelKind::HfWithNote => {
                Err("weights are rotated before it is chosen which of them get more bits".into())
            }
            ModelKind::Onnx => Err("it rotates the weights of a checkpoint, not those of a graph".into()),
        }
    }
}

impl QuaRotPass {
    /// Rotations from streams of their own.
    fn rotations(&self) -> impl FnMut(usize) -> Option<Rotation> {
        let QuaRotOptions { mut seed, rotate_mode } = self.options.clone();
        move |width| {
            let rotation = match rotate_mode {
                RotateMode::Hadamard => Rotation::hadamard(width, seed)?,
                RotateMode::Random => Rotation::random(width, seed),
            };
            seed = seed.wrapping_add(1 << 32);
            Some(rotation)
        }
    }
}

impl Pass for QuaRotPass {
    fn version(&self) -> u32 {
        1
    }

    fn key(&self, hasher: &mut KeyHasher) -> Result<()> {
        hasher.field("options", &self.options);
        Ok(())
    }

    fn check_input(&self, model: Option<&ModelHandle>) -> Result<()> {
        let Some(model) = model else { return Ok(()) };
        let folder = ModelFolder::of(model)?;
        let (checkpoint, spec) = (folder.checkpoint()?, folder.spec()?);
        // Those of Hadamard cost nothing, and may not exist.
        let mut make = self.rotations();
        let known = |width| match self.options.rotate_mode {
            RotateMode::Hadamard => make(width),
            RotateMode::Random => Rotation::hadamard(1, 0),
        };
        Rotated::new(&folder, &checkpoint, &spec, known).map(drop)
    }

    fn run(&self, input: &ModelHandle, dir: &Path, context: &RunContext) -> Result<ModelHandle> {
        let folder = ModelFolder::of(input)?;
        let (checkpoint, spec) = (folder.checkpoint()?, folder.spec()?);
        let rotated = Rotated::new(&folder, &checkpoint, &spec, self.rotations())?;
        folder.copy_side_files(dir)?;
        rotated.write(dir, context.cancel, context.events)?;
        Ok(ModelHandle::Hf { dir: dir.to_owned() })
    }

    fn writes(&self, name: &str) -> bool {
        ModelFolder::is_model_file(name)
    }
}
