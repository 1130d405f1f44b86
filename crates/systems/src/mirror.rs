//! A copy of what a job has done so far, in a folder that outlives the machine: file systems there rarely have locks and
//! links, so the cache itself lies on the machine's own disk.
//!
//! ```text
//! passes-v1/<PassType>/<key>/<n>/            an artefact that is done
//! passes-v1/<PassType>/<key>.partial/<n>/    a training, with its state in output/resume/
//! ```
//!
//! There the job may be stopped between any two files: see [`copies`](crate::copies).

use crate::copies::Copies;
use olive_core::event::{Event, TimedEvent};
use olive_core::event_hub::EventListener;
use olive_core::{Result, error::IoContext, file};
use olive_engine::cache::Manifest;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Artefacts above this size are made again rather than kept twice.
const LARGEST: u64 = 1_000_000_000;
const RESUME: &str = "output/resume";
/// The end of a training's state: a folder without it is on its way.
const STATE: &str = "state.json";

/// Copies after each event that can mean that there is something new: at that moment nothing is being written.
pub(crate) struct Mirror {
    cache: PathBuf,
    kept: PathBuf,
    /// The states of trainings, and the artefacts, that are dealt with: the folder may be far away.
    copied: Mutex<Vec<PathBuf>>,
    problem: Mutex<Option<String>>,
}

impl Mirror {
    /// Of the cache, in the folder `kept`. What is kept there already is brought back first.
    ///
    /// # Errors
    /// A file cannot be read or written.
    pub(crate) fn start(cache: PathBuf, kept: PathBuf) -> Result<Mirror> {
        for folder in places(&kept)? {
            if let Some(copy) = Copies::of(kept.join(&folder))?.newest() {
                copy.bring_back(&cache.join(&folder))?;
            }
        }
        Ok(Mirror { cache, kept, copied: Mutex::default(), problem: Mutex::default() })
    }

    /// Why something could not be kept, if so.
    pub(crate) fn problem(&self) -> Option<String> {
        self.problem.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn update(&self) -> Result<()> {
        let mut copied = self.copied.lock().unwrap_or_else(PoisonError::into_inner);
        for folder in work(&self.cache)? {
            let (from, to) = (self.cache.join(&folder), self.kept.join(&folder));
            let resume = from.join(RESUME);
            let is_training = resume.is_dir();
            let newest = if is_training { newest_state(&resume)? } else { Some(from.clone()) };
            let Some(newest) = newest.filter(|newest| !copied.contains(newest)) else { continue };
            if is_training {
                Copies::of(to)?.add(&from)?;
            } else {
                keep_artefact(&from, &to)?;
            }
            copied.push(newest);
        }
        Ok(())
    }
}

/// An artefact takes the place of the training that made it.
fn keep_artefact(from: &Path, to: &Path) -> Result<()> {
    let copies = Copies::of(to.to_owned())?;
    if copies.newest().is_none() && size(from)? <= LARGEST {
        copies.add(from)?;
    }
    let mut training = to.as_os_str().to_owned();
    training.push(".partial");
    Copies::of(training.into())?.remove()
}

impl EventListener for Mirror {
    fn on_event(&self, event: &TimedEvent) {
        if !matches!(event.event, Event::TrainStep { .. } | Event::PassFinished { .. }) {
            return;
        }
        if let Err(error) = self.update() {
            // The job goes on: it only has more to do again if it is stopped.
            *self.problem.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.with_causes());
        }
    }
}

/// The artefacts and the unfinished trainings below a cache, relative to it.
fn work(cache: &Path) -> Result<Vec<PathBuf>> {
    let mut all = places(cache)?;
    all.retain(|place| {
        let folder = cache.join(place);
        folder.join(Manifest::NAME).is_file() || folder.join(RESUME).is_dir()
    });
    Ok(all)
}

/// The folders of artefacts below a cache, or below what is kept of one, relative to it.
fn places(cache: &Path) -> Result<Vec<PathBuf>> {
    let mut all = Vec::new();
    for pass_type in folders(&cache.join("passes-v1"))? {
        for folder in folders(&pass_type)? {
            all.push(folder.strip_prefix(cache).expect("below it").to_owned());
        }
    }
    Ok(all)
}

fn folders(dir: &Path) -> Result<Vec<PathBuf>> {
    if !dir.is_dir() {
        return Ok(Vec::new());
    }
    let mut all = Vec::new();
    for entry in file::entries(dir).at("read", dir)? {
        let path = entry.at("read", dir)?.path();
        if path.is_dir() {
            all.push(path);
        }
    }
    all.sort();
    Ok(all)
}

/// The folder of the last state that is whole.
fn newest_state(resume: &Path) -> Result<Option<PathBuf>> {
    Ok(folders(resume)?.into_iter().rfind(|folder| folder.join(STATE).is_file()))
}

fn size(dir: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in file::entries(dir).at("read", dir)? {
        let entry = entry.at("read", dir)?;
        let meta = entry.metadata().at("read", &entry.path())?;
        bytes += if meta.is_dir() { size(&entry.path())? } else { meta.len() };
    }
    Ok(bytes)
}
