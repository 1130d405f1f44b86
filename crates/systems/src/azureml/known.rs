//! How far a chain is: which of its artefacts are in the cache, and which are known to lie in the datastore.
//!
//! A large artefact that another pass follows is of use here only to be sent back. It stays where its job left it, with a note
//! in the cache; the next job takes it from there.

use super::AzureMlSettings;
use super::connection::{Connection, named};
use crate::SystemError;
use crate::pack::{ADAPTER, MODEL, Source};
use olive_azureml::uri::AssetUri;
use olive_config::AzureMlSystem;
use olive_core::Result;
use olive_core::event::Event;
use olive_core::handle::{ModelHandle, ModelKind};
use olive_engine::StepOutcome;
use olive_engine::cache::manifest::FileEntry;
use olive_engine::cache::store::{Artefact, ArtefactId};
use olive_engine::cache::{Elsewhere, Manifest};
use olive_engine::executor::{Chain, Execution};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// A chain, and how far it is.
pub(super) struct Work<'a> {
    pub(super) chain: &'a Chain<'a>,
    pub(super) execution: &'a Execution<'a>,
    pub(super) system: &'a AzureMlSystem,
    pub(super) settings: &'a AzureMlSettings,
    /// How many of its steps are done.
    pub(super) done: usize,
    /// What the next of them works on.
    pub(super) model: ModelHandle,
    /// What is not here, by the folders of the cache that would have it.
    pub(super) left: BTreeMap<PathBuf, Left>,
}

/// An artefact that stays in the datastore.
pub(super) struct Left {
    /// The step that made it.
    step: usize,
    note: Elsewhere,
}

impl Left {
    /// As a job takes it.
    pub(super) fn source(&self) -> Source {
        let content = |file: &FileEntry| Some((file.path.to_str()?.to_owned(), file.hash()?.to_owned()));
        let contents = self.note.manifest.files.iter().filter_map(content).collect();
        Source::Left { address: self.note.place.clone(), contents }
    }
}

/// An artefact that need not be made.
enum Known {
    Here(Artefact),
    Elsewhere(Elsewhere),
}

