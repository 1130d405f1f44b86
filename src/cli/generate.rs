//! `olive generate`.

use super::Globals;
use crate::Result;
use clap::Args;

#[derive(Args)]
pub(crate) struct GenerateArgs {
    /// A Hugging Face folder, an adapter folder, or an ONNX folder.
    pub(crate) model: std::path::PathBuf,
}

pub(crate) fn run(_args: &GenerateArgs, _globals: &Globals) -> Result<()> {
    Ok(())
}
