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
        let key = hasher.finish();
        let id = ArtefactId { pass_type: wanted.kind, key: &key };
        let artefact = self.store.get_or_run(&id, false, cancel, events, |dir| {
            let clock = Instant::now();
            let started = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |t| t.as_secs());
            work(dir)?;
            (self.unchanged)()?;
            let manifest = Manifest {
                olive_version: env!("CARGO_PKG_VERSION").into(),
                pass_type: wanted.kind.into(),
                pass_version: wanted.version,
                pass_name: "-".into(),
                key: key.clone(),
                input_key: self.input_key.into(),
                input: wanted.input.to_owned(),
                options: serde_json::to_value(wanted.options).expect("options are plain data"),
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
