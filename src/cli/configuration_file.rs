//! The file that a command works on.

use clap::Args;
use std::path::{Path, PathBuf};

/// `--config FILE`, as in Olive, or `FILE` alone.
#[derive(Args)]
pub(crate) struct ConfigurationFile {
    /// The same, as Olive takes it.
    #[arg(long, alias = "run-config", value_name = "FILE", required_unless_present = "positional")]
    config: Option<PathBuf>,
    /// The configuration: JSON or YAML, either of Olive's grammars.
    #[arg(value_name = "FILE", conflicts_with = "config")]
    positional: Option<PathBuf>,
}

impl ConfigurationFile {
    pub(crate) fn path(&self) -> &Path {
        self.config.as_ref().or(self.positional.as_ref()).expect("one of them is required")
    }
}
