//! The cache of artefacts:
//!
//! ```text
//! <cache_dir>/content-hashes-v1.json            see `content`
//! <cache_dir>/passes-v1/<PassType>/<key>/       a finished artefact
//!                                  ├ manifest.json
//!                                  └ output/    what the pass wrote
//! <cache_dir>/passes-v1/<PassType>/<key>.partial/   work in progress, or what an interrupted run left to resume
//! <cache_dir>/passes-v1/<PassType>/<key>.lock       held while one process works on the key
//! <cache_dir>/passes-v1/<PassType>/<key>.in-use     shared by the processes whose runs use the artefact
//! <cache_dir>/passes-v1/<PassType>/<key>.elsewhere.json   where an artefact is that did not come here
//! <cache_dir>/jobs/                             what is on its way, see `incoming`
//! ```
//!
//! A folder becomes an artefact by rename, after all its files are synced: a crash leaves either nothing or the
//! whole. The manifest of work in progress is written once the work is done: where a run was killed after that, only the
//! rename is left to do. Failures are never cached. What another process makes or uses is not removed by [`Store::clean`],
//! nor is what does not look like this, or a link.

use super::folder::{entries, remove_if_there, sync};
use super::key::KEY_LENGTH;
use super::lock;
use super::manifest::Manifest;
use super::partial::{OUTPUT, Partial, RESUME};
use olive_core::cancel::CancelFlag;
use olive_core::content::ContentHashes;
use olive_core::event::{Event, EventSink};
use olive_core::handle::ModelKind;
use olive_core::{Result, error::IoContext, file, shown};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

const PARTIAL: &str = ".partial";
/// Held by the one process that makes the artefact.
const LOCK: &str = ".lock";
/// Shared by the processes that use it.
const IN_USE: &str = ".in-use";
/// A note of an artefact that is on another machine.
pub(super) const ELSEWHERE: &str = ".elsewhere.json";

pub struct Store {
    root: PathBuf,
    /// Locks on the artefacts that this process uses, until the store goes.
    used: Mutex<BTreeMap<PathBuf, File>>,
}

/// What [`Store::clean`] did.
#[derive(Debug, Default)]
pub struct Cleaned {
    /// Finished artefacts that are gone.
    pub removed: usize,
    /// Of artefacts, and of what was on its way.
    pub bytes: u64,
    /// Jobs of whose results a part had come.
    pub incoming: usize,
    pub kept: Vec<Kept>,
}

/// Something in the cache that [`Store::clean`] leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    pub path: PathBuf,
    pub reason: KeptReason,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeptReason {
    /// Another process makes or uses the artefact.
    InUse,
    /// It is a symbolic link, which may lead out of the cache.
    Link,
    /// It is not what this program puts there.
    Foreign,
}

impl std::fmt::Display for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let reason = match self.reason {
            KeptReason::InUse => "another process works on it or uses it",
            KeptReason::Link => "it is a symbolic link",
            KeptReason::Foreign => "it is no artefact of the cache",
        };
        write!(f, "{} is left: {reason}", shown(&self.path))
    }
}

/// A finished artefact.
pub struct Artefact {
    pub manifest: Manifest,
    /// The folder the pass wrote.
    pub output: PathBuf,
    /// Whether it was there before.
    pub cached: bool,
}

/// Why there is no artefact to use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unusable {
    Absent,
    /// This file is missing, or its content is not what the pass wrote.
    Changed {
        file: PathBuf,
    },
}

/// What identifies an artefact before it exists.
pub struct ArtefactId<'a> {
    pub pass_type: &'a str,
    pub key: &'a str,
}

impl Store {
    pub fn new(cache_dir: &Path) -> Store {
        Store { root: cache_dir.join("passes-v1"), used: Mutex::default() }
    }

    /// The artefact, if it is there and whole.
    ///
    /// # Errors
    /// [`Unusable`].
    pub fn look_up(&self, id: &ArtefactId) -> Result<Artefact, Unusable> {
        let dir = self.path(id, "");
        let mut manifest = Manifest::read(&dir).ok_or(Unusable::Absent)?;
        let output = dir.join(OUTPUT);
        match manifest.first_changed(&dir, &output) {
            Some(file) => Err(Unusable::Changed { file }),
            None => Ok(Artefact { manifest, output, cached: true }),
        }
    }

