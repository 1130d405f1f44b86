//! `olive cache`.

use super::Globals;
use crate::Result;
use clap::Args;

#[derive(Args)]
pub(crate) struct CacheArgs {
    /// The cache folder.
    #[arg(long, default_value = "cache")]
    pub(crate) cache_dir: std::path::PathBuf,
}

pub(crate) fn run(_args: &CacheArgs, _globals: &Globals) -> Result<()> {
    Ok(())
}
