//! The workspace itself, and where its data plane is.

use super::name::Workspace;
use crate::cloud::Scope;
use crate::error::{Error, Result};
use crate::http::{Call, Client};
use crate::safe_url::SafeUrl;
use reqwest::{Method, Request, Url};
use serde::Deserialize;
use std::sync::Arc;
use tokio::sync::OnceCell;

/// Calls to one workspace. Cheap to clone.
#[derive(Debug, Clone)]
pub struct WorkspaceClient {
    client: Client,
    workspace: Arc<Workspace>,
    facts: Arc<OnceCell<WorkspaceFacts>>,
    data_plane: Arc<OnceCell<Url>>,
}

/// What a workspace says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "Resource")]
pub struct WorkspaceFacts {
    /// The path of its address.
    pub id: String,
    pub location: String,
    /// The id that names of containers are made of.
    pub workspace_id: String,
    /// The id of its storage account.
    pub storage_account: Option<String>,
    /// The id of its key vault.
    pub key_vault: Option<String>,
    discovery_url: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Resource {
    id: String,
    #[serde(default)]
    location: String,
    properties: Properties,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Properties {
    #[serde(default)]
    workspace_id: String,
    storage_account: Option<String>,
    key_vault: Option<String>,
    discovery_url: String,
}

impl From<Resource> for WorkspaceFacts {
    fn from(resource: Resource) -> WorkspaceFacts {
        let Properties { workspace_id, storage_account, key_vault, discovery_url } = resource.properties;
        let Resource { id, location, .. } = resource;
        WorkspaceFacts { id, location, workspace_id, storage_account, key_vault, discovery_url }
    }
}

impl WorkspaceClient {
    pub fn new(client: Client, workspace: Workspace) -> WorkspaceClient {
        WorkspaceClient {
            client,
            workspace: Arc::new(workspace),
            facts: Arc::default(),
            data_plane: Arc::default(),
        }
    }

    pub fn client(&self) -> &Client {
        &self.client
    }

    pub fn workspace(&self) -> &Workspace {
        &self.workspace
    }

    /// A path of the control plane below the workspace, `/jobs/…`.
    pub fn arm(&self, rest: &str) -> Call {
        Call::arm(format!("{}{rest}", self.workspace.path()))
    }

    /// A path of one of the data plane's services below the workspace: `history/v1.0`, `/runs/…`.
    ///
    /// # Errors
    /// The workspace does not say where its data plane is.
    pub async fn data_plane(&self, service: &str, rest: &str) -> Result<Call> {
        let base = self.data_plane_address().await?;
        Ok(Call::data_plane(base, format!("/{service}{}{rest}", self.workspace.path())))
    }

    /// What the workspace says of itself. It is asked once.
    ///
    /// # Errors
    /// There is no such workspace, or it may not be seen.
    pub async fn facts(&self) -> Result<&WorkspaceFacts> {
        let ask = || async {
            let missing = || format!("workspace {}", self.workspace);
            self.client.get(&self.arm("")).await.map_err(|error: Error| error.for_missing(missing))
        };
        self.facts.get_or_try_init(ask).await
    }

    /// The address of the data plane, which service discovery gives. It is asked once.
    async fn data_plane_address(&self) -> Result<&Url> {
        #[derive(Deserialize)]
        struct Services {
            api: String,
        }
        let discover = || async {
            let text = &self.facts().await?.discovery_url;
            let odd =
                |text: &str, what: &str| Error::Protocol { url: SafeUrl::parse(text), what: what.into() };
            let url = Url::parse(text).map_err(|_| odd(text, "`discoveryUrl` is no address"))?;
            // No token is needed, but the answer says where tokens go: it must come from where they may go.
            self.client.endpoints().trust(&url, Scope::Arm)?;
            let answer = self.client.transport().send(Request::new(Method::GET, url)).await?.accepted()?;
            let Services { api } = answer.json()?;
            let base =
                Url::parse(&api).map_err(|_| odd(&api, "`api` of the service discovery is no address"))?;
            self.client.endpoints().trust(&base, Scope::Arm)?;
            Ok(base)
        };
        self.data_plane.get_or_try_init(discover).await
    }
}
