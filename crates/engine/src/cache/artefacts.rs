//! What passes keep in the cache beside their results: things that several of them use.

use super::manifest::Manifest;
use super::store::ArtefactId;
use super::{KeyHasher, Store};
use olive_core::Result;
use olive_core::cancel::CancelFlag;
use olive_core::content::ContentHashes;
use olive_core::event::EventSink;
use olive_core::handle::ModelKind;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

/// The cache as a pass sees it.
#[derive(Clone, Copy)]
pub struct Artefacts<'a> {
    pub store: &'a Store,
    /// Key of the model that the pass works on.
    pub input_key: &'a str,
    /// Whether what the keys were computed of is still the same.
    pub unchanged: &'a dyn Fn() -> Result<()>,
}

/// Something made of a model with some options.
pub struct Derived<'a, O> {
    /// Names the folder below `passes-v1`.
    pub kind: &'static str,
    /// Raised whenever the same options give another result than before.
    pub version: u32,
    /// Where the model lies, for people.
    pub input: &'a Path,
    pub options: &'a O,
}

impl Artefacts<'_> {
    /// The folder of the finished artefact, which `work` fills if the cache does not have it.
    ///
    /// # Errors
    /// As [`Store::get_or_run`].
    pub fn get_or_make<O: Serialize>(
        &self,
        wanted: &Derived<O>,
        cancel: &CancelFlag,
        events: &dyn EventSink,
        work: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<PathBuf> {
        let contents = ContentHashes::default();
        let mut hasher = KeyHasher::new(&contents);
        hasher.field("kind", &wanted.kind);
        hasher.field("version", &wanted.version);
        hasher.field("input", &self.input_key);
        hasher.field("options", wanted.options);
        let made = Made {
            kind: wanted.kind,
            name: UNNAMED,
            version: wanted.version,
            key: &hasher.finish(),
            input_key: self.input_key,
            input: wanted.input,
            options: serde_json::to_value(wanted.options).expect("options are plain data"),
        };
        self.store.get_or_make(&made, cancel, events, |dir| {
            work(dir)?;
            (self.unchanged)()
        })
    }
}

/// What is no part of a configuration has no name in it.
pub(super) const UNNAMED: &str = "-";

/// An artefact that no pass of a configuration gives: what its manifest says.
pub(super) struct Made<'a> {
    pub(super) kind: &'static str,
    /// For people, in place of that of a pass.
    pub(super) name: &'a str,
    pub(super) version: u32,
    pub(super) key: &'a str,
    pub(super) input_key: &'a str,
    pub(super) input: &'a Path,
    pub(super) options: serde_json::Value,
}

impl Store {
    /// The folder of such an artefact, which `work` fills if it is not there.
    ///
    /// # Errors
    /// As [`Store::get_or_run`].
    pub(super) fn get_or_make(
        &self,
        made: &Made,
        cancel: &CancelFlag,
        events: &dyn EventSink,
        work: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<PathBuf> {
        let id = ArtefactId { pass_type: made.kind, key: made.key };
        let artefact = self.get_or_run(&id, false, cancel, events, |dir| {
            let clock = Instant::now();
            let started = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |t| t.as_secs());
            work(dir)?;
            let manifest = Manifest {
                olive_version: env!("CARGO_PKG_VERSION").into(),
                pass_type: made.kind.into(),
                pass_version: made.version,
                pass_name: made.name.to_owned(),
                key: made.key.to_owned(),
                input_key: made.input_key.to_owned(),
                input: made.input.to_owned(),
                options: made.options.clone(),
                data: Vec::new(),
                output: ModelKind::Hf,
                started,
                seconds: clock.elapsed().as_secs_f64(),
                files: Vec::new(),
            };
            Ok((ModelKind::Hf, manifest))
        })?;
        Ok(artefact.output)
    }
}
