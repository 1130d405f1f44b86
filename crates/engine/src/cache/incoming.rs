//! Artefacts on their way from another machine, where an interrupted transfer goes on:
//!
//! ```text
//! <cache_dir>/jobs/<name>/                       what comes from the job of this name, or as the artefact of this key
//!                     └ <PassType>-<key>/        an artefact, under the key that it will have here
//! <cache_dir>/jobs/<name>.lock                   held by the process that fetches it
//! ```
//!
//! A folder goes when all of it is in the cache. One whose process was killed goes with the next run that fetches something,
//! if all of it had come into the cache, or if nobody went on with it for a month.

use super::Manifest;
use super::folder::{entries, remove_if_there};
use super::lock;
use super::store::{ArtefactId, Cleaned, KeptReason, Store};
use olive_core::cancel::CancelFlag;
use olive_core::event::EventSink;
use olive_core::{Result, error::IoContext};
use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

const FOLDER: &str = "jobs";
const LOCK: &str = ".lock";

/// What nobody went on with for so long is given up.
const FORGOTTEN: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// A folder for what comes, which no other process fills meanwhile.
#[derive(Debug)]
pub struct Incoming {
    dir: PathBuf,
    lock: PathBuf,
    _held: File,
}

/// What is on its way, or was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnItsWay {
    /// Name of the job, or key of the artefact.
    pub name: String,
    pub dir: PathBuf,
    /// That are here.
    pub bytes: u64,
}

impl Incoming {
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where an artefact comes, in a folder `output` below.
    pub fn artefact(&self, id: &ArtefactId) -> PathBuf {
        self.dir.join(format!("{}-{}", id.pass_type, id.key))
    }

    /// All of it is in the cache, or of no use.
    ///
    /// # Errors
    /// The folder cannot be removed.
    pub fn remove(self) -> Result<()> {
        remove_if_there(&self.dir)?;
        remove_if_there(&self.lock)
    }
}

impl Store {
    /// The folder for what comes from the job of this name. Waits for another process that fetches the same.
    ///
    /// # Errors
    /// The folder cannot be made or locked, or the run is to stop while it waits.
    pub fn incoming(&self, name: &str, cancel: &CancelFlag, events: &dyn EventSink) -> Result<Incoming> {
        let (dir, lock) = self.incoming_paths(name);
        let waiting = format!("another process fetches the result of {name}; waiting for it");
        let held = lock::wait_for(&lock, &waiting, cancel, events)?;
        std::fs::create_dir_all(&dir).at("create", &dir)?;
        Ok(Incoming { dir, lock, _held: held })
    }

    /// All that is on its way, or was, by name.
    pub fn list_incoming(&self) -> Vec<OnItsWay> {
        let names = self.incoming_names().unwrap_or_default();
        let found = names.into_iter().map(|name| (self.incoming_paths(&name).0, name));
        found
            .filter(|(dir, _)| dir.is_dir() && !dir.is_symlink())
            .map(|(dir, name)| OnItsWay { bytes: extent(&dir).bytes, name, dir })
            .collect()
    }

    /// Removes what killed runs left of artefacts that had come into the cache, and what was given up.
    ///
    /// # Errors
    /// A folder cannot be read or removed.
    pub fn remove_abandoned_incoming(&self) -> Result<()> {
        for name in self.incoming_names()? {
            let (dir, path) = self.incoming_paths(&name);
            if dir.is_symlink() || path.is_symlink() || !(self.is_all_here(&dir)? || is_forgotten(&dir)) {
                continue;
            }
            if let Some(_held) = lock::try_take(&path)? {
                remove_if_there(&dir)?;
                remove_if_there(&path)?;
            }
        }
        Ok(())
    }

