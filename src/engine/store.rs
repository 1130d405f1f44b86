//! The cache of artefacts:
//!
//! ```text
//! <cache_dir>/content-hashes-v1.json            see `content`
//! <cache_dir>/passes-v1/<PassType>/<key>/       a finished artefact
//!                                  ├ manifest.json
//!                                  └ output/    what the pass wrote
//! <cache_dir>/passes-v1/<PassType>/<key>.partial/   work in progress, or what an interrupted run left to resume
//! <cache_dir>/passes-v1/<PassType>/<key>.lock       held while one process works on the key
//! ```
//!
//! A folder becomes an artefact by rename, after all its files are synced: a crash leaves either nothing or the
//! whole. Failures are never cached.

use super::manifest::{FileEntry, Manifest, list_files};
use super::{CancelFlag, EngineError};
use crate::model::ModelKind;
use crate::report::{Event, EventSink};
use crate::{Result, error::IoContext};
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Name of the folder inside an artefact that holds what the pass wrote.
const OUTPUT: &str = "output";

/// What a pass may leave in its folder so that a later attempt goes on from there.
pub const RESUME: &str = "resume";

pub struct Store {
    root: PathBuf,
}

/// A finished artefact.
pub struct Artefact {
    pub manifest: Manifest,
    /// The folder the pass wrote.
    pub output: PathBuf,
    /// Whether it was there before.
    pub cached: bool,
}

/// What identifies an artefact before it exists.
pub struct Slot<'a> {
    pub pass_type: &'a str,
    pub key: &'a str,
}

impl Store {
    pub fn new(cache_dir: &Path) -> Store {
        Store { root: cache_dir.join("passes-v1") }
    }

    /// The artefact, if it is there and whole.
    pub fn look_up(&self, slot: &Slot) -> Option<Artefact> {
        let dir = self.path(slot, "");
        let manifest = Manifest::read(&dir)?;
        let output = dir.join(OUTPUT);
        if let Some(file) = manifest.first_damaged(&dir, &output) {
            tracing::warn!(artefact = %dir.display(), file = %file.path.display(), "cached artefact is damaged, not used");
            return None;
        }
        Some(Artefact { manifest, output, cached: true })
    }

    /// The artefact from the cache, or made by `work`, which gets an empty folder (but for [`RESUME`]) and says what
    /// it wrote. Two processes that want the same artefact take turns, and the second finds the first's result.
    ///
    /// # Errors
    /// Whatever `work` says, or a cache folder that cannot be written. What `work` left in [`RESUME`] is kept.
    pub fn get_or_run(
        &self,
        slot: &Slot,
        again: bool,
        cancel: &CancelFlag,
        events: &dyn EventSink,
        work: impl FnOnce(&Path) -> Result<(ModelKind, Manifest)>,
    ) -> Result<Artefact> {
        if !again && let Some(found) = self.look_up(slot) {
            return Ok(found);
        }
        let _lock = self.lock(slot, cancel, events)?;
        if !again && let Some(found) = self.look_up(slot) {
            return Ok(found);
        }
        let partial = self.path(slot, ".partial");
        let output = partial.join(OUTPUT);
        clear_all_but_resume(&output)?;
        let (kind, mut manifest) = work(&output)?;
        remove_if_there(&output.join(RESUME))?;
        manifest.output = kind;
        manifest.files = list_files(&output)?;
        manifest.write(&partial)?;
        sync_all(&partial, &manifest.files)?;
        let finished = self.path(slot, "");
        remove_if_there(&finished)?;
        std::fs::rename(&partial, &finished).at("publish", &finished)?;
        sync_folder(finished.parent().expect("below the root"))?;
        Ok(Artefact { manifest, output: finished.join(OUTPUT), cached: false })
    }

    /// All finished artefacts with their folders, newest first.
    pub fn list(&self) -> Vec<(PathBuf, Manifest)> {
        let folders = |dir: &Path| {
            std::fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path()).filter(|p| p.is_dir())
        };
        let mut all: Vec<_> = folders(&self.root)
            .flat_map(|pass_type| folders(&pass_type).collect::<Vec<_>>())
            .filter_map(|dir| Manifest::read(&dir).map(|manifest| (dir, manifest)))
            .collect();
        all.sort_by_key(|(dir, manifest)| (std::cmp::Reverse(manifest.started), dir.clone()));
        all
    }

    /// Removes everything.
    ///
    /// # Errors
    /// A file cannot be removed.
    pub fn clean(&self) -> Result<()> {
        remove_if_there(&self.root)
    }

    fn path(&self, slot: &Slot, suffix: &str) -> PathBuf {
        self.root.join(slot.pass_type).join(format!("{}{suffix}", slot.key))
    }

    fn lock(&self, slot: &Slot, cancel: &CancelFlag, events: &dyn EventSink) -> Result<File> {
        let path = self.path(slot, ".lock");
        let folder = path.parent().expect("below the root");
        std::fs::create_dir_all(folder).at("create", folder)?;
        let file = File::create(&path).at("create", &path)?;
        let mut waiting = false;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::WouldBlock) if !waiting => {
                    waiting = true;
                    events.emit(Event::Info {
                        message: format!(
                            "another process works on this {}; waiting for its result",
                            slot.pass_type
                        ),
                    });
                }
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(source)) => {
                    return Err(EngineError::Lock { path, reason: source.to_string() }.into());
                }
            }
            cancel.check()?;
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

