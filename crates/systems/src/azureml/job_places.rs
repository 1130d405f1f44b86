//! Where jobs are looked for: in workspaces, or among those that runs sent.

use super::job_name::{PREFIX, TAG};
use super::job_note::JobNote;
use crate::SystemError;
use olive_azureml::jobs::Job;
use olive_config::{AzureMlClient, Workspace, client_of};
use olive_core::{Result, shown};
use olive_engine::RunConfig;
use olive_engine::record::JobNotes;
use std::path::Path;

/// Workspaces, and which of their jobs are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobPlaces {
    pub(super) places: Vec<JobPlace>,
    /// Completes "there is no such job in …".
    pub(super) what: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct JobPlace {
    pub(super) client: AzureMlClient,
    pub(super) which: Which,
}

/// Jobs of a workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Which {
    /// All; of passes are those with the tag or the name that this program gives.
    All,
    /// Those that runs sent, newest first.
    Noted(Vec<String>),
}

impl JobPlaces {
    /// The workspaces of the systems that run passes; without such systems, that of `azureml_client`.
    ///
    /// # Errors
    /// [`SystemError::NoWorkspace`]
    pub fn of_configuration(config: &RunConfig) -> Result<JobPlaces> {
        let mut clients: Vec<&AzureMlClient> = Vec::new();
        for client in config.systems.values().filter_map(|system| Some(&system.azure_ml.as_ref()?.client)) {
            if !clients.iter().any(|known| known.workspace.is(&client.workspace)) {
                clients.push(client);
            }
        }
        if clients.is_empty() {
            clients.extend(&config.azureml_client);
        }
        if clients.is_empty() {
            return Err(SystemError::NoWorkspace { path: config.path.clone() }.into());
        }
        let place = |client: &AzureMlClient| JobPlace { client: client.clone(), which: Which::All };
        let names: Vec<String> = clients.iter().map(|client| client.workspace.to_string()).collect();
        Ok(JobPlaces { places: clients.into_iter().map(place).collect(), what: names.join("; ") })
    }

    /// The workspace of the form `SUBSCRIPTION/GROUP/NAME`.
    ///
    /// # Errors
    /// [`SystemError::WorkspaceName`]
    pub fn of_workspace(text: &str) -> Result<JobPlaces> {
        let parts: Vec<&str> = text.split('/').collect();
        let [subscription_id, resource_group, workspace_name] = parts.as_slice() else {
            return Err(SystemError::WorkspaceName { text: text.to_owned() }.into());
        };
        let workspace = Workspace {
            subscription_id: (*subscription_id).to_owned(),
            resource_group: (*resource_group).to_owned(),
            workspace_name: (*workspace_name).to_owned(),
        };
        let what = workspace.to_string();
        Ok(JobPlaces { places: vec![JobPlace { client: client_of(workspace), which: Which::All }], what })
    }

    /// The jobs that the runs of an output folder sent.
    pub fn of_output(dir: &Path) -> JobPlaces {
        let mut places: Vec<JobPlace> = Vec::new();
        for note in JobNotes::list(dir) {
            let Ok(note) = serde_json::from_value::<JobNote>(note) else { continue };
            let Some(client) = note.client() else { continue };
            let known = places.iter_mut().find(|place| place.client.workspace.is(&client.workspace));
            match known {
                Some(JobPlace { which: Which::Noted(names), .. }) if !names.contains(&note.job) => {
                    names.push(note.job);
                }
                Some(_) => {}
                None => places.push(JobPlace { client, which: Which::Noted(vec![note.job]) }),
            }
        }
        JobPlaces { places, what: format!("the records of runs in `{}`", shown(dir)) }
    }
}

/// Whether the job looks like one that this program sent.
pub(super) fn is_of_passes(job: &Job) -> bool {
    job.tags.contains_key(TAG) || job.name.starts_with(PREFIX)
}
