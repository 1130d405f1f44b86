//! What a job made comes into the cache.

use super::connection::Connection;
use super::submission::Submission;
use super::{Work, report};
use crate::SystemError;
use crate::results::{JobResult, RESULT};
use olive_azureml::blob::Container;
use olive_azureml::download::{download_file, download_folder};
use olive_azureml::transfer::Moved;
use olive_core::event::{Event, Unit};
use olive_core::handle::ModelHandle;
use olive_core::{Result, error::IoContext};
use olive_engine::StepOutcome;
use olive_engine::cache::Adoption;
use std::path::{Path, PathBuf};

/// Below the cache, for what is on its way: a later run goes on from there.
const FOLDER: &str = "jobs";

impl Work<'_> {
    /// Downloads the artefacts of the job's steps and takes them in.
    pub(super) async fn fetch(
        &self,
        connection: &Connection,
        submission: &Submission,
    ) -> Result<ModelHandle> {
        let (_, container) = connection.store(&self.system.datastore).await?;
        let folder = self.execution.config.engine.cache_dir.join(FOLDER).join(submission.name.as_str());
        std::fs::create_dir_all(&folder).at("create", &folder)?;
        let path = format!("{}/{RESULT}", submission.result);
        download_file(&container, &path, &folder, &|_| {}).await.map_err(SystemError::from)?;
        let result = JobResult::read(&folder)?;
        let steps = &self.chain.steps[self.done..];
        if !result.steps.iter().map(|step| &step.pass).eq(steps.iter().map(|step| &step.config.name)) {
            let reason = "it has other passes than the job was sent with".to_owned();
            return Err(SystemError::Result { path: folder.join(RESULT), reason }.into());
        }
        let mut model = self.model.clone();
        for (number, (made, step)) in result.steps.iter().zip(steps).enumerate() {
            let key = &self.chain.keys[self.done + number];
            let from = made.dir(&folder);
            self.download(connection, &container, &format!("{}/{}", submission.result, made.folder), &from)
                .await?;
            let adoption = Adoption {
                id: key.artefact_id(step),
                manifest: &made.manifest,
                from: &from,
                input_key: &key.input,
                input: model.dir(),
            };
            let execution = self.execution;
            let artefact =
                execution.store.adopt(&adoption, execution.cancel, execution.events, execution.unchanged)?;
            let outcome = StepOutcome {
                pass: step.config.name.clone(),
                r#type: step.pass.name().to_owned(),
                cached: false,
                seconds: made.manifest.seconds,
                bytes: artefact.manifest.bytes(),
                path: artefact.output.clone(),
                key: key.key.clone(),
            };
            report(&outcome, execution);
            model = model.made_into(artefact.manifest.output, artefact.output);
        }
        // It only takes up space.
        let _ = std::fs::remove_dir_all(&folder);
        Ok(model)
    }

    async fn download(
        &self,
        connection: &Connection,
        container: &Container,
        path: &str,
        target: &Path,
    ) -> Result<()> {
        let events = self.execution.events;
        let begun = std::sync::Once::new();
        let phase = "download";
        let progress = |Moved { done, total }: Moved| {
            begun.call_once(|| {
                events.emit(Event::PhaseStarted {
                    phase: phase.into(),
                    total: Some(total),
                    unit: Unit::Bytes,
                });
            });
            events.emit(Event::PhaseProgress { done });
        };
        let target: PathBuf = target.to_owned();
        let get = async || download_folder(container, path, &target, &progress).await;
        let client = connection.workspace.client();
        let got = client.repeated(connection.repetition, get).await.map_err(SystemError::from);
        if begun.is_completed() {
            events.emit(Event::PhaseFinished { phase: phase.into() });
        }
        Ok(got.map(drop)?)
    }
}
