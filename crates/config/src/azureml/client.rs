//! `azureml_client`: which workspace, and how it is reached.

use super::names::AzureName;
use crate::option::{BOOL, Block, Kind, TEXT, at_least};
use crate::options;
use serde::Serialize;
use std::path::PathBuf;

/// A workspace of AzureML. Azure does not tell upper case from lower case in these names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Workspace {
    /// A UUID.
    pub subscription_id: String,
    pub resource_group: String,
    pub workspace_name: String,
}

impl Workspace {
    /// The names that it is made of, by the options that give them.
    pub(crate) fn names(&self) -> [(&'static str, AzureName, &str); 3] {
        [
            ("subscription_id", AzureName::Subscription, &self.subscription_id),
            ("resource_group", AzureName::ResourceGroup, &self.resource_group),
            ("workspace_name", AzureName::Workspace, &self.workspace_name),
        ]
    }

    /// Whether both are names of one workspace.
    pub fn is(&self, other: &Workspace) -> bool {
        let names = |it: &Workspace| {
            [&it.subscription_id, &it.resource_group, &it.workspace_name].map(|name| name.to_lowercase())
        };
        names(self) == names(other)
    }
}

impl std::fmt::Display for Workspace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Workspace { subscription_id, resource_group, workspace_name } = self;
        write!(
            f,
            "subscription {subscription_id}, resource group {resource_group}, workspace {workspace_name}"
        )
    }
}

/// How a workspace is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AzureMlClient {
    pub workspace: Workspace,
    /// Seconds to wait for an answer.
    pub read_timeout: u64,
    pub max_operation_retries: u64,
    /// Seconds before the first retry; every further one waits twice as long.
    pub operation_retry_interval: u64,
    pub credentials: CredentialOptions,
    /// Key vault that holds the secret `hf-token`.
    pub keyvault_name: Option<String>,
}

options! {
    /// `azureml_client`, as written.
    pub struct AzureMlClientOptions {
        CLIENT {
            /// The Azure subscription, a UUID.
            pub subscription_id: Option<String>;
            /// The resource group of the workspace.
            pub resource_group: Option<String>;
            /// The AzureML workspace.
            pub workspace_name: Option<String>;
            /// JSON file with those three, which is used instead of them; the portal offers it for download.
            pub aml_config_path: Option<PathBuf>;
            /// Seconds to wait for an answer.
            pub read_timeout: u64 = at_least(1), default("60");
            /// How often an operation is tried.
            pub max_operation_retries: u64 = at_least(0), default("3");
            /// Seconds before the first retry; every further one waits twice as long.
            pub operation_retry_interval: u64 = at_least(0), default("5");
            /// Which of Azure's default credentials are tried, and how.
            - "default_auth_params" = Kind::Block(&DEFAULT_AUTH_PARAMS);
            /// Key vault that holds the secret `hf-token`, for jobs that log in to the Hugging Face Hub.
            pub keyvault_name: Option<String>;
        }
    }
}

impl AzureMlClientOptions {
    /// The workspace that stands in the block itself, if all of its names do.
    pub(crate) fn workspace(&self) -> Option<Workspace> {
        Some(Workspace {
            subscription_id: self.subscription_id.clone()?,
            resource_group: self.resource_group.clone()?,
            workspace_name: self.workspace_name.clone()?,
        })
    }

    pub(crate) fn client(self, workspace: Workspace, credentials: CredentialOptions) -> AzureMlClient {
        AzureMlClient {
            workspace,
            read_timeout: self.read_timeout,
            max_operation_retries: self.max_operation_retries,
            operation_retry_interval: self.operation_retry_interval,
            credentials,
            keyvault_name: self.keyvault_name,
        }
    }
}

pub(crate) static AZUREML_CLIENT: Block = Block {
    name: "azureml_client",
    doc: "An AzureML workspace. It counts for systems and resources that name no other; [azure.md](azure.md) says how it is used.",
    wrapper: None,
    outer: &[],
    parts: &[CLIENT],
    open: None,
};

options! {
    /// Arguments of Azure's `DefaultAzureCredential`: which credentials are tried, in its order.
    #[derive(Debug, Clone, PartialEq, Eq, Default)]
    pub struct CredentialOptions {
        CREDENTIALS {
            /// Leave out the service principal that `AZURE_CLIENT_ID` and its like name.
            pub exclude_environment_credential: bool, default("false");
            /// Leave out the workload identity of a Kubernetes pod.
            pub exclude_workload_identity_credential: bool, default("false");
            /// Leave out the managed identity of the machine.
            pub exclude_managed_identity_credential: bool, default("false");
            /// Leave out the login of the command `az`.
            pub exclude_cli_credential: bool, default("false");
            /// Leave out the login of the command `azd`.
            pub exclude_developer_cli_credential: bool, default("false");
            /// Client id of a managed identity of one's own.
            pub managed_identity_client_id: Option<String>;
            /// Client id of a workload identity.
            pub workload_identity_client_id: Option<String>;
            /// Tenant of a workload identity.
            pub workload_identity_tenant_id: Option<String>;
            /// Host that gives tokens, for clouds other than the public one.
            pub authority: Option<String>;
            /// Seconds that `az` and `azd` may take.
            pub process_timeout: u64 = at_least(1), default("10");
            /// Try only what the variable `AZURE_TOKEN_CREDENTIALS` names.
            pub require_envvar: bool, default("false");
            /// Leave out the browser.
            - "exclude_interactive_browser_credential" = BOOL,
                ignored_unless("true", "no browser is opened: log in with `az login`");
            /// Leave out PowerShell.
            - "exclude_powershell_credential" = BOOL, quiet();
            /// Leave out Visual Studio Code.
            - "exclude_visual_studio_code_credential" = BOOL, quiet();
            /// Leave out the token cache of Windows.
            - "exclude_shared_token_cache_credential" = BOOL, quiet();
            /// Leave out the account of Windows.
            - "exclude_broker_credential" = BOOL, quiet();
            /// For the browser.
            - "interactive_browser_tenant_id" = TEXT, quiet();
            /// For the browser.
            - "interactive_browser_client_id" = TEXT, quiet();
            /// For the account of Windows.
            - "broker_tenant_id" = TEXT, quiet();
            /// For the account of Windows.
            - "broker_client_id" = TEXT, quiet();
            /// For the token cache of Windows.
            - "shared_cache_username" = TEXT, quiet();
            /// For the token cache of Windows.
            - "shared_cache_tenant_id" = TEXT, quiet();
            /// For Visual Studio Code.
            - "visual_studio_code_tenant_id" = TEXT, quiet();
        }
    }
}

pub(crate) static DEFAULT_AUTH_PARAMS: Block = Block {
    name: "default_auth_params",
    doc: "Arguments of Azure's `DefaultAzureCredential`.",
    wrapper: None,
    outer: &[],
    parts: &[CREDENTIALS],
    open: None,
};
