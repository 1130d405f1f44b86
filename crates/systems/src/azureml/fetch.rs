//! What a job made comes into the cache.

use super::connection::Connection;
use super::known::{Origin, Work};
use super::submission::result_folder;
use super::transfer::transfer;
use crate::SystemError;
use crate::results::{JobResult, RESULT, StepResult};
use olive_azureml::blob::Container;
use olive_azureml::download::{download_file, download_folder, kind_of};
use olive_azureml::job::JobName;
use olive_azureml::transfer::Progress;
use olive_azureml::uri::AssetUri;
use olive_core::Result;
use olive_core::event::Event;
use olive_engine::cache::store::Artefact;
use olive_engine::cache::{Adoption, CacheError, Elsewhere, Incoming, Manifest, OUTPUT};
use std::path::Path;

/// What a job has to have done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expected {
    AllSteps,
    /// Some, or none: it failed.
    SomeSteps,
}

impl Work<'_> {
    /// Takes in what a job that failed had finished. That it cannot be done is told only: why the job failed says more.
    pub(super) async fn keep_finished(&mut self, connection: &Connection, name: &JobName) {
        if self.execution.cancel.is_raised() {
            return;
        }
        if let Err(error) = self.fetch(connection, name, Expected::SomeSteps).await {
            let message = format!("what job {name} had finished is not kept: {}", error.with_causes());
            self.execution.events.emit(Event::Warning { message });
        }
    }

    /// Takes in the artefacts of the steps that a job has done. Large ones that nobody needs here stay where they are.
    ///
    /// # Errors
    /// The result of the job is not what it should be, or cannot be read; or the cache cannot be written.
    pub(super) async fn fetch(
        &mut self,
        connection: &Connection,
        name: &JobName,
        expected: Expected,
    ) -> Result<()> {
        let (store, container) = connection.store(&self.system.datastore).await?;
        let result = result_folder(name);
        let path = format!("{result}/{RESULT}");
        if expected == Expected::SomeSteps
            && kind_of(&container, &path).await.map_err(SystemError::from)?.is_none()
        {
            return Ok(());
        }
        let incoming = self.incoming(name.as_str())?;
        download_file(&container, &path, incoming.dir(), &|_| {}).await.map_err(SystemError::from)?;
        let told = JobResult::read(incoming.dir())?;
        self.forget_damaged(&told.damaged)?;
        self.check(&told.steps, expected, &incoming.dir().join(RESULT))?;
        for made in told.steps {
            let path = format!("{result}/{}", made.folder);
            if self.may_stay(self.done) && made.manifest.bytes() > self.settings.largest_fetched {
                let place = AssetUri::Datastore {
                    workspace: Some(connection.workspace.workspace().clone()),
                    datastore: store.name.clone(),
                    path: format!("{path}/{OUTPUT}/"),
                };
                self.leave_there(place.to_string(), made.manifest)?;
                continue;
            }
            let id = self.id(self.done);
            let from = incoming.artefact(&id);
            // Another process may have fetched it meanwhile.
            if self.execution.store.look_up(&id).is_err() {
                self.download(connection, &container, &path, &from).await?;
            }
            let artefact = self.adopt(&made.manifest, &from)?;
            self.take_here(artefact, Origin::Job);
        }
        // What cannot be removed only takes up space.
        let _ = incoming.remove();
        Ok(())
    }

    /// Brings an artefact here that was left in the datastore. If it is not what was left, its note goes.
    ///
    /// # Errors
    /// The datastore cannot be read, or the cache cannot be written.
    pub(super) async fn bring(&mut self, connection: &Connection, note: &Elsewhere) -> Result<()> {
        let (container, path) = connection.stored(&note.place).await?;
        let id = self.id(self.done);
        let incoming = self.incoming(&note.manifest.key)?;
        let from = incoming.artefact(&id);
        self.download(connection, &container, &path, &from.join(OUTPUT)).await?;
        match self.adopt(&note.manifest, &from) {
            Ok(artefact) => {
                self.execution.store.forget_elsewhere(&id)?;
                self.take_here(artefact, Origin::Cache);
            }
            Err(error) if matches!(error.downcast_ref(), Some(CacheError::Foreign { .. })) => {
                self.forget(&id, note)?;
            }
            Err(error) => return Err(error),
        }
        // What cannot be removed only takes up space.
        let _ = incoming.remove();
        Ok(())
    }

    /// Where something is while it arrives.
    fn incoming(&self, name: &str) -> Result<Incoming> {
        self.execution.store.incoming(name, self.execution.cancel, self.execution.events)
    }

    /// Whether these are the steps that the job was sent with, or the first of them.
    fn check(&self, made: &[StepResult], expected: Expected, path: &Path) -> Result<()> {
        let sent = &self.chain.steps[self.done..];
        let is_complete = made.len() == sent.len() || expected == Expected::SomeSteps;
        let fits = |(made, sent): (&StepResult, &olive_engine::Step)| made.pass == sent.config.name;
        if made.len() <= sent.len() && is_complete && made.iter().zip(sent).all(fits) {
            return Ok(());
        }
        let reason = "it has other passes than the job was sent with".to_owned();
        Err(SystemError::Result { path: path.to_owned(), reason }.into())
    }

    fn adopt(&self, manifest: &Manifest, from: &Path) -> Result<Artefact> {
        let execution = self.execution;
        let adoption = Adoption {
            id: self.id(self.done),
            manifest,
            from,
            input_key: &self.chain.keys[self.done].input,
            input: self.model.dir(),
        };
        execution.store.adopt(&adoption, execution.cancel, execution.events, execution.unchanged)
    }

    /// Notes where the artefact of the next step is.
    fn leave_there(&mut self, place: String, made: Manifest) -> Result<()> {
        let key = &self.chain.keys[self.done];
        let manifest = Manifest {
            key: key.key.clone(),
            input_key: key.input.clone(),
            input: self.model.dir().to_owned(),
            ..made
        };
        (self.execution.unchanged)()?;
        let message = format!("`{}` stays in the datastore: {place}", manifest.pass_name);
        let note = Elsewhere { place, manifest };
        self.execution.store.note_elsewhere(&self.id(self.done), &note)?;
        self.execution.events.emit(Event::Info { message });
        self.take_elsewhere(note, Origin::Job);
        Ok(())
    }

    async fn download(
        &self,
        connection: &Connection,
        container: &Container,
        path: &str,
        target: &Path,
    ) -> Result<()> {
        let download =
            async |progress: Progress<'_>| download_folder(container, path, target, progress).await;
        let (client, repetition) = (connection.workspace.client(), connection.repetition);
        transfer(client, repetition, self.execution.events, "download", None, download).await.map(drop)
    }
}
