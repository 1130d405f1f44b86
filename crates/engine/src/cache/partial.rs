//! The folder of an artefact that is not finished, `<key>.partial/`. A run may be killed at any moment between these steps:
//! the next one finds a state to go on from with all that belongs to it, or work that is done, or nothing of use.

use super::folder::{entries, remove_if_link, remove_if_there, sync};
use super::manifest::{Manifest, list_contents};
use olive_core::{Result, error::IoContext};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Name of the folder inside an artefact that holds what the pass wrote.
pub const OUTPUT: &str = "output";

/// Folder in which a pass leaves a state that a later attempt goes on from. While it is there, all that the pass wrote stays.
pub(super) const RESUME: &str = "resume";

/// The folder by its path.
pub(super) struct Partial {
    dir: PathBuf,
    /// What the pass writes.
    output: PathBuf,
}

impl Partial {
    /// # Errors
    /// A link of this name cannot be removed.
    pub(super) fn new(dir: PathBuf) -> Result<Partial> {
        remove_if_link(&dir)?;
        Ok(Partial { output: dir.join(OUTPUT), dir })
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The manifest of work that a run finished before it was killed.
    pub(super) fn finished(&self) -> Option<Manifest> {
        let mut manifest = Manifest::read(&self.dir).filter(|_| !self.output.is_symlink())?;
        manifest.first_changed(&self.dir, &self.output).is_none().then_some(manifest)
    }

    /// The folder for the work: empty, or as an earlier attempt left it that has a state to go on from. Links in it, which
    /// could lead anywhere, go.
    ///
    /// # Errors
    /// The folder cannot be made or written.
    pub(super) fn make_ready(&self) -> Result<&Path> {
        let output = &self.output;
        remove_if_link(output)?;
        std::fs::create_dir_all(output).at("create", output)?;
        let beside = entries(&self.dir)?.into_iter().filter(|path| path != output);
        beside.into_iter().try_for_each(|path| remove_if_there(&path))?;
        entries(output)?.iter().try_for_each(|path| remove_if_link(path))?;
        if !output.join(RESUME).is_dir() {
            entries(output)?.iter().try_for_each(|path| remove_if_there(path))?;
        }
        Ok(output)
    }

    /// Notes that the work is done, once its files are on the disk.
    ///
    /// # Errors
    /// A file cannot be read, or the manifest not be written.
    pub(super) fn finish(&self, mut manifest: Manifest) -> Result<Manifest> {
        manifest.files = list_contents(&self.output, |path| !path.starts_with(RESUME))?;
        manifest.files.iter().try_for_each(|file| sync(&self.output.join(&file.path)))?;
        sync(&self.output)?;
        manifest.write(&self.dir)?;
        sync(&self.dir.join(Manifest::NAME))?;
        sync(&self.dir)?;
        Ok(manifest)
    }

    /// As [`forget_state`].
    pub(super) fn forget_state(&self) -> Result<()> {
        forget_state(&self.output)
    }
}

/// Removes the state to go on from out of the folder that a pass wrote: at once, as half of one must never be gone on from.
///
/// # Errors
/// It cannot be removed.
pub(crate) fn forget_state(output: &Path) -> Result<()> {
    let (state, aside) = (output.join(RESUME), output.with_file_name(RESUME));
    remove_if_there(&aside)?;
    match std::fs::rename(&state, &aside) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        moved => moved.at("remove", &state).and_then(|()| remove_if_there(&aside)),
    }
}
