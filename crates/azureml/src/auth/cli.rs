//! Tokens of the people who develop: `az` and `azd`, where they signed in.

use super::claims::Claims;
use super::expiry;
use super::options::CredentialOptions;
use super::source::{AccessToken, Credential, Refusal, TokenRequest};
use crate::cloud::Endpoints;
use crate::environment::Environment;
use crate::secret::{Secret, redacted};
use async_trait::async_trait;
use serde::Deserialize;
use serde_json::Value;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::process::Command;

/// `az account get-access-token`
#[derive(Debug)]
pub struct AzureCli {
    program: Program,
    endpoints: Arc<Endpoints>,
}

/// `azd auth token`
#[derive(Debug)]
pub struct AzureDeveloperCli {
    program: Program,
    endpoints: Arc<Endpoints>,
}

impl AzureCli {
    pub fn new(
        environment: &Environment,
        options: &CredentialOptions,
        endpoints: Arc<Endpoints>,
    ) -> AzureCli {
        AzureCli { program: Program::new("az", environment, options), endpoints }
    }
}

impl AzureDeveloperCli {
    pub fn new(
        environment: &Environment,
        options: &CredentialOptions,
        endpoints: Arc<Endpoints>,
    ) -> AzureDeveloperCli {
        AzureDeveloperCli { program: Program::new("azd", environment, options), endpoints }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AzToken {
    access_token: Secret,
    #[serde(rename = "expires_on")]
    seconds: Option<Value>,
    /// Without a zone: older versions have nothing else.
    expires_on: Option<Value>,
}

#[async_trait]
impl Credential for AzureCli {
    fn name(&self) -> &'static str {
        "AzureCliCredential"
    }

    async fn token(&self, request: &TokenRequest) -> Result<AccessToken, Refusal> {
        let resource = self.endpoints.resource(request.scope);
        let mut arguments = vec!["account", "get-access-token", "--output", "json", "--resource", &resource];
        if let Some(tenant) = &request.tenant {
            arguments.extend(["--tenant", tenant]);
        }
        let token: AzToken = self.program.json(&arguments).await?;
        let end = token
            .seconds
            .and_then(|value| expiry::instant(&value))
            .or_else(|| expiry::local_instant(token.expires_on.as_ref()?));
        self.program.access_token(token.access_token, end)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AzdToken {
    token: Secret,
    expires_on: Option<Value>,
}

#[async_trait]
impl Credential for AzureDeveloperCli {
    fn name(&self) -> &'static str {
        "AzureDeveloperCliCredential"
    }

    async fn token(&self, request: &TokenRequest) -> Result<AccessToken, Refusal> {
        let scope = format!("{}/.default", self.endpoints.resource(request.scope));
        let mut arguments = vec!["auth", "token", "--output", "json", "--no-prompt", "--scope", &scope];
        if let Some(tenant) = &request.tenant {
            arguments.extend(["--tenant-id", tenant]);
        }
        let token: AzdToken = self.program.json(&arguments).await?;
        let end = token.expires_on.and_then(|value| expiry::instant(&value));
        self.program.access_token(token.token, end)
    }
}

/// A command that may be on the search path.
#[derive(Debug)]
struct Program {
    name: &'static str,
    path: Option<PathBuf>,
    timeout: Duration,
}

impl Program {
    fn new(name: &'static str, environment: &Environment, options: &CredentialOptions) -> Program {
        let endings: &[&str] = if cfg!(windows) { &[".exe", ".cmd"] } else { &[""] };
        let folders: Vec<PathBuf> =
            environment.get("PATH").map(|path| std::env::split_paths(path).collect()).unwrap_or_default();
        let path = folders
            .iter()
            // A relative folder would be one of whatever folder this runs in.
            .filter(|folder| folder.is_absolute())
            .flat_map(|folder| endings.iter().map(move |ending| folder.join(format!("{name}{ending}"))))
            .find(|path| path.is_file());
        Program { name, path, timeout: options.process_timeout() }
    }

    /// What the command prints. Whatever goes wrong, the next source is asked: the command is there for other things, too.
    async fn json<T: serde::de::DeserializeOwned>(&self, arguments: &[&str]) -> Result<T, Refusal> {
        let name = self.name;
        let unavailable = |why: String| Refusal::Unavailable(why);
        let path = self.path.as_ref().ok_or_else(|| unavailable(format!("`{name}` is not on the PATH")))?;
        let mut command = Command::new(path);
        command.args(arguments).stdin(Stdio::null()).env("AZURE_CORE_NO_COLOR", "true").kill_on_drop(true);
        let output = match tokio::time::timeout(self.timeout, command.output()).await {
            Err(_) => {
                return Err(unavailable(format!(
                    "`{name}` did not answer within {} s",
                    self.timeout.as_secs_f64()
                )));
            }
            Ok(Err(error)) => return Err(unavailable(format!("`{name}` cannot be run: {error}"))),
            Ok(Ok(output)) => output,
        };
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let said = redacted(said.trim()).lines().next().unwrap_or_default().to_owned();
            return Err(unavailable(format!("`{name}` failed: {said}")));
        }
        // The parser's message might show the token.
        serde_json::from_slice(&output.stdout)
            .map_err(|_| unavailable(format!("`{name}` printed no JSON with a token")))
    }

    fn access_token(&self, secret: Secret, end: Option<SystemTime>) -> Result<AccessToken, Refusal> {
        let end = end.or_else(|| Claims::of(&secret)?.expires_on());
        let expires_on = end.ok_or_else(|| {
            Refusal::Unavailable(format!("`{}` does not say when the token ends", self.name))
        })?;
        Ok(AccessToken { secret, expires_on })
    }
}
