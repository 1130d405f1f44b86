//! Converted models among the artefacts.

use super::manifest::Manifest;
use super::store::ArtefactId;
use super::{CacheError, KeyHasher, Store};
use olive_core::Result;
use olive_core::cancel::CancelFlag;
use olive_core::content::ContentHashes;
use olive_core::event::EventSink;
use olive_core::handle::ModelKind;
use olive_model::{Conversion, Conversions};
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

impl Conversions for Store {
    fn find(&self, wanted: &Conversion) -> Result<Option<PathBuf>> {
        let (key, _) = key(wanted, &self.contents())?;
        let found = self.look_up(&ArtefactId { pass_type: wanted.kind, key: &key });
        Ok(found.ok().map(|artefact| artefact.output))
    }

    fn get_or_make(
        &self,
        wanted: &Conversion,
        cancel: &CancelFlag,
        events: &dyn EventSink,
        work: &mut dyn FnMut(&Path) -> Result<()>,
    ) -> Result<PathBuf> {
        let contents = self.contents();
        let (key, content) = key(wanted, &contents)?;
        let id = ArtefactId { pass_type: wanted.kind, key: &key };
        let artefact = self.get_or_run(&id, false, cancel, events, |dir| {
            let clock = Instant::now();
            let started = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |t| t.as_secs());
            work(dir)?;
            if let Some(path) = contents.first_changed() {
                return Err(CacheError::InputChanged { path }.into());
            }
            let manifest = Manifest {
                olive_version: env!("CARGO_PKG_VERSION").into(),
                pass_type: wanted.kind.into(),
                pass_version: wanted.version,
                pass_name: "-".into(),
                key: key.clone(),
                input_key: content.clone(),
                input: wanted.source.to_owned(),
                options: serde_json::json!({}),
                data: Vec::new(),
                output: ModelKind::Hf,
                started,
                seconds: clock.elapsed().as_secs_f64(),
                files: Vec::new(),
            };
            Ok((ModelKind::Hf, manifest))
        })?;
        if let Err(error) = contents.save() {
            // It only saves time.
            tracing::debug!("content hashes are not remembered: {error}");
        }
        Ok(artefact.output)
    }
}

/// The key, and the hash of the source.
fn key(wanted: &Conversion, contents: &ContentHashes) -> Result<(String, String)> {
    let content = contents.file(wanted.source)?;
    let mut hasher = KeyHasher::new(contents);
    hasher.field("kind", &wanted.kind);
    hasher.field("version", &wanted.version);
    hasher.field("content", &content);
    Ok((hasher.finish(), content))
}
