//! The workspace of a system, as the configuration names it.

use super::AzureMlSettings;
use crate::SystemError;
use olive_azureml::auth::CredentialOptions;
use olive_azureml::blob::Container;
use olive_azureml::http::{Client, ClientOptions};
use olive_azureml::repetition::Repetition;
use olive_azureml::workspace::{Datastore, Workspace, WorkspaceClient};
use olive_config::{AzureMlClient, AzureMlSystem};
use olive_core::Result;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// A client of the workspace, and how often its operations are done again.
pub(super) struct Connection {
    pub(super) workspace: WorkspaceClient,
    pub(super) repetition: Repetition,
    datastore: String,
}

impl Connection {
    /// Nothing is sent yet.
    pub(super) fn open(
        system: &AzureMlSystem,
        settings: &AzureMlSettings,
        stop: CancellationToken,
    ) -> Result<Connection> {
        let workspace = workspace(&system.client, settings, stop)?;
        let repetition = Repetition {
            retries: u32::try_from(system.client.max_operation_retries).unwrap_or(u32::MAX),
            interval: Duration::from_secs(system.client.operation_retry_interval),
        };
        Ok(Connection { workspace, repetition, datastore: system.datastore.clone() })
    }

    /// The datastore that takes what jobs are given and what they make.
    pub(super) async fn store(&self) -> Result<(Datastore, Container)> {
        let store = self.workspace.datastore(&self.datastore).await.map_err(SystemError::from)?;
        let container = Container::of_datastore(&self.workspace, &store).map_err(SystemError::from)?;
        Ok((store, container))
    }
}

/// A client of a workspace whose requests end when `stop` is cancelled.
///
/// # Errors
/// A name or a variable that Azure would not take.
pub(super) fn workspace(
    client: &AzureMlClient,
    settings: &AzureMlSettings,
    stop: CancellationToken,
) -> Result<WorkspaceClient> {
    let given = &client.credentials;
    let credentials = CredentialOptions {
        exclude_environment_credential: given.exclude_environment_credential,
        exclude_workload_identity_credential: given.exclude_workload_identity_credential,
        exclude_managed_identity_credential: given.exclude_managed_identity_credential,
        exclude_cli_credential: given.exclude_cli_credential,
        exclude_developer_cli_credential: given.exclude_developer_cli_credential,
        managed_identity_client_id: given.managed_identity_client_id.clone(),
        workload_identity_client_id: given.workload_identity_client_id.clone(),
        authority: given.authority.clone(),
        ..CredentialOptions::default()
    }
    .with_process_timeout(Duration::from_secs(given.process_timeout));
    let options = ClientOptions {
        plain_http: settings.plain_http,
        read_timeout: Duration::from_secs(client.read_timeout),
        credentials,
        ..ClientOptions::default()
    };
    let http = Client::new(&settings.variables, options).map_err(SystemError::from)?;
    let names = &client.workspace;
    let workspace = Workspace::new(&names.subscription_id, &names.resource_group, &names.workspace_name)
        .map_err(SystemError::from)?;
    Ok(WorkspaceClient::new(http.with_cancel(stop), workspace))
}