    /// Removes all that no process fetches at this moment.
    pub(super) fn clean_incoming(&self, cleaned: &mut Cleaned) -> Result<()> {
        let folder = self.incoming_folder();
        if !cleaned.is_folder(&folder) {
            return Ok(());
        }
        for path in entries(&folder)? {
            if name_of(&path).is_none() {
                cleaned.keep(path, KeptReason::Foreign);
            }
        }
        for name in self.incoming_names()? {
            let (dir, path) = self.incoming_paths(&name);
            if path.is_symlink() {
                cleaned.keep(path, KeptReason::Link);
                continue;
            }
            let Some(_held) = lock::try_take(&path)? else {
                cleaned.keep(dir, KeptReason::InUse);
                continue;
            };
            if cleaned.is_folder(&dir) {
                cleaned.incoming += 1;
                cleaned.bytes += extent(&dir).bytes;
                remove_if_there(&dir)?;
            }
            remove_if_there(&path)?;
        }
        // Fails where something was kept.
        let _ = std::fs::remove_dir(&folder);
        Ok(())
    }

    fn incoming_folder(&self) -> PathBuf {
        self.root().with_file_name(FOLDER)
    }

    fn incoming_paths(&self, name: &str) -> (PathBuf, PathBuf) {
        let folder = self.incoming_folder();
        (folder.join(name), folder.join(format!("{name}{LOCK}")))
    }

    fn incoming_names(&self) -> Result<BTreeSet<String>> {
        Ok(entries(&self.incoming_folder())?.iter().filter_map(|path| name_of(path)).collect())
    }

    /// Whether the cache has every artefact that came in this folder.
    fn is_all_here(&self, dir: &Path) -> Result<bool> {
        let is_here = |path: &PathBuf| {
            let name = path.file_name()?.to_str()?;
            let (pass_type, key) = name.rsplit_once('-').filter(|_| path.is_dir())?;
            Some(self.path(&ArtefactId { pass_type, key }, "").join(Manifest::NAME).is_file())
        };
        // What is no artefact says what there was to fetch.
        Ok(entries(dir)?.iter().all(|path| is_here(path).unwrap_or(true)))
    }
}

/// The name that this folder or lock belongs to, if it is one that jobs and keys have.
fn name_of(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    let name = name.strip_suffix(LOCK).unwrap_or(name);
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (!name.is_empty() && name.bytes().all(fits)).then(|| name.to_owned())
}

/// How much lies in a folder, and when the last of it came.
#[derive(Debug, Clone, Copy)]
struct Extent {
    bytes: u64,
    changed: SystemTime,
}

/// Links are not followed, and what cannot be read is not there.
fn extent(dir: &Path) -> Extent {
    let mut all = Extent { bytes: 0, changed: SystemTime::UNIX_EPOCH };
    let mut left = vec![dir.to_owned()];
    while let Some(path) = left.pop() {
        let Ok(meta) = path.symlink_metadata() else { continue };
        all.changed = all.changed.max(meta.modified().unwrap_or(SystemTime::UNIX_EPOCH));
        if meta.is_dir() {
            left.extend(entries(&path).unwrap_or_default());
        } else {
            all.bytes += meta.len();
        }
    }
    all
}