impl<'a> Work<'a> {
    pub(super) fn new(
        chain: &'a Chain<'a>,
        execution: &'a Execution<'a>,
        system: &'a AzureMlSystem,
        settings: &'a AzureMlSettings,
    ) -> Work<'a> {
        let model = chain.input.clone();
        Work { chain, execution, system, settings, done: 0, model, left: BTreeMap::new() }
    }

    pub(super) fn is_done(&self) -> bool {
        self.done == self.chain.steps.len()
    }

    /// Takes the steps up to the last whose artefact is here. Those before it that lie elsewhere are not needed: nothing is
    /// asked of Azure.
    pub(super) fn take_known(&mut self) {
        let mut known = Vec::new();
        while let Some(artefact) = self.known(self.done + known.len()) {
            known.push(artefact);
        }
        let here = known.iter().rposition(|artefact| matches!(artefact, Known::Here(_)));
        known.truncate(here.map_or(0, |last| last + 1));
        for artefact in known {
            self.chain.announce(self.done, self.execution.events);
            match artefact {
                Known::Here(artefact) => self.take_here(artefact, Origin::Cache),
                Known::Elsewhere(note) => self.take_elsewhere(note, Origin::Cache),
            }
        }
    }

    /// Takes all steps whose artefacts are here or in the datastore; what is needed here comes here.
    ///
    /// # Errors
    /// The datastore cannot be read, or the cache cannot be written.
    pub(super) async fn take_all_known(&mut self, connection: &Connection) -> Result<()> {
        loop {
            self.take_known();
            let Some(note) = self.note(self.done) else { return Ok(()) };
            if !is_whole(connection, &note).await? {
                self.execution.store.forget_elsewhere(&self.id(self.done))?;
                return Ok(());
            }
            self.chain.announce(self.done, self.execution.events);
            if self.may_stay(self.done) {
                self.take_elsewhere(note, Origin::Cache);
            } else {
                self.bring(connection, &note).await?;
            }
        }
    }

    fn known(&self, number: usize) -> Option<Known> {
        let step = self.chain.steps.get(number)?;
        if step.config.clean_run_cache {
            return None;
        }
        match self.execution.store.look_up(&self.id(number)) {
            Ok(artefact) => Some(Known::Here(artefact)),
            Err(_) => self.note(number).filter(|_| self.may_stay(number)).map(Known::Elsewhere),
        }
    }

    /// The note of a step whose artefact this system can read.
    fn note(&self, number: usize) -> Option<Elsewhere> {
        let step = self.chain.steps.get(number).filter(|step| !step.config.clean_run_cache)?;
        let note = self.execution.store.elsewhere(&self.id(number))?;
        let place: AssetUri = note.place.parse().ok()?;
        let ours = named(&self.system.client.workspace).ok()?;
        let is_ours = place.workspace() == Some(&ours);
        (is_ours && note.manifest.output == step.output).then_some(note)
    }

    /// Whether nobody needs the artefact of this step here: another pass of the chain makes a whole model of it.
    pub(super) fn may_stay(&self, number: usize) -> bool {
        let next = self.chain.steps.get(number + 1);
        !self.system.download_intermediate && next.is_some_and(|next| next.output != ModelKind::HfWithAdapter)
    }

    /// What identifies the artefact of a step.
    pub(super) fn id(&self, number: usize) -> ArtefactId<'a> {
        self.chain.keys[number].artefact_id(&self.chain.steps[number])
    }

    /// The next step's artefact is in the cache.
    pub(super) fn take_here(&mut self, artefact: Artefact, origin: Origin) {
        let output = artefact.manifest.output;
        let outcome = self.outcome(&artefact.manifest, origin);
        self.execution.report(&StepOutcome { path: artefact.output.clone(), ..outcome });
        self.model = self.model.made_into(output, artefact.output);
        self.done += 1;
    }

    /// The next step's artefact stays in the datastore.
    pub(super) fn take_elsewhere(&mut self, note: Elsewhere, origin: Origin) {
        let path = self.execution.store.output(&self.id(self.done));
        let outcome = self.outcome(&note.manifest, origin);
        let elsewhere = Some(note.place.clone());
        self.execution.report(&StepOutcome { path: path.clone(), elsewhere, ..outcome });
        self.model = self.model.made_into(note.manifest.output, path.clone());
        self.left.insert(path, Left { step: self.done, note });
        self.done += 1;
    }

    /// Forgets where artefacts are that a job found damaged: they are made again. `inputs` are those of the job.
    ///
    /// # Errors
    /// A note cannot be removed.
    pub(super) fn forget_damaged(&self, inputs: &[String]) -> Result<()> {
        for (input, dir) in [(MODEL, self.model.base()), (ADAPTER, self.model.dir())] {
            let Some(left) = self.left.get(dir) else { continue };
            if inputs.iter().any(|damaged| damaged == input) {
                self.forget(&self.id(left.step), &left.note)?;
            }
        }
        Ok(())
    }

    /// Forgets where an artefact is: it is not what its note says.
    ///
    /// # Errors
    /// The note cannot be removed.
    pub(super) fn forget(&self, id: &ArtefactId, note: &Elsewhere) -> Result<()> {
        let pass = &note.manifest.pass_name;
        let message = format!("what `{pass}` made is not in the datastore as it was made: it is made again");
        self.execution.events.emit(Event::Warning { message });
        self.execution.store.forget_elsewhere(id)
    }

    fn outcome(&self, manifest: &Manifest, origin: Origin) -> StepOutcome {
        let step = &self.chain.steps[self.done];
        StepOutcome {
            pass: step.config.name.clone(),
            r#type: step.pass.name().to_owned(),
            cached: origin == Origin::Cache,
            seconds: if origin == Origin::Cache { 0.0 } else { manifest.seconds },
            bytes: manifest.bytes(),
            path: PathBuf::new(),
            key: self.chain.keys[self.done].key.clone(),
            elsewhere: None,
        }
    }
}

/// Where an artefact comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// It was known before.
    Cache,
    /// A job of this run made it.
    Job,
}

/// Whether all files of an artefact are where its note says, in their sizes.
async fn is_whole(connection: &Connection, note: &Elsewhere) -> Result<bool> {
    let (container, path) = connection.stored(&note.place).await?;
    let prefix = format!("{}/", path.trim_end_matches('/'));
    let blobs = container.list(&prefix).await.map_err(SystemError::from)?;
    let sizes: BTreeMap<&str, u64> =
        blobs.iter().map(|blob| (&blob.name[prefix.len()..], blob.size)).collect();
    let is_there =
        |file: &FileEntry| file.path.to_str().and_then(|path| sizes.get(path)) == Some(&file.bytes);
    Ok(note.manifest.files.iter().all(is_there))
}