    /// The artefact from the cache, or made by `work`, which gets an empty folder, or what an earlier attempt left in it
    /// together with a folder `resume`, and says what it wrote. Two processes that want the same artefact take turns, and the
    /// second finds the first's result. Until this store goes, no other process cleans the artefact away.
    ///
    /// # Errors
    /// Whatever `work` says, or a cache folder that cannot be written. What `work` left is kept if `resume` is among it.
    pub fn get_or_run(
        &self,
        id: &ArtefactId,
        again: bool,
        cancel: &CancelFlag,
        events: &dyn EventSink,
        work: impl FnOnce(&Path) -> Result<(ModelKind, Manifest)>,
    ) -> Result<Artefact> {
        if !again && let Ok(found) = self.use_cached(id) {
            return Ok(found);
        }
        let _lock = self.lock(id, cancel, events)?;
        let partial = Partial::new(self.path(id, PARTIAL))?;
        if !again {
            let unusable = match self.use_cached(id) {
                Ok(found) => return Ok(found),
                Err(unusable) => unusable,
            };
            if let Some(manifest) = partial.finished() {
                let output = self.publish(id, &partial)?;
                return Ok(Artefact { manifest, output, cached: true });
            }
            if let Unusable::Changed { file } = unusable {
                events.emit(Event::Warning {
                    message: format!(
                        "`{}` in the cache was changed or removed: {} runs again",
                        shown(&file),
                        id.pass_type
                    ),
                });
            }
        }
        self.remove_abandoned(id)?;
        let (kind, manifest) = work(partial.make_ready()?)?;
        let manifest = partial.finish(Manifest { output: kind, ..manifest })?;
        let output = self.publish(id, &partial)?;
        Ok(Artefact { manifest, output, cached: false })
    }

    /// Makes an artefact of finished work; gives the folder that the pass wrote.
    fn publish(&self, id: &ArtefactId, partial: &Partial) -> Result<PathBuf> {
        let finished = self.path(id, "");
        partial.forget_state()?;
        remove_if_there(&finished)?;
        std::fs::rename(partial.dir(), &finished).at("publish", &finished)?;
        sync(finished.parent().expect("below the root"))?;
        self.mark_used(id);
        Ok(finished.join(OUTPUT))
    }

