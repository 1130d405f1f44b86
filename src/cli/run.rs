//! `olive run`.

use super::Globals;
use crate::Result;
use clap::Args;
use std::path::PathBuf;

#[derive(Args)]
pub(crate) struct RunArgs {
    /// The configuration: JSON or YAML, either of Olive's grammars.
    #[arg(long, alias = "run-config", value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// Run every pass on this machine, whatever `host` and `target` say.
    #[arg(long)]
    pub(crate) local: bool,
    /// Override a value of the configuration, for example `passes.lora.config.lora_r=16`. May be repeated.
    #[arg(long, value_name = "PATH=VALUE")]
    pub(crate) set: Vec<String>,
    /// Print the plan and stop.
    #[arg(long)]
    pub(crate) dry_run: bool,
}

pub(crate) fn run(_args: &RunArgs, _globals: &Globals) -> Result<()> {
    Ok(())
}
