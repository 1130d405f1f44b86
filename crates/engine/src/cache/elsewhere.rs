//! Artefacts that stay where another machine made them: too large to come here for nothing but being sent back. A note in the
//! cache, `<key>.elsewhere.json`, says what they are and where.

use super::folder::{entries, remove_if_there};
use super::manifest::Manifest;
use super::store::{ArtefactId, ELSEWHERE, Store, key_of};
use olive_core::{Result, error::IoContext, file};
use serde::{Deserialize, Serialize};

/// What a note says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Elsewhere {
    /// Address of the folder with the files of the manifest, as the service writes it that has them.
    pub place: String,
    /// With the keys that the artefact has on this machine.
    pub manifest: Manifest,
}

impl Store {
    /// Notes where an artefact is.
    ///
    /// # Errors
    /// The note cannot be written.
    pub fn note_elsewhere(&self, id: &ArtefactId, note: &Elsewhere) -> Result<()> {
        let path = self.path(id, ELSEWHERE);
        let folder = path.parent().expect("below the root");
        std::fs::create_dir_all(folder).at("create", folder)?;
        let text = serde_json::to_string_pretty(note).expect("plain data") + "\n";
        file::replace(&path, text.as_bytes()).at("write", &path)
    }

    /// The note of an artefact. One that cannot be understood is none.
    pub fn elsewhere(&self, id: &ArtefactId) -> Option<Elsewhere> {
        serde_json::from_slice(&file::read(&self.path(id, ELSEWHERE)).ok()?).ok()
    }

    /// The artefact is not there any more, or has come here.
    ///
    /// # Errors
    /// The note cannot be removed.
    pub fn forget_elsewhere(&self, id: &ArtefactId) -> Result<()> {
        remove_if_there(&self.path(id, ELSEWHERE))
    }

    /// All notes of artefacts that are not here, newest first.
    pub fn list_elsewhere(&self) -> Vec<Elsewhere> {
        let below = |dir: &std::path::Path| entries(dir).unwrap_or_default();
        let all = below(self.root()).into_iter().flat_map(|pass_type| below(&pass_type));
        let notes = all.filter(|path| path.to_string_lossy().ends_with(ELSEWHERE) && key_of(path).is_some());
        let mut notes: Vec<Elsewhere> =
            notes.filter_map(|path| serde_json::from_slice(&file::read(&path).ok()?).ok()).collect();
        notes.retain(|Elsewhere { manifest, .. }| {
            let id = ArtefactId { pass_type: &manifest.pass_type, key: &manifest.key };
            Manifest::read(&self.path(&id, "")).is_none()
        });
        notes.sort_by_key(|note| (std::cmp::Reverse(note.manifest.started), note.manifest.key.clone()));
        notes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use olive_core::cancel::CancelFlag;
    use olive_core::handle::ModelKind;

    #[test]
    fn a_note_counts_until_the_artefact_is_here_and_goes_when_the_cache_is_cleaned() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path());
        let key = "ab".repeat(32);
        let id = ArtefactId { pass_type: "LoRA", key: &key };
        let manifest = serde_json::json!({
            "olive_version": "0", "pass_type": "LoRA", "pass_version": 1, "pass_name": "lora", "key": key,
            "input_key": "i", "input": "/i", "options": {}, "output": ModelKind::Hf, "started": 1, "seconds": 2.0,
            "files": [{"path": "f", "bytes": 1}],
        });
        let manifest: Manifest = serde_json::from_value(manifest).unwrap();
        let note = Elsewhere { place: "azureml://datastores/d/paths/p/".into(), manifest: manifest.clone() };
        assert_eq!((store.elsewhere(&id), store.list_elsewhere()), (None, vec![]));
        store.note_elsewhere(&id, &note).unwrap();
        assert_eq!((store.elsewhere(&id).as_ref(), store.list_elsewhere().len()), (Some(&note), 1));
        assert!(store.list().is_empty() && store.look_up(&id).is_err());

        let write = |dir: &std::path::Path| {
            std::fs::write(dir.join("f"), "x").unwrap();
            Ok((ModelKind::Hf, manifest.clone()))
        };
        store.get_or_run(&id, false, &CancelFlag::default(), &(), write).unwrap();
        assert!(store.list_elsewhere().is_empty());
        let cleaned = store.clean().unwrap();
        assert_eq!((cleaned.removed, cleaned.kept.len(), store.elsewhere(&id)), (1, 0, None));
        assert!(!dir.path().join("passes-v1").exists());
    }
}
