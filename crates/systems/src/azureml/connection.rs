//! A workspace, as the configuration names it.

use super::AzureMlSettings;
use crate::SystemError;
use olive_azureml::blob::Container;
use olive_azureml::http::{Client, ClientOptions};
use olive_azureml::repetition::Repetition;
use olive_azureml::uri::AssetUri;
use olive_azureml::workspace::{Datastore, Workspace, WorkspaceClient};
use olive_config::AzureMlClient;
use olive_core::Result;
use serde_json::json;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// A client of the workspace, and how often its operations are done again.
pub(super) struct Connection {
    /// Its requests end when the run is interrupted.
    pub(super) workspace: WorkspaceClient,
    /// Its requests do not.
    pub(super) patient: WorkspaceClient,
    pub(super) repetition: Repetition,
}

impl Connection {
    /// Nothing is sent yet, but where variables name the address of a cloud that describes itself.
    pub(super) async fn open(
        client: &AzureMlClient,
        settings: &AzureMlSettings,
        stop: CancellationToken,
    ) -> Result<Connection> {
        let settings = &settings.in_its_cloud().await?;
        let http = http(Some(client), settings).map_err(SystemError::from)?;
        let patient = WorkspaceClient::new(http, named(&client.workspace).map_err(SystemError::from)?);
        let stoppable = patient.client().with_cancel(stop);
        let workspace = WorkspaceClient::new(stoppable, patient.workspace().clone());
        Ok(Connection { workspace, patient, repetition: repetition(client) })
    }

    /// The container in which an address of the workspace lies, and the path there.
    pub(super) async fn stored(&self, address: &str) -> Result<(Container, String)> {
        let uri: AssetUri = address.parse().map_err(SystemError::from)?;
        let Some((datastore, path)) = uri.stored() else {
            let (what, value) = ("the place of a result", address.to_owned());
            let expected = "expected one in a datastore";
            return Err(SystemError::from(olive_azureml::Error::Invalid { what, value, expected }).into());
        };
        let (_, container) = self.store(datastore).await?;
        Ok((container, path.to_owned()))
    }

    /// The datastore of this name.
    pub(super) async fn store(&self, name: &str) -> Result<(Datastore, Container)> {
        let store = self.workspace.datastore(name).await.map_err(SystemError::from)?;
        let container = Container::of_datastore(&self.workspace, &store).map_err(SystemError::from)?;
        Ok((store, container))
    }
}

/// How often operations are done again.
pub(super) fn repetition(client: &AzureMlClient) -> Repetition {
    Repetition {
        retries: u32::try_from(client.max_operation_retries).unwrap_or(u32::MAX),
        interval: Duration::from_secs(client.operation_retry_interval),
    }
}

/// A client with the credentials that the configuration has options for, if it has any.
///
/// # Errors
/// A variable that Azure would not take.
pub(super) fn http(
    client: Option<&AzureMlClient>,
    settings: &AzureMlSettings,
) -> olive_azureml::Result<Client> {
    let options = ClientOptions { plain_http: settings.plain_http, ..ClientOptions::default() };
    let Some(client) = client else { return Client::new(&settings.variables, options) };
    let given = &client.credentials;
    let credentials = json!({
        "exclude_environment_credential": given.exclude_environment_credential,
        "exclude_workload_identity_credential": given.exclude_workload_identity_credential,
        "exclude_managed_identity_credential": given.exclude_managed_identity_credential,
        "exclude_cli_credential": given.exclude_cli_credential,
        "exclude_developer_cli_credential": given.exclude_developer_cli_credential,
        "managed_identity_client_id": given.managed_identity_client_id,
        "workload_identity_client_id": given.workload_identity_client_id,
        "authority": given.authority,
        "process_timeout": given.process_timeout,
    });
    let credentials = serde_json::from_value(credentials).expect("the client knows these options");
    let read_timeout = Duration::from_secs(client.read_timeout);
    Client::new(&settings.variables, ClientOptions { read_timeout, credentials, ..options })
}

/// The workspace of these names, as the client has it.
///
/// # Errors
/// A name that Azure would not take.
pub(super) fn named(names: &olive_config::Workspace) -> olive_azureml::Result<Workspace> {
    Workspace::new(&names.subscription_id, &names.resource_group, &names.workspace_name)
}
