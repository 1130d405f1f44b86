//! `olive chat`.

use super::Globals;
use crate::Result;
use clap::Args;

#[derive(Args)]
pub(crate) struct ChatArgs {
    /// A Hugging Face folder, an adapter folder, or an ONNX folder.
    pub(crate) model: std::path::PathBuf,
}

pub(crate) fn run(_args: &ChatArgs, _globals: &Globals) -> Result<()> {
    Ok(())
}
