//! Models and data in Azure ML come to this machine, for passes that run here.

use super::AzureMlSettings;
use super::connection::{http, named, repetition};
use super::stoppable::Requests;
use super::transfer::transfer;
use crate::SystemError;
use olive_azureml::cloud_metadata::with_described_cloud;
use olive_azureml::download::{Contents, PathKind};
use olive_azureml::http::Client;
use olive_azureml::locate::Location;
use olive_azureml::repetition::Repetition;
use olive_azureml::transfer::Progress;
use olive_azureml::workspace::WorkspaceClient;
use olive_config::{AzureMlPlace, AzureMlResource};
use olive_core::cancel::CancelFlag;
use olive_core::event::EventSink;
use olive_core::{InnerPath, Result};
use olive_engine::ResourceReader;
use olive_engine::cache::{Download, Store};
use std::path::PathBuf;
use tokio_util::sync::CancellationToken;

/// Reads datastores, models, registries and outputs of jobs.
#[derive(Debug)]
pub struct AzureMlResources {
    settings: AzureMlSettings,
}

impl AzureMlResources {
    pub fn new(settings: AzureMlSettings) -> AzureMlResources {
        AzureMlResources { settings }
    }
}

impl ResourceReader for AzureMlResources {
    fn bring(
        &self,
        resource: &AzureMlResource,
        store: &Store,
        cancel: &CancelFlag,
        events: &dyn EventSink,
    ) -> Result<PathBuf> {
        let requests = Requests::new()?;
        let found = requests.run(cancel, async || {
            let found = Found::find(resource, &self.settings, requests.stop()).await;
            found.map_err(|source| SystemError::Resource { address: resource.to_string(), source }.into())
        })?;
        let Found { client, repetition, location, contents } = &found;
        for name in contents.names() {
            InnerPath::parse(name).map_err(|source| SystemError::Name { source })?;
        }
        let (address, state) = (resource.to_string(), contents.state());
        let file = contents.names().next().filter(|_| contents.kind == PathKind::File);
        let wanted = Download { address: &address, state: &state, file };
        store.get_or_download(&wanted, cancel, events, |folder| {
            let first = Some(format!("bringing {address} here"));
            requests.run(cancel, async || {
                let download = async |progress: Progress<'_>| {
                    contents.download(&location.container, folder, progress).await
                };
                transfer(client, *repetition, events, "download", first, download).await.map(drop)
            })
        })
    }
}

/// What there is at an address, and how it is read.
struct Found {
    client: Client,
    repetition: Repetition,
    location: Location,
    contents: Contents,
}

impl Found {
    async fn find(
        resource: &AzureMlResource,
        settings: &AzureMlSettings,
        stop: CancellationToken,
    ) -> olive_azureml::Result<Found> {
        let variables = with_described_cloud(&settings.variables, settings.plain_http).await?;
        let settings = AzureMlSettings { variables, ..settings.clone() };
        let client = http(resource.client.as_ref(), &settings)?.with_cancel(stop);
        let repetition = resource.client.as_ref().map(repetition).unwrap_or_default();
        let look = async || {
            let location = locate(&client, resource).await?;
            let contents = Contents::find(&location.container, &location.path).await?;
            Ok((location, contents))
        };
        let (location, contents) = client.repeated(repetition, look).await?;
        Ok(Found { client, repetition, location, contents })
    }
}

async fn locate(client: &Client, resource: &AzureMlResource) -> olive_azureml::Result<Location> {
    let AzureMlResource { client: workspace, place } = resource;
    match (place, workspace) {
        (AzureMlPlace::RegistryModel { registry, name, version }, _) => {
            client.locate_in_registry(registry, name, version).await
        }
        (place, Some(names)) => {
            let workspace = WorkspaceClient::new(client.clone(), named(&names.workspace)?);
            workspace.locate(&format!("azureml://{place}").parse()?).await
        }
        (place, None) => Err(olive_azureml::Error::Invalid {
            what: "the address",
            value: format!("azureml://{place}"),
            expected: "expected one of a workspace",
        }),
    }
}