fn clear_all_but_resume(dir: &Path) -> Result<()> {
    std::fs::create_dir_all(dir).at("create", dir)?;
    for entry in std::fs::read_dir(dir).at("read", dir)? {
        let entry = entry.at("read", dir)?;
        if entry.file_name() != RESUME {
            remove_if_there(&entry.path())?;
        }
    }
    Ok(())
}

pub(super) fn remove_if_there(path: &Path) -> Result<()> {
    let removed = match path.symlink_metadata() {
        Err(_) => return Ok(()),
        Ok(meta) if meta.is_dir() => std::fs::remove_dir_all(path),
        Ok(_) => std::fs::remove_file(path),
    };
    removed.at("remove", path)
}

fn sync_all(partial: &Path, files: &[FileEntry]) -> Result<()> {
    for file in files {
        let path = partial.join(OUTPUT).join(&file.path);
        File::open(&path).and_then(|f| f.sync_all()).at("sync", &path)?;
    }
    let manifest = partial.join(Manifest::NAME);
    File::open(&manifest).and_then(|f| f.sync_all()).at("sync", &manifest)?;
    sync_folder(&partial.join(OUTPUT))?;
    sync_folder(partial)
}

fn sync_folder(dir: &Path) -> Result<()> {
    File::open(dir).and_then(|f| f.sync_all()).at("sync", dir)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;

    fn manifest() -> Manifest {
        Manifest {
            olive_version: "1".into(),
            pass_type: "LoRA".into(),
            pass_version: 1,
            pass_name: "lora".into(),
            key: "k".into(),
            input_key: "i".into(),
            input: PathBuf::from("base"),
            options: serde_json::json!({}),
            output: ModelKind::Hf,
            started: 0,
            seconds: 0.0,
            files: Vec::new(),
        }
    }

    fn write(output: &Path) -> Result<(ModelKind, Manifest)> {
        std::fs::write(output.join("file"), "content").at("write", output)?;
        Ok((ModelKind::Hf, manifest()))
    }

    #[test]
    fn second_time_it_is_a_hit_until_a_file_is_damaged() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path());
        let slot = Slot { pass_type: "LoRA", key: "k" };
        let cancel = CancelFlag::default();
        let first = store.get_or_run(&slot, false, &cancel, &(), write).unwrap();
        assert!(!first.cached);
        let second = store.get_or_run(&slot, false, &cancel, &(), |_| panic!("cached")).unwrap();
        assert!(second.cached);
        std::fs::write(second.output.join("file"), "less").unwrap();
        let third = store.get_or_run(&slot, false, &cancel, &(), write).unwrap();
        assert!(!third.cached);
        // An edit in place that keeps the size.
        let file = File::options().write(true).open(third.output.join("file")).unwrap();
        file.set_modified(std::time::SystemTime::now() + Duration::from_secs(2)).unwrap();
        assert!(!store.get_or_run(&slot, false, &cancel, &(), write).unwrap().cached);
    }

    #[test]
    fn a_failure_leaves_nothing_but_what_can_be_resumed() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path());
        let slot = Slot { pass_type: "LoRA", key: "k" };
        let cancel = CancelFlag::default();
        let failed = store.get_or_run(&slot, false, &cancel, &(), |output| {
            std::fs::write(output.join("half"), "written").unwrap();
            std::fs::create_dir(output.join(RESUME)).unwrap();
            std::fs::write(output.join(RESUME).join("state"), "7").unwrap();
            Err(Error::Interrupted)
        });
        assert!(matches!(failed, Err(Error::Interrupted)));
        assert!(store.look_up(&slot).is_none());
        let resumed = store.get_or_run(&slot, false, &cancel, &(), |output| {
            assert!(!output.join("half").exists());
            assert_eq!(std::fs::read_to_string(output.join(RESUME).join("state")).unwrap(), "7");
            write(output)
        });
        assert_eq!(resumed.unwrap().manifest.files.len(), 1, "the resume folder is not part of the artefact");
    }
}
