//! `olive validate`.

use super::Globals;
use crate::Result;
use clap::Args;
use std::path::PathBuf;

#[derive(Args)]
pub(crate) struct ValidateArgs {
    /// The configuration: JSON or YAML, either of Olive's grammars.
    #[arg(value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// Plan for this machine, whatever `host` and `target` say.
    #[arg(long)]
    pub(crate) local: bool,
    /// Override a value of the configuration. May be repeated.
    #[arg(long, value_name = "PATH=VALUE")]
    pub(crate) set: Vec<String>,
}

pub(crate) fn run(_args: &ValidateArgs, _globals: &Globals) -> Result<()> {
    Ok(())
}
