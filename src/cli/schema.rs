//! `olive schema`.

use super::{Globals, output};
use crate::Result;
use crate::config::{json_schema, markdown};
use clap::Args;

#[derive(Args)]
pub(crate) struct SchemaArgs {
    /// Print the documentation instead (docs/CONFIG.md).
    #[arg(long, hide = true)]
    pub(crate) markdown: bool,
}

pub(crate) fn run(args: &SchemaArgs, _globals: &Globals) -> Result<()> {
    if args.markdown {
        return output::result(markdown().trim_end());
    }
    output::result(&format!("{:#}", json_schema()))
}
