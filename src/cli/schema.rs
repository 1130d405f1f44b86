//! `olive schema`.

use super::{Globals, output};
use clap::Args;
use olive_config::{json_schema, markdown};
use olive_core::Result;
use olive_engine::REGISTRY;

#[derive(Args)]
pub(crate) struct SchemaArgs {
    /// Print the documentation instead (docs/CONFIG.md).
    #[arg(long, hide = true)]
    pub(crate) markdown: bool,
}

pub(crate) fn run(args: &SchemaArgs, _globals: &Globals) -> Result<()> {
    if args.markdown {
        return output::result(markdown(&REGISTRY).trim_end());
    }
    output::result(&format!("{:#}", json_schema(&REGISTRY)))
}
