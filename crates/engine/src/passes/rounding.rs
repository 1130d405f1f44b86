//! The passes `Rtn` and `KQuant`: linear layers, and if asked for head and embedding, as codes, each from its values alone.
//!
//! Streamed: the model is mapped, and memory holds one matrix. What an earlier pass has quantised stays as it is.

use super::code_options::{BITS, GroupSize, ModuleOverrides, Work, output, settings};
use super::pass::{Pass, RunContext};
use crate::cache::KeyHasher;
use olive_config::option::Block;
use olive_config::{ConfiguredPass, PASS, PassDefinition, PassOptions, options};
use olive_core::Result;
use olive_core::handle::{ModelHandle, ModelKind};
use olive_model::ModelFolder;
use olive_model::{NewCodes, QuantisedFolder};
use olive_quantise::{GridSearch, QuantiseError, Wanted, round_to_grids};
use serde::Serialize;
use std::path::Path;
use std::sync::Arc;

options! {
    #[derive(Debug, Clone, Serialize)]
    pub struct RoundingOptions {
        WIDTH {
            /// Bits of a weight.
            pub bits: u8 = BITS, default("4"), searchable();
        }
        RTN_GROUPS {
            /// Neighbours in a row that share a scale: a power of two from 16 on; -1 is the whole row.
            pub group_size: GroupSize, default("128"), searchable();
        }
        REST {
            /// No zero points.
            pub sym: bool, default("false"), searchable();
            /// Quantise the head as well.
            pub lm_head: bool, default("false"), searchable();
            /// Quantise the embedding as well.
            pub embeds: bool, default("false"), searchable();
            /// Other settings for single modules: `{"lm_head": {"bits": 8, "group_size": 32, "symmetric": false}}`.
            pub overrides: ModuleOverrides;
        }
    }
}

/// That option of KQuant, whose default is another.
static KQUANT_GROUPS: &[olive_config::option::Opt] =
    &[olive_config::option::option_of(&[RTN_GROUPS], "group_size").default("32")];

static RTN_BLOCK: Block = Block {
    name: "Rtn",
    doc: "Rounds the weights of a checkpoint to few bits, each group on the grid of its range.",
    wrapper: Some("config"),
    outer: PASS,
    parts: &[WIDTH, RTN_GROUPS, REST],
    open: None,
};

static KQUANT_BLOCK: Block = Block {
    name: "KQuant",
    doc: "Rounds the weights of a checkpoint to few bits, each group on the grid with the least weighted error.",
    wrapper: Some("config"),
    outer: PASS,
    parts: &[WIDTH, KQUANT_GROUPS, REST],
    open: None,
};

pub static RTN: PassDefinition<dyn Pass> = PassDefinition {
    block: &RTN_BLOCK,
    page: "quantise.md",
    example: "\"rtn\": {\"type\": \"Rtn\", \"bits\": 8, \"lm_head\": true, \"embeds\": true}",
    gives: ModelKind::Hf,
    read: |_, values, _, _| {
        let options = RoundingOptions::read(&values)?;
        Some((Arc::new(RoundingPass { search: GridSearch::Range, options }), values.resolved("")))
    },
};

pub static KQUANT: PassDefinition<dyn Pass> = PassDefinition {
    block: &KQUANT_BLOCK,
    page: "quantise.md",
    example: "\"kquant\": {\"type\": \"KQuant\", \"bits\": 4}",
    gives: ModelKind::Hf,
    read: |_, values, _, _| {
        let options = RoundingOptions::read(&values)?;
        Some((Arc::new(RoundingPass { search: GridSearch::LeastSquares, options }), values.resolved("")))
    },
};

/// Rounds weights to grids.
#[derive(Debug, Clone)]
pub struct RoundingPass {
    search: GridSearch,
    options: RoundingOptions,
}

impl ConfiguredPass for RoundingPass {
    fn name(&self) -> &'static str {
        match self.search {
            GridSearch::Range => "Rtn",
            GridSearch::LeastSquares => "KQuant",
        }
    }

    fn options(&self) -> &dyn PassOptions {
        &self.options
    }

    fn output(&self, input: ModelKind) -> Result<ModelKind, String> {
        output(input)
    }
}

impl RoundingPass {
    fn wanted(&self) -> Wanted {
        let RoundingOptions { bits, group_size, sym, lm_head, embeds, overrides } = &self.options;
        Wanted {
            default: settings(*bits, *group_size, *sym),
            overrides: overrides.0.clone(),
            lm_head: *lm_head,
            embeds: *embeds,
        }
    }
}

impl Pass for RoundingPass {
    fn version(&self) -> u32 {
        1
    }

    fn key(&self, hasher: &mut KeyHasher) -> Result<()> {
        hasher.field("options", &self.options);
        Ok(())
    }

    fn check_input(&self, model: Option<&ModelHandle>) -> Result<()> {
        model.map_or(Ok(()), |model| Work::on(model)?.plan(&self.wanted(), &()).map(drop))
    }

    fn run(&self, input: &ModelHandle, dir: &Path, context: &RunContext) -> Result<ModelHandle> {
        let work = Work::on(input)?;
        let plan = work.plan(&self.wanted(), context.events)?;
        let mut codes = |new: &NewCodes| {
            let tensor = work.checkpoint.tensor(&new.tensor)?;
            let values = tensor.to_f32()?;
            tensor.release();
            let scheme = work.scheme(new).ok_or(QuantiseError::Quantised { pass: self.name() })?;
            Ok(round_to_grids(&values, tensor.shape.last().copied().unwrap_or(1), scheme, self.search))
        };
        work.write(&plan, dir, &mut codes, context)?;
        Ok(ModelHandle::Hf { dir: dir.to_owned() })
    }

    fn writes(&self, name: &str) -> bool {
        ModelFolder::is_model_file(name)
    }
}

impl Work {
    /// Writes the folder of the quantised model.
    ///
    /// # Errors
    /// Those of `codes`, a file that cannot be written, an interruption.
    pub(crate) fn write(
        &self,
        plan: &olive_quantise::Plan,
        dir: &Path,
        codes: &mut dyn FnMut(&NewCodes) -> Result<olive_model::PackedCodes>,
        context: &RunContext,
    ) -> Result<()> {
        self.folder.copy_side_files(dir)?;
        if let Some(note) = &self.note {
            note.write(dir)?;
        }
        let folder = QuantisedFolder {
            source: &self.folder,
            checkpoint: &self.checkpoint,
            new: &plan.new,
            settings: &plan.settings,
            split_head: plan.split_head,
        };
        folder.write(dir, codes, context.cancel, context.events)
    }
}
