//! `--overwrite`.

use clap::Args;
use olive_engine::ForeignFiles;

#[derive(Args)]
pub(crate) struct Overwrite {
    /// Replace files in `output_dir` that no run wrote.
    #[arg(long)]
    overwrite: bool,
}

impl Overwrite {
    pub(crate) fn foreign_files(&self) -> ForeignFiles {
        if self.overwrite { ForeignFiles::Replaced } else { ForeignFiles::Kept }
    }
}
