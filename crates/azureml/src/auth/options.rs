//! Which sources of tokens are asked, and how: the arguments of `DefaultAzureCredential`.

use serde::Deserialize;
use std::time::Duration;

/// The arguments, under the names that configurations have for them. Others are errors that name them.
///
/// Sources that only Python's SDK has (editors, brokers, a browser) can be excluded, to no effect.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CredentialOptions {
    pub exclude_environment_credential: bool,
    pub exclude_workload_identity_credential: bool,
    pub exclude_managed_identity_credential: bool,
    pub exclude_cli_credential: bool,
    pub exclude_developer_cli_credential: bool,
    exclude_visual_studio_code_credential: bool,
    exclude_shared_token_cache_credential: bool,
    exclude_powershell_credential: bool,
    exclude_interactive_browser_credential: bool,
    exclude_broker_credential: bool,
    pub managed_identity_client_id: Option<String>,
    pub workload_identity_client_id: Option<String>,
    /// The host that tokens come from, before `AZURE_AUTHORITY_HOST`.
    pub authority: Option<String>,
    /// How long a command may take, in seconds.
    process_timeout: Option<f64>,
}

impl CredentialOptions {
    const PROCESS_TIMEOUT: Duration = Duration::from_secs(10);

    /// How long a command that gives tokens may take.
    pub fn process_timeout(&self) -> Duration {
        let seconds = self.process_timeout.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        seconds.unwrap_or(CredentialOptions::PROCESS_TIMEOUT)
    }
}