    /// All finished artefacts with their folders, newest first.
    pub fn list(&self) -> Vec<(PathBuf, Manifest)> {
        let folders = |dir: &Path| {
            std::fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path()).filter(|p| p.is_dir())
        };
        let mut all: Vec<_> = folders(&self.root)
            .flat_map(|pass_type| folders(&pass_type).collect::<Vec<_>>())
            .filter(|dir| dir.extension().is_none())
            .filter_map(|dir| Manifest::read(&dir).map(|manifest| (dir, manifest)))
            .collect();
        all.sort_by_key(|(dir, manifest)| (std::cmp::Reverse(manifest.started), dir.clone()));
        all
    }

    /// Removes all artefacts, finished, not finished or on their way, but those that other processes make, fetch or use at
    /// this moment. Links are not followed, and what is not of this program stays.
    ///
    /// # Errors
    /// A file cannot be removed.
    pub fn clean(&self) -> Result<Cleaned> {
        let mut cleaned = Cleaned::default();
        if cleaned.is_folder(&self.root) {
            self.clean_artefacts(&mut cleaned)?;
        }
        self.clean_incoming(&mut cleaned)?;
        Ok(cleaned)
    }

    fn clean_artefacts(&self, cleaned: &mut Cleaned) -> Result<()> {
        for pass_type in entries(&self.root)? {
            if !cleaned.is_folder(&pass_type) {
                continue;
            }
            let mut keys = BTreeSet::new();
            for path in entries(&pass_type)? {
                match key_of(&path) {
                    Some(key) => drop(keys.insert(key)),
                    None => cleaned.keep(path, KeptReason::Foreign),
                }
            }
            for key in keys {
                self.clean_one(&pass_type.join(key), cleaned)?;
            }
            // Fails where something was kept.
            let _ = std::fs::remove_dir(&pass_type);
        }
        let _ = std::fs::remove_dir(&self.root);
        Ok(())
    }

    /// Removes the artefact that would lie in `dir`, its locks last, unless another process has one of them.
    fn clean_one(&self, dir: &Path, cleaned: &mut Cleaned) -> Result<()> {
        let beside = |suffix: &str| {
            let mut name = dir.as_os_str().to_owned();
            name.push(suffix);
            PathBuf::from(name)
        };
        self.used().remove(&beside(IN_USE));
        let mut locks = Vec::new();
        for path in [beside(LOCK), beside(IN_USE)] {
            if path.is_symlink() {
                cleaned.keep(path, KeptReason::Link);
                return Ok(());
            }
            match lock::try_take(&path)? {
                Some(file) => locks.push((path, file)),
                None => {
                    cleaned.keep(dir.to_owned(), KeptReason::InUse);
                    return Ok(());
                }
            }
        }
        for folder in [beside(PARTIAL), dir.to_owned()] {
            if !cleaned.is_folder(&folder) {
                continue;
            }
            let is_artefact = folder == dir;
            if is_artefact && !dir.join(Manifest::NAME).is_file() {
                cleaned.keep(folder, KeptReason::Foreign);
                continue;
            }
            cleaned.removed += usize::from(is_artefact);
            cleaned.bytes += Manifest::read(&folder).map_or(0, |manifest| manifest.bytes());
            remove_if_there(&folder)?;
        }
        remove_if_there(&beside(ELSEWHERE))?;
        locks.iter().try_for_each(|(path, _)| remove_if_there(path))
    }

    /// Removes what killed runs left of artefacts of this type, unless it is finished, or a run can go on from it.
    fn remove_abandoned(&self, id: &ArtefactId) -> Result<()> {
        for path in entries(&self.root.join(id.pass_type))? {
            let is_partial =
                path.extension().is_some_and(|end| end == &PARTIAL[1..]) && key_of(&path).is_some();
            let is_of_use = path.join(OUTPUT).join(RESUME).exists() || path.join(Manifest::NAME).exists();
            if !is_partial || path.is_symlink() || is_of_use {
                continue;
            }
            let lock = path.with_extension(&LOCK[1..]);
            if let Ok(held) = file::open_lock(&lock)
                && file::try_lock(&held).is_ok()
                && file::is_at(&held, &lock)
            {
                remove_if_there(&path)?;
            }
        }
        Ok(())
    }

    /// What is remembered of the contents of files beside the artefacts.
    pub(crate) fn contents(&self) -> ContentHashes {
        ContentHashes::open(self.root.parent().expect("in the cache folder"))
    }

    /// Where the pass's files lie, or would lie.
    pub fn output(&self, id: &ArtefactId) -> PathBuf {
        self.path(id, "").join(OUTPUT)
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn path(&self, id: &ArtefactId, suffix: &str) -> PathBuf {
        self.root.join(id.pass_type).join(format!("{}{suffix}", id.key))
    }

    fn used(&self) -> std::sync::MutexGuard<'_, BTreeMap<PathBuf, File>> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The artefact, if it is there and will stay.
    pub(super) fn use_cached(&self, id: &ArtefactId) -> Result<Artefact, Unusable> {
        self.look_up(id)?;
        // Another process may have been about to remove it.
        if self.mark_used(id) { self.look_up(id) } else { Err(Unusable::Absent) }
    }

    /// False if another process is removing the artefact. A cache that may only be read is used without a lock.
    fn mark_used(&self, id: &ArtefactId) -> bool {
        let path = self.path(id, IN_USE);
        let mut used = self.used();
        if used.contains_key(&path) {
            return true;
        }
        let Ok(file) = file::open_lock(&path).or_else(|_| file::open(&path)) else { return true };
        match file::try_lock_shared(&file) {
            Ok(()) if file::is_at(&file, &path) => {
                used.insert(path, file);
                true
            }
            Ok(()) | Err(TryLockError::WouldBlock) => false,
            Err(TryLockError::Error(_)) => true,
        }
    }

    fn lock(&self, id: &ArtefactId, cancel: &CancelFlag, events: &dyn EventSink) -> Result<File> {
        let waiting = format!("another process works on this {}; waiting for its result", id.pass_type);
        lock::wait_for(&self.path(id, LOCK), &waiting, cancel, events)
    }
}

