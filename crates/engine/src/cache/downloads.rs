//! Files of a service among the artefacts, which are found again by the address that a configuration has:
//!
//! ```text
//! passes-v1/AzureMLResource/<key>/output/files/…            the file, or what the folder holds
//! passes-v1/AzureMLResource/<key>.partial/output/resume/…   what has arrived of it
//! ```

use super::artefacts::Made;
use super::manifest::Manifest;
use super::partial::RESUME;
use super::store::ArtefactId;
use super::{CacheError, KeyHasher, Store};
use olive_core::cancel::CancelFlag;
use olive_core::content::ContentHashes;
use olive_core::event::EventSink;
use olive_core::{InnerPath, Result, error::IoContext};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

const KIND: &str = "AzureMLResource";
const VERSION: u32 = 1;
/// The folder of the files: beside it no name is one of theirs.
const FILES: &str = "files";

/// A file or a folder of a service, as it is at one moment.
#[derive(Debug, Clone, Copy)]
pub struct Download<'a> {
    /// As the configuration names it.
    pub address: &'a str,
    /// Changes whenever one of the files does.
    pub state: &'a str,
    /// The name of the file; `None` for a folder.
    pub file: Option<&'a str>,
}

/// What a manifest says of it.
#[derive(Serialize, Deserialize)]
struct Facts {
    address: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    file: Option<String>,
}

impl Store {
    /// What was downloaded last from an address, if it is whole: the file or the folder. Nothing is written.
    pub fn downloaded(&self, address: &str) -> Option<PathBuf> {
        self.newest(address, |id| self.look_up(id).is_ok())
    }

    /// The same, which no other process removes until this store goes.
    pub fn use_downloaded(&self, address: &str) -> Option<PathBuf> {
        self.newest(address, |id| self.use_cached(id).is_ok())
    }

    fn newest(&self, address: &str, is_whole: impl Fn(&ArtefactId) -> bool) -> Option<PathBuf> {
        let of_address = |(_, Manifest { pass_type, key, options, .. }): (PathBuf, Manifest)| {
            let facts: Facts = serde_json::from_value(options).ok()?;
            (pass_type == KIND && facts.address == address).then_some((key, facts.file))
        };
        let (key, file) = self.list().into_iter().find_map(of_address)?;
        let id = ArtefactId { pass_type: KIND, key: &key };
        is_whole(&id).then(|| place(&self.output(&id), file.as_deref())).flatten()
    }

    /// The file or the folder, which `work` downloads into a folder if it is not there as it is now. What an interrupted
    /// `work` left is still there for the next.
    ///
    /// # Errors
    /// As [`Store::get_or_run`].
    pub fn get_or_download(
        &self,
        wanted: &Download,
        cancel: &CancelFlag,
        events: &dyn EventSink,
        work: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<PathBuf> {
        let contents = ContentHashes::default();
        let mut hasher = KeyHasher::new(&contents);
        hasher.field("kind", &KIND);
        hasher.field("version", &VERSION);
        hasher.field("address", &wanted.address);
        hasher.field("state", &wanted.state);
        let facts = Facts { address: wanted.address.to_owned(), file: wanted.file.map(str::to_owned) };
        let made = Made {
            kind: KIND,
            name: wanted.address,
            version: VERSION,
            key: &hasher.finish(),
            input_key: wanted.state,
            input: Path::new(wanted.address),
            options: serde_json::to_value(facts).expect("plain data"),
        };
        let output = self.get_or_make(&made, cancel, events, |dir| {
            let (arriving, files) = (dir.join(RESUME), dir.join(FILES));
            if files.is_dir() {
                // Killed before that was noted.
                return Ok(());
            }
            std::fs::create_dir_all(&arriving).at("create", &arriving)?;
            let arriving = arriving.join(FILES);
            work(&arriving)?;
            std::fs::rename(&arriving, &files).at("move", &arriving)
        })?;
        place(&output, wanted.file).ok_or_else(|| CacheError::Foreign { path: output }.into())
    }
}

/// Where the file or the folder is in an artefact; `None` if the name is none of a file.
fn place(output: &Path, file: Option<&str>) -> Option<PathBuf> {
    let files = output.join(FILES);
    match file {
        Some(name) => Some(InnerPath::name(name).ok()?.below(&files)),
        None => Some(files),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(store: &Store, state: &str, work: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
        let wanted = Download { address: "azureml://datastores/d/paths/rows", state, file: Some("rows") };
        store.get_or_download(&wanted, &CancelFlag::default(), &(), work)
    }

    fn write(dir: &Path, text: &str) -> Result<()> {
        std::fs::create_dir_all(dir).unwrap();
        std::fs::write(dir.join("rows"), text).unwrap();
        Ok(())
    }

    #[test]
    fn a_download_is_found_by_its_address_and_made_anew_when_its_state_changes() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path());
        let address = "azureml://datastores/d/paths/rows";
        assert_eq!(store.downloaded(address), None);
        let first = get(&store, "1", |dir| write(dir, "one")).unwrap();
        assert_eq!(get(&store, "1", |_| unreachable!("it is there")).unwrap(), first);
        assert_eq!(store.downloaded(address).as_ref(), Some(&first));
        assert_eq!(store.downloaded("azureml://datastores/d/paths/other"), None);
        let second = get(&store, "2", |dir| write(dir, "two")).unwrap();
        assert_eq!(std::fs::read_to_string(&second).unwrap(), "two");
        // A file that somebody wrote into is not what was downloaded.
        std::fs::write(&second, "three").unwrap();
        assert_ne!(store.downloaded(address).as_ref(), Some(&second));
        assert_eq!(store.clean().unwrap().removed, 2);
    }

    #[test]
    fn what_has_arrived_is_there_for_the_next_attempt() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path());
        let interrupted = get(&store, "1", |dir| {
            write(dir, "half")?;
            Err(olive_core::error::Interrupted.into())
        });
        assert!(interrupted.unwrap_err().is_interruption());
        let got = get(&store, "1", |dir| {
            assert_eq!(std::fs::read_to_string(dir.join("rows")).unwrap(), "half");
            write(dir, "whole")
        });
        assert_eq!(std::fs::read_to_string(got.unwrap()).unwrap(), "whole");
        assert!(!dir.path().join("resume").exists());
    }

    #[test]
    fn a_name_that_leads_out_is_none() {
        assert_eq!(place(Path::new("/c"), Some("../x")), None);
        assert_eq!(place(Path::new("/c"), Some("a")), Some("/c/files/a".into()));
        assert_eq!(place(Path::new("/c"), None), Some("/c/files".into()));
    }
}
