//! Artefacts that another machine made.

use super::manifest::Manifest;
use super::partial::OUTPUT;
use super::store::{Artefact, ArtefactId};
use super::{CacheError, Store};
use olive_core::cancel::CancelFlag;
use olive_core::event::EventSink;
use olive_core::{Result, error::IoContext};
use std::path::{Path, PathBuf};

/// An artefact on its way into the cache.
pub struct Adoption<'a> {
    pub id: ArtefactId<'a>,
    /// As the other machine wrote it: the files are checked against it.
    pub manifest: &'a Manifest,
    /// The folder with `output`, on the file system of the cache; its files are linked, else moved.
    pub from: &'a Path,
    /// Key and place of what it was made from, as this machine knows them.
    pub input_key: &'a str,
    pub input: &'a Path,
}

impl Store {
    /// Takes an artefact in, under the key that it would have if it had been made here, unless it is there already.
    /// `unchanged` says whether what the key was computed of is still the same.
    ///
    /// # Errors
    /// [`CacheError::Foreign`]: a file is not as the manifest has it. Or the cache cannot be written.
    pub fn adopt(
        &self,
        adoption: &Adoption,
        cancel: &CancelFlag,
        events: &dyn EventSink,
        unchanged: &dyn Fn() -> Result<()>,
    ) -> Result<Artefact> {
        let &Adoption { ref id, manifest, from, input_key, input } = adoption;
        self.get_or_run(id, false, cancel, events, |dir| {
            let output = from.join(OUTPUT);
            if let Some(path) = manifest.clone().first_changed(from, &output) {
                return Err(CacheError::Foreign { path }.into());
            }
            unchanged()?;
            for file in &manifest.files {
                let foreign = || CacheError::Foreign { path: output.join(&file.path) };
                let (source, target) = file.below(&output).zip(file.below(dir)).ok_or_else(foreign)?;
                let folder = target.parent().expect("below the folder");
                std::fs::create_dir_all(folder).at("create", folder)?;
                std::fs::hard_link(&source, &target)
                    .or_else(|_| std::fs::rename(&source, &target))
                    .at("move", &source)?;
            }
            let manifest = Manifest {
                key: id.key.to_owned(),
                input_key: input_key.to_owned(),
                input: PathBuf::from(input),
                ..manifest.clone()
            };
            Ok((manifest.output, manifest))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::key::KEY_LENGTH;
    use crate::cache::manifest::list_contents;
    use olive_core::handle::ModelKind;

    fn manifest(files: &Path) -> Manifest {
        let json = serde_json::json!({
            "olive_version": "0", "pass_type": "LoRA", "pass_version": 1, "pass_name": "lora", "key": "there",
            "input_key": "there", "input": "/there", "options": {}, "output": ModelKind::HfWithAdapter, "started": 1,
            "seconds": 2.0, "files": list_contents(files, |_| true).unwrap(),
        });
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn what_another_machine_made_is_found_under_the_key_that_it_has_here() {
        let dir = tempfile::tempdir().unwrap();
        let (store, from) = (Store::new(&dir.path().join("cache")), dir.path().join("from"));
        std::fs::create_dir_all(from.join("output/runs")).unwrap();
        std::fs::write(from.join("output/runs/events"), "curve").unwrap();
        std::fs::write(from.join("output/adapter"), "weights").unwrap();
        let manifest = manifest(&from.join(OUTPUT));
        let key = "a".repeat(KEY_LENGTH);
        let id = || ArtefactId { pass_type: "LoRA", key: &key };
        let adoption =
            Adoption { id: id(), manifest: &manifest, from: &from, input_key: "k", input: Path::new("here") };
        let adopt = |unchanged: &dyn Fn() -> Result<()>| {
            store.adopt(&adoption, &CancelFlag::default(), &(), unchanged)
        };
        std::fs::write(from.join("output/adapter"), "wrights").unwrap();
        assert!(adopt(&|| Ok(())).err().unwrap().to_string().contains("output/adapter"));
        std::fs::write(from.join("output/adapter"), "weights").unwrap();
        let changed = || Err(CacheError::InputChanged { path: "model".into() }.into());
        assert!(adopt(&changed).err().unwrap().to_string().contains("model"));
        assert!(store.look_up(&id()).is_err());
    }

    #[test]
    fn it_is_taken_in_once() {
        let dir = tempfile::tempdir().unwrap();
        let (store, from) = (Store::new(&dir.path().join("cache")), dir.path().join("from"));
        std::fs::create_dir_all(from.join("output/runs")).unwrap();
        std::fs::write(from.join("output/runs/events"), "curve").unwrap();
        let manifest = manifest(&from.join(OUTPUT));
        let key = "b".repeat(KEY_LENGTH);
        let id = ArtefactId { pass_type: "LoRA", key: &key };
        let adoption =
            Adoption { id, manifest: &manifest, from: &from, input_key: "k", input: Path::new("here") };
        for cached in [false, true] {
            let artefact = store.adopt(&adoption, &CancelFlag::default(), &(), &|| Ok(())).unwrap();
            assert_eq!(artefact.cached, cached);
            assert_eq!(std::fs::read_to_string(artefact.output.join("runs/events")).unwrap(), "curve");
            assert_eq!((&*artefact.manifest.key, &*artefact.manifest.input_key), (&*key, "k"));
        }
    }
}
