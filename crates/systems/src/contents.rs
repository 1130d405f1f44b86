//! Whether inputs that an earlier job left are what it wrote: between two jobs anybody may have written there.

use crate::description::{Contents, JobDescription};
use crate::work::JobFolders;
use crate::{Place, SystemError};
use olive_core::content::ContentHashes;
use olive_core::{InnerPath, Result};
use std::path::{Path, PathBuf};

impl JobDescription {
    /// Inputs of which a file is missing or has another content, each with the first such file.
    ///
    /// # Errors
    /// An input is not there, or a file cannot be read.
    pub(crate) fn damaged(
        &self,
        folders: &JobFolders,
        hashes: &ContentHashes,
    ) -> Result<Vec<(String, PathBuf)>> {
        let mut damaged = Vec::new();
        for (input, contents) in &self.contents {
            let dir = Place::input(input).path(&folders.inputs)?;
            if let Some(path) = first_changed(&dir, contents, hashes)? {
                damaged.push((input.clone(), path));
            }
        }
        Ok(damaged)
    }
}

fn first_changed(dir: &Path, contents: &Contents, hashes: &ContentHashes) -> Result<Option<PathBuf>> {
    for (name, hash) in contents {
        let path = InnerPath::parse(name).map_err(|source| SystemError::Name { source })?.below(dir);
        if !path.is_file() || hashes.file(&path)? != *hash {
            return Ok(Some(path));
        }
    }
    Ok(None)
}
