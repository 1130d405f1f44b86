//! Converted models among the artefacts.

use super::artefacts::{Made, UNNAMED};
use super::store::ArtefactId;
use super::{CacheError, KeyHasher, Store};
use olive_core::Result;
use olive_core::cancel::CancelFlag;
use olive_core::content::ContentHashes;
use olive_core::event::EventSink;
use olive_model::{Conversion, Conversions};
use std::path::{Path, PathBuf};

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
        let made = Made {
            kind: wanted.kind,
            name: UNNAMED,
            version: wanted.version,
            key: &key,
            input_key: &content,
            input: wanted.source,
            options: serde_json::json!({}),
        };
        let folder = Store::get_or_make(self, &made, cancel, events, |dir| {
            work(dir)?;
            match contents.first_changed() {
                Some(path) => Err(CacheError::InputChanged { path }.into()),
                None => Ok(()),
            }
        })?;
        if let Err(error) = contents.save() {
            // It only saves time.
            tracing::debug!("content hashes are not remembered: {error}");
        }
        Ok(folder)
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