fn is_forgotten(dir: &Path) -> bool {
    extent(dir).changed.elapsed().is_ok_and(|age| age > FORGOTTEN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::key::KEY_LENGTH;
    use olive_core::error::Interrupted;
    use olive_core::handle::ModelKind;

    fn of_digit(digit: &str) -> String {
        digit.repeat(KEY_LENGTH)
    }

    /// A part of an artefact that was to come from a job.
    fn begin(store: &Store, name: &str, key: &str) -> Incoming {
        let incoming = store.incoming(name, &CancelFlag::default(), &()).unwrap();
        let output = incoming.artefact(&ArtefactId { pass_type: "LoRA", key }).join("output");
        std::fs::create_dir_all(&output).unwrap();
        std::fs::write(output.join("part"), "12345").unwrap();
        std::fs::write(incoming.dir().join("result.json"), "{}").unwrap();
        incoming
    }

    fn names(store: &Store) -> Vec<String> {
        store.list_incoming().into_iter().map(|found| found.name).collect()
    }

    fn publish(store: &Store, key: &str) {
        let manifest = serde_json::json!({
            "olive_version": "0", "pass_type": "LoRA", "pass_version": 1, "pass_name": "lora", "key": key,
            "input_key": "i", "input": "/i", "options": {}, "output": ModelKind::Hf, "started": 1, "seconds": 2.0,
            "files": [],
        });
        let manifest: Manifest = serde_json::from_value(manifest).unwrap();
        let id = ArtefactId { pass_type: "LoRA", key };
        let work = |_: &Path| Ok((ModelKind::Hf, manifest));
        store.get_or_run(&id, false, &CancelFlag::default(), &(), work).unwrap();
    }

    fn grow_old(path: &Path) {
        for below in entries(path).unwrap_or_default() {
            grow_old(&below);
        }
        let long_ago = SystemTime::now() - FORGOTTEN - Duration::from_secs(60);
        File::open(path).unwrap().set_modified(long_ago).unwrap();
    }

    #[test]
    fn what_has_come_or_is_given_up_goes_and_what_a_run_goes_on_with_stays() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path());
        let [here, coming] = ["1", "2"].map(of_digit);
        publish(&store, &here);
        drop(begin(&store, "olive-here-1", &here));
        drop(begin(&store, "olive-coming-1", &coming));
        drop(begin(&store, "olive-old-1", &coming));
        grow_old(&dir.path().join("jobs/olive-old-1"));
        let live = begin(&store, "olive-live-1", &here);
        grow_old(live.dir());
        store.remove_abandoned_incoming().unwrap();
        assert_eq!(names(&store), ["olive-coming-1", "olive-live-1"]);
        assert_eq!(store.list_incoming()[0].bytes, 7);
        // Its process has gone, and nobody took over.
        drop(live);
        store.remove_abandoned_incoming().unwrap();
        assert_eq!(names(&store), ["olive-coming-1"]);
        let locks = entries(&dir.path().join("jobs")).unwrap();
        assert_eq!(locks.len(), 2, "{locks:?}");
    }

    #[test]
    fn cleaning_leaves_what_is_being_fetched_links_and_what_others_put_there() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path());
        drop(begin(&store, "olive-a-1", &of_digit("1")));
        let live = begin(&store, "olive-b-1", &of_digit("2"));
        let jobs = dir.path().join("jobs");
        std::fs::write(jobs.join("notes.txt"), "mine").unwrap();
        std::os::unix::fs::symlink("/", jobs.join("link")).unwrap();
        let cleaned = store.clean().unwrap();
        assert_eq!((cleaned.incoming, cleaned.bytes, names(&store)), (1, 7, vec!["olive-b-1".to_owned()]));
        let mut kept: Vec<_> = cleaned.kept.into_iter().map(|kept| kept.reason).collect();
        kept.sort_by_key(|reason| format!("{reason:?}"));
        assert_eq!(kept, [KeptReason::Foreign, KeptReason::InUse, KeptReason::Link]);
        assert!(jobs.join("notes.txt").is_file() && jobs.join("link").is_symlink());
        live.remove().unwrap();
        assert!(names(&store).is_empty());
    }

    #[test]
    fn two_processes_do_not_fill_one_folder() {
        let dir = tempfile::tempdir().unwrap();
        let (one, other) = (Store::new(dir.path()), Store::new(dir.path()));
        let held = begin(&one, "olive-a-1", &of_digit("1"));
        let stopped = CancelFlag::default();
        stopped.raise();
        let waited = other.incoming("olive-a-1", &stopped, &());
        assert!(waited.unwrap_err().downcast_ref::<Interrupted>().is_some());
        held.remove().unwrap();
        assert!(other.incoming("olive-a-1", &CancelFlag::default(), &()).is_ok());
    }
}
