//! Datastores: named places of storage accounts, and how to get in.

use super::client::WorkspaceClient;
use super::resource::checked;
use crate::error::{Error, Result};
use crate::secret::Secret;
use reqwest::Url;
use serde::{Deserialize, Serialize};

/// A named container of a storage account.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "Resource")]
pub struct Datastore {
    pub name: String,
    pub kind: DatastoreKind,
    pub account: String,
    /// The container, file system or share.
    pub container: String,
    /// `https`
    protocol: String,
    /// What the account's host name ends with, `core.windows.net`.
    endpoint: Option<String>,
    has_credentials: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub enum DatastoreKind {
    #[serde(rename = "AzureBlob")]
    Blob,
    /// Its files are blobs as well, of the same account and under the same names.
    #[serde(rename = "AzureDataLakeGen2")]
    DataLake,
    #[serde(rename = "AzureFile")]
    File,
    #[default]
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Resource {
    name: String,
    properties: Properties,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Properties {
    #[serde(default)]
    datastore_type: DatastoreKind,
    #[serde(default)]
    account_name: String,
    container_name: Option<String>,
    filesystem: Option<String>,
    file_share_name: Option<String>,
    protocol: Option<String>,
    endpoint: Option<String>,
    credentials: Option<Credentials>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Credentials {
    credentials_type: String,
}

impl From<Resource> for Datastore {
    fn from(Resource { name, properties }: Resource) -> Datastore {
        let container = properties.container_name.or(properties.filesystem).or(properties.file_share_name);
        Datastore {
            name,
            kind: properties.datastore_type,
            account: properties.account_name,
            container: container.unwrap_or_default(),
            protocol: properties.protocol.unwrap_or_else(|| "https".into()),
            endpoint: properties.endpoint,
            has_credentials: properties.credentials.is_some_and(|known| known.credentials_type != "None"),
        }
    }
}

/// How requests to a storage account prove their right.
#[derive(Debug, Clone)]
pub enum StoreAccess {
    /// A signature for the container, without `?`.
    Sas(Secret),
    /// The account's key, in base64.
    Key(Secret),
    /// A token of the user's, of the scope for storage.
    Token,
    /// Nothing: everybody may read.
    Public,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SecretsRequest {
    expirable_secret: bool,
    /// In hours.
    expire_after_hours: u32,
}

#[derive(Deserialize)]
#[serde(tag = "secretsType")]
enum StoreSecrets {
    #[serde(rename_all = "camelCase")]
    Sas {
        sas_token: Option<Secret>,
    },
    AccountKey {
        key: Option<Secret>,
    },
    #[serde(other)]
    Other,
}

impl WorkspaceClient {
    /// The datastore that uploads go to.
    ///
    /// # Errors
    /// The workspace has none, or may not be seen.
    pub async fn default_datastore(&self) -> Result<Datastore> {
        let list = self
            .arm("/datastores")
            .query("isDefault", "true")
            .query("count", "30")
            .query("orderByAsc", "false");
        let found: Vec<Datastore> = self.client().pages(&list).await?;
        found.into_iter().next().ok_or_else(|| Error::Invalid {
            what: "the workspace",
            value: self.workspace().to_string(),
            expected: "expected one with a default datastore",
        })
    }

    /// # Errors
    /// There is no such datastore, or it may not be seen.
    pub async fn datastore(&self, name: &str) -> Result<Datastore> {
        let call = self.arm(&format!("/datastores/{}", checked("the datastore", name)?));
        self.existing(&call, &format!("datastore `{name}`")).await
    }

    /// How to get into a datastore: with the secret that the workspace has for it, or, where there is none or the user may
    /// not see it, with the user's own token.
    ///
    /// # Errors
    /// The service does not answer.
    pub async fn store_access(&self, store: &Datastore) -> Result<StoreAccess> {
        if !store.has_credentials {
            return Ok(StoreAccess::Token);
        }
        let call = self.arm(&format!("/datastores/{}/listSecrets", checked("the datastore", &store.name)?));
        let request = SecretsRequest { expirable_secret: true, expire_after_hours: 1 };
        let secrets: StoreSecrets = match self.client().post(&call, &request).await {
            Ok(secrets) => secrets,
            Err(Error::Service(refusal)) if matches!(refusal.status, 401 | 403) => {
                tracing::debug!(store = store.name, %refusal, "the user's own token is used for the datastore");
                return Ok(StoreAccess::Token);
            }
            Err(error) => return Err(error),
        };
        Ok(match secrets {
            StoreSecrets::Sas { sas_token: Some(token) } => {
                StoreAccess::Sas(Secret::new(token.expose().trim_start_matches('?')))
            }
            StoreSecrets::AccountKey { key: Some(key) } => StoreAccess::Key(key),
            _ => StoreAccess::Token,
        })
    }

    /// The address of the account's blobs.
    ///
    /// # Errors
    /// What the datastore says makes no address.
    pub fn blob_account(&self, store: &Datastore) -> Result<Url> {
        self.client().endpoints().blobs(&store.account, &store.protocol, store.endpoint.as_deref())
    }
}
