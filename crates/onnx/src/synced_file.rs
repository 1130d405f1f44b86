//! Small files that must be on the disk when the model is.

use olive_core::{Result, error::IoContext};
use std::fs::File;
use std::io::Write;
use std::path::Path;

pub(crate) fn write_synced(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = File::create(path).at("create", path)?;
    file.write_all(bytes).at("write", path)?;
    file.sync_all().at("sync", path)
}
