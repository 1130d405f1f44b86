//! Models of registries, which belong to no workspace: discovery tells where a registry's control plane is, that where a model
//! lies, and each time it is asked it gives the right to read it for a while.
//!
//! Source: `_utils/_registry_utils.py` of azure-ai-ml 1.35.2.

use crate::blob::{AccessSource, Container};
use crate::error::{Error, Result};
use crate::http::{Call, Client};
use crate::locate::Location;
use crate::safe_url::SafeUrl;
use crate::secret::Secret;
use crate::workspace::{Model, StoreAccess, checked};
use async_trait::async_trait;
use reqwest::Url;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

const DISCOVERY_VERSION: &str = "v1.0";
const VERSION: &str = "2021-10-01-dataplanepreview";
/// Where a region has the control plane of its registries.
const CONTROL_PLANE: &str = "mferp/managementfrontend";

/// Where a registry is, as discovery tells it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Registry {
    primary_region_resource_provider_uri: String,
    subscription_id: String,
    resource_group: String,
}

#[derive(Deserialize)]
struct Resource {
    properties: Model,
}

/// A version of a model of a registry.
#[derive(Debug, Clone)]
struct RegistryModel {
    client: Client,
    base: Url,
    /// The registry's path on its control plane.
    path: String,
    registry: String,
    name: String,
    version: String,
}

/// Asks for the right to read a model.
#[derive(Debug)]
struct ModelAccess {
    model: RegistryModel,
    blob_uri: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ReferenceRequest<'a> {
    asset_id: String,
    blob_uri: &'a str,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReferenceAnswer {
    blob_reference_for_consumption: Reference,
}

#[derive(Deserialize)]
struct Reference {
    credential: Credential,
}

#[derive(Deserialize)]
#[serde(tag = "credentialType")]
enum Credential {
    #[serde(rename = "SAS", rename_all = "camelCase")]
    Sas {
        sas_uri: Secret,
    },
    NoCredentials,
    #[serde(other)]
    Other,
}

impl Client {
    /// Finds the files of a model of a registry.
    ///
    /// # Errors
    /// There is no such registry or model, it may not be seen, or its files are not where blobs are.
    pub async fn locate_in_registry(&self, registry: &str, name: &str, version: &str) -> Result<Location> {
        let model = RegistryModel::find(self, registry, name, version).await?;
        let missing = || format!("model `{name}` of version `{version}` in the registry `{registry}`");
        let found = self.get::<Resource>(&model.call("models")).await;
        let blob_uri = found.map_err(|error| error.for_missing(missing))?.properties.model_uri;
        let odd = || Error::Protocol { url: SafeUrl::parse(&blob_uri), what: "no address of a blob".into() };
        let url = Url::parse(&blob_uri).map_err(|_| odd())?;
        let (container, path) = self.endpoints().container_of(&url).ok_or_else(odd)?;
        let source = Arc::new(ModelAccess { model, blob_uri });
        Ok(Location { container: Container::at(self, container.as_str(), source)?, path })
    }
}

impl RegistryModel {
    async fn find(client: &Client, registry: &str, name: &str, version: &str) -> Result<RegistryModel> {
        let registry = checked("the registry", registry)?;
        let path = format!("/registrymanagement/{DISCOVERY_VERSION}/registries/{registry}/discovery");
        let call = Call::data_plane(client.endpoints().registry_discovery(), path);
        let found = client.get::<Registry>(&call.query("api-version", DISCOVERY_VERSION)).await;
        let missing = || format!("registry `{registry}`");
        let place = found.map_err(|error| error.for_missing(missing))?;
        let text = &place.primary_region_resource_provider_uri;
        let base = Url::parse(text).map_err(|_| Error::Protocol {
            url: SafeUrl::parse(text),
            what: "`primaryRegionResourceProviderUri` is no address".into(),
        })?;
        let path = format!(
            "/{CONTROL_PLANE}/subscriptions/{}/resourceGroups/{}/providers/Microsoft.MachineLearningServices/registries/\
             {registry}",
            place.subscription_id, place.resource_group
        );
        Ok(RegistryModel {
            client: client.clone(),
            base,
            path,
            registry: registry.to_owned(),
            name: checked("the model", name)?.to_owned(),
            version: checked("the version of the model", version)?.to_owned(),
        })
    }

    /// `models`, or what else the control plane has of the same name and version.
    fn call(&self, kind: &str) -> Call {
        let RegistryModel { base, path, name, version, .. } = self;
        Call::data_plane(base, format!("{path}/{kind}/{name}/versions/{version}"))
            .query("api-version", VERSION)
    }
}

#[async_trait]
impl AccessSource for ModelAccess {
    async fn access(&self) -> Result<StoreAccess> {
        let RegistryModel { client, registry, name, version, .. } = &self.model;
        let asset_id = format!("azureml://registries/{registry}/models/{name}/versions/{version}");
        let request = ReferenceRequest { asset_id, blob_uri: &self.blob_uri };
        let answer: ReferenceAnswer = client.post(&self.model.call("datarefs"), &request).await?;
        match answer.blob_reference_for_consumption.credential {
            Credential::Sas { sas_uri } => {
                let query = sas_uri.expose().split_once('?').map_or("", |(_, query)| query);
                Ok(StoreAccess::Sas(Secret::new(query)))
            }
            Credential::NoCredentials => Ok(StoreAccess::Public),
            Credential::Other => Err(Error::Protocol {
                url: SafeUrl::parse(&self.blob_uri),
                what: "the registry gives another right to read it than a signature".into(),
            }),
        }
    }
}