impl Cleaned {
    pub(super) fn keep(&mut self, path: PathBuf, reason: KeptReason) {
        self.kept.push(Kept { path, reason });
    }

    /// Whether this is a folder; anything else that is there is kept.
    pub(super) fn is_folder(&mut self, path: &Path) -> bool {
        let Ok(meta) = path.symlink_metadata() else { return false };
        if !meta.is_dir() {
            self.keep(
                path.to_owned(),
                if meta.is_symlink() { KeptReason::Link } else { KeptReason::Foreign },
            );
        }
        meta.is_dir()
    }
}

/// The key that this folder, lock or note belongs to, if its name is one that this program gives.
pub(super) fn key_of(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    let end = [PARTIAL, LOCK, IN_USE, ELSEWHERE].into_iter().find_map(|suffix| name.strip_suffix(suffix));
    let key = end.unwrap_or(name);
    let is_key =
        key.len() == KEY_LENGTH && key.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    is_key.then(|| key.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use olive_core::error::Interrupted;
    use std::time::Duration;

    const ONE: ArtefactId = ArtefactId {
        pass_type: "LoRA",
        key: "1111111111111111111111111111111111111111111111111111111111111111",
    };

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
            data: Vec::new(),
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
        let id = ONE;
        let cancel = CancelFlag::default();
        let first = store.get_or_run(&id, false, &cancel, &(), write).unwrap();
        assert!(!first.cached);
        let second = store.get_or_run(&id, false, &cancel, &(), |_| panic!("cached")).unwrap();
        assert!(second.cached);
        std::fs::write(second.output.join("file"), "less").unwrap();
        let third = store.get_or_run(&id, false, &cancel, &(), write).unwrap();
        assert!(!third.cached);
        // An edit in place that keeps the size, and a copy with a time of its own, either after the other.
        for later in [2, 4] {
            let path = third.output.join("file");
            let touch = || {
                let file = File::options().write(true).open(&path).unwrap();
                file.set_modified(std::time::SystemTime::now() + Duration::from_secs(later)).unwrap();
            };
            touch();
            assert!(store.get_or_run(&id, false, &cancel, &(), write).unwrap().cached);
            std::fs::write(&path, "CONTENT").unwrap();
            touch();
            let changed = store.look_up(&id).err();
            assert_eq!(changed, Some(Unusable::Changed { file: path.clone() }));
            assert!(!store.get_or_run(&id, false, &cancel, &(), write).unwrap().cached);
        }
    }

    #[test]
    fn a_failure_leaves_nothing_but_what_can_be_resumed() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path());
        let id = ONE;
        let cancel = CancelFlag::default();
        let failed = store.get_or_run(&id, false, &cancel, &(), |output| {
            std::fs::write(output.join("half"), "written").unwrap();
            std::fs::create_dir(output.join(RESUME)).unwrap();
            std::fs::write(output.join(RESUME).join("state"), "7").unwrap();
            Err(Interrupted.into())
        });
        assert!(failed.is_err_and(|error| error.is_interruption()));
        assert_eq!(store.look_up(&id).err(), Some(Unusable::Absent));
        let resumed = store.get_or_run(&id, false, &cancel, &(), |output| {
            assert_eq!(std::fs::read_to_string(output.join("half")).unwrap(), "written");
            assert_eq!(std::fs::read_to_string(output.join(RESUME).join("state")).unwrap(), "7");
            write(output)
        });
        let Artefact { manifest, output, .. } = resumed.unwrap();
        let files: Vec<_> = manifest.files.iter().map(|file| file.path.to_str().unwrap()).collect();
        assert_eq!(files, ["file", "half"]);
        assert!(!output.join(RESUME).exists(), "the state is not part of the artefact");

        let failed = store.get_or_run(&id, true, &cancel, &(), |output| {
            std::fs::write(output.join("half"), "written").unwrap();
            Err(Interrupted.into())
        });
        assert!(failed.is_err());
        let again = store.get_or_run(&id, true, &cancel, &(), |output| {
            assert!(!output.join("half").exists(), "there is no state to which it belongs");
            write(output)
        });
        assert!(again.is_ok());
    }

    /// Wherever a run is killed between the manifest and the rename.
    #[test]
    fn work_that_is_done_is_not_done_again() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path());
        let cancel = CancelFlag::default();
        let finished = store.path(&ONE, "");
        let partial = store.path(&ONE, PARTIAL);
        store.get_or_run(&ONE, false, &cancel, &(), write).unwrap();
        for state in ["output/resume", "resume", ""] {
            std::fs::rename(&finished, &partial).unwrap();
            std::fs::create_dir_all(partial.join(state)).unwrap();
            let other = "2".repeat(KEY_LENGTH);
            let other = ArtefactId { pass_type: "LoRA", key: &other };
            store.get_or_run(&other, true, &cancel, &(), write).unwrap();
            let found = store.get_or_run(&ONE, false, &cancel, &(), |_| panic!("it is done")).unwrap();
            assert_eq!(entries(&found.output).unwrap(), [found.output.join("file")]);
            let mut names = entries(&finished).unwrap();
            names.sort();
            assert_eq!(names, [finished.join("manifest.json"), finished.join("output")], "{state}");
        }
        // What does not match its list was not done by a run.
        std::fs::rename(&finished, &partial).unwrap();
        std::fs::write(partial.join("output/file"), "less").unwrap();
        assert_eq!(store.list().len(), 1, "nor is it an artefact");
        let made = store.get_or_run(&ONE, false, &cancel, &(), write).unwrap();
        assert!(!made.cached);
    }

    #[test]
    fn what_killed_runs_left_goes_with_the_next_one_unless_it_is_a_state_to_go_on_from() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path());
        let [left, resumable, made] = ["3", "4", "5"].map(|digit| {
            let key = digit.repeat(KEY_LENGTH);
            let partial = store.path(&ArtefactId { pass_type: "LoRA", key: &key }, PARTIAL);
            std::fs::create_dir_all(partial.join(OUTPUT)).unwrap();
            partial
        });
        std::fs::create_dir(resumable.join(OUTPUT).join(RESUME)).unwrap();
        let lock = file::open_lock(&made.with_extension("lock")).unwrap();
        lock.lock().unwrap();
        store.get_or_run(&ONE, false, &CancelFlag::default(), &(), write).unwrap();
        assert!(!left.exists() && resumable.exists() && made.exists());
    }

    #[test]
    fn what_another_process_makes_or_uses_is_not_cleaned_away() {
        let dir = tempfile::tempdir().unwrap();
        let cancel = CancelFlag::default();
        let (ours, theirs) = (Store::new(dir.path()), Store::new(dir.path()));
        let other = "2".repeat(KEY_LENGTH);
        let (one, two) = (ONE, ArtefactId { pass_type: "LoRA", key: &other });
        let used = theirs.get_or_run(&one, false, &cancel, &(), write).unwrap();
        let made = theirs.get_or_run(&two, false, &cancel, &(), |output| {
            let cleaned = ours.clean().unwrap();
            assert_eq!((cleaned.removed, cleaned.kept.len()), (0, 2));
            write(output)
        });
        assert!(used.output.join("file").is_file() && made.unwrap().output.join("file").is_file());

        drop(theirs);
        let cleaned = ours.clean().unwrap();
        assert_eq!((cleaned.removed, cleaned.kept.len()), (2, 0));
        assert!(!dir.path().join("passes-v1").exists(), "locks and folders go as well");
        // A store may clean what it uses itself.
        assert!(!ours.get_or_run(&one, false, &cancel, &(), write).unwrap().cached);
        assert_eq!(ours.clean().unwrap().removed, 1);
    }
}
