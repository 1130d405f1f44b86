//! Managed identities: of an Azure ML job, of App Service, of a server that Azure Arc manages, of a virtual machine.

use super::arc_server::ArcServer;
use super::endpoint;
use super::options::CredentialOptions;
use super::source::{AccessToken, Credential, Refusal, TokenRequest};
use crate::cloud::Endpoints;
use crate::environment::Environment;
use crate::error::Error;
use crate::retry::{Posts, RetryPolicy};
use crate::secret::Secret;
use crate::transport::{Answer, Transport};
use async_trait::async_trait;
use reqwest::Url;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;

/// The identity of the machine, from whatever service the machine has for it.
#[derive(Debug)]
pub struct ManagedIdentity {
    host: Result<Host, String>,
    client_id: Option<String>,
    endpoints: Arc<Endpoints>,
    transport: Transport,
}

#[derive(Debug)]
enum Host {
    /// `MSI_ENDPOINT` and `MSI_SECRET`, inside of an Azure ML job.
    Job { url: Url, secret: Secret },
    /// `IDENTITY_ENDPOINT` and `IDENTITY_HEADER`.
    AppService { url: Url, header: Secret },
    /// `IDENTITY_ENDPOINT` and `IMDS_ENDPOINT`.
    ArcServer(ArcServer),
    /// The metadata service of a virtual machine.
    VirtualMachine { url: Url },
}

const METADATA: &str = "http://169.254.169.254";
const METADATA_PATH: &str = "metadata/identity/oauth2/token";

/// Replaces the metadata service's address.
const METADATA_URL: &str = "AZURE_POD_IDENTITY_AUTHORITY_HOST";

/// A metadata service that is updated is away for up to 70 seconds, and says so with 410: five pauses of 3 seconds, doubled
/// each time, are longer.
const METADATA_POLICY: RetryPolicy = RetryPolicy {
    retries: 5,
    backoff: Duration::from_millis(800),
    longest: Duration::from_secs(120),
    also: &[(404, Duration::from_millis(800)), (410, Duration::from_secs(3))],
    posts: Posts::Once,
};

/// A machine without a metadata service is told by silence.
const PROBE: Duration = Duration::from_secs(1);

/// What token services say where the machine has no identity.
const NO_IDENTITY: u16 = 400;

impl ManagedIdentity {
    /// `machine` is a way to the services of the machine.
    pub fn new(
        environment: &Environment,
        options: &CredentialOptions,
        endpoints: Arc<Endpoints>,
        machine: &Transport,
    ) -> ManagedIdentity {
        let host = Host::of(environment);
        let own =
            options.managed_identity_client_id.as_deref().or_else(|| environment.get("AZURE_CLIENT_ID"));
        let of_job = || match host {
            Ok(Host::Job { .. }) => environment.get("DEFAULT_IDENTITY_CLIENT_ID"),
            _ => None,
        };
        let client_id = own.or_else(of_job).map(str::to_owned);
        ManagedIdentity { host, client_id, endpoints, transport: machine.clone() }
    }

    /// That of an Azure ML job only.
    pub fn of_job(
        environment: &Environment,
        options: &CredentialOptions,
        endpoints: Arc<Endpoints>,
        machine: &Transport,
    ) -> ManagedIdentity {
        let mut identity = ManagedIdentity::new(environment, options, endpoints, machine);
        if !matches!(identity.host, Ok(Host::Job { .. })) {
            identity.host = Err("MSI_ENDPOINT, MSI_SECRET not set".into());
        }
        identity
    }

    async fn ask(&self, host: &Host, resource: &str) -> Result<Answer, Refusal> {
        let mut query = vec![("resource", resource)];
        let id_name = if matches!(host, Host::Job { .. }) { "clientid" } else { "client_id" };
        query.extend(self.client_id.as_deref().map(|id| (id_name, id)));
        Ok(match host {
            Host::Job { url, secret } => {
                query.push(("api-version", "2017-09-01"));
                endpoint::ask(&self.transport, url, &query, &[("secret", secret)]).await?
            }
            Host::AppService { url, header } => {
                query.push(("api-version", "2019-08-01"));
                endpoint::ask(&self.transport, url, &query, &[("x-identity-header", header)]).await?
            }
            Host::ArcServer(server) => server.ask(&self.transport, &query).await?,
            Host::VirtualMachine { url } => {
                query.push(("api-version", "2018-02-01"));
                self.ask_metadata(url, &query).await?
            }
        })
    }

    /// Asks the metadata service, which every machine may have: another service that answers at its address means that this
    /// one has none.
    async fn ask_metadata(&self, url: &Url, query: &[(&str, &str)]) -> Result<Answer, Refusal> {
        self.probe(url).await?;
        let transport = self.transport.with_policy(METADATA_POLICY);
        match endpoint::ask(&transport, url, query, &[("metadata", &Secret::new("true"))]).await {
            Ok(answer) if is_of_metadata(&answer) => Ok(answer),
            Ok(_) | Err(Error::Transport { .. }) => {
                Err(Refusal::Unavailable("no metadata service answers".into()))
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn probe(&self, url: &Url) -> Result<(), Refusal> {
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
        let place = (host, url.port_or_known_default().unwrap_or(80));
        match tokio::time::timeout(PROBE, TcpStream::connect(place)).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(Refusal::Unavailable("this machine has no metadata service".into())),
        }
    }
}

/// Proxies answer for addresses that they do not reach: with a page, or, in Docker Desktop, with 403. Source: `imds.py` of
/// azure-identity.
fn is_of_metadata(answer: &Answer) -> bool {
    let is_json = || serde_json::from_slice::<serde::de::IgnoredAny>(&answer.body).is_ok();
    match answer.status {
        200..300 => is_json(),
        403 => !String::from_utf8_lossy(&answer.body).contains("unreachable"),
        _ => true,
    }
}

impl Host {
    fn of(environment: &Environment) -> Result<Host, String> {
        let variable = |name| environment.get(name);
        if let (Some(url), Some(secret)) = (variable("MSI_ENDPOINT"), variable("MSI_SECRET")) {
            return Ok(Host::Job {
                url: endpoint::address("MSI_ENDPOINT", url)?,
                secret: Secret::new(secret),
            });
        }
        if let Some(text) = variable("IDENTITY_ENDPOINT") {
            let url = endpoint::address("IDENTITY_ENDPOINT", text)?;
            if let Some(header) = variable("IDENTITY_HEADER") {
                return Ok(Host::AppService { url, header: Secret::new(header) });
            }
            if variable("IMDS_ENDPOINT").is_some() {
                return Ok(Host::ArcServer(ArcServer::new(url)));
            }
        }
        let mut url = endpoint::address(METADATA_URL, variable(METADATA_URL).unwrap_or(METADATA))?;
        url.set_path(METADATA_PATH);
        Ok(Host::VirtualMachine { url })
    }
}

#[async_trait]
impl Credential for ManagedIdentity {
    fn name(&self) -> &'static str {
        "ManagedIdentityCredential"
    }

    async fn token(&self, request: &TokenRequest) -> Result<AccessToken, Refusal> {
        let host = self.host.as_ref().map_err(|why| Refusal::Unavailable(why.clone()))?;
        let resource = self.endpoints.resource(request.scope);
        let answer = self.ask(host, &resource).await?;
        if answer.status == NO_IDENTITY {
            return Err(Refusal::Unavailable(format!("no identity: {}", answer.refusal().message)));
        }
        Ok(endpoint::token(&answer.accepted()?, &self.transport)?)
    }
}
