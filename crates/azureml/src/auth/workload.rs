//! Workload identity: the token of a Kubernetes service account, exchanged for one of an application.

use super::authority::{Authority, Proof};
use super::options::CredentialOptions;
use super::source::{AccessToken, Credential, Refusal, TokenRequest};
use crate::cloud::Endpoints;
use crate::environment::Environment;
use crate::error::Error;
use crate::secret::Secret;
use crate::transport::Transport;
use async_trait::async_trait;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::Mutex;

const TENANT: &str = "AZURE_TENANT_ID";
const CLIENT: &str = "AZURE_CLIENT_ID";
const FILE: &str = "AZURE_FEDERATED_TOKEN_FILE";

/// The cluster replaces the file; it is read again after this time.
const READ_AGAIN: Duration = Duration::from_secs(600);

/// `AZURE_TENANT_ID`, `AZURE_CLIENT_ID` and `AZURE_FEDERATED_TOKEN_FILE`, as the cluster sets them.
#[derive(Debug)]
pub struct WorkloadIdentity(Result<Exchange, String>);

#[derive(Debug)]
struct Exchange {
    authority: Authority,
    file: PathBuf,
    transport: Transport,
    assertion: Mutex<Option<(Secret, SystemTime)>>,
}

impl WorkloadIdentity {
    pub fn new(
        environment: &Environment,
        options: &CredentialOptions,
        endpoints: Arc<Endpoints>,
        transport: &Transport,
    ) -> WorkloadIdentity {
        let client = options.workload_identity_client_id.as_deref().or_else(|| environment.get(CLIENT));
        let wanted = [(TENANT, environment.get(TENANT)), (CLIENT, client), (FILE, environment.get(FILE))];
        let [(_, Some(tenant)), (_, Some(client)), (_, Some(file))] = wanted else {
            let missing = wanted.iter().filter(|(_, value)| value.is_none()).map(|(name, _)| *name);
            return WorkloadIdentity(Err(format!("{} not set", missing.collect::<Vec<_>>().join(", "))));
        };
        WorkloadIdentity(Ok(Exchange {
            authority: Authority::new(tenant.into(), client.into(), endpoints, transport),
            file: file.into(),
            transport: transport.clone(),
            assertion: Mutex::new(None),
        }))
    }
}

impl Exchange {
    async fn assertion(&self) -> Result<Secret, Error> {
        let mut kept = self.assertion.lock().await;
        let now = self.transport.now();
        if let Some((assertion, read)) = &*kept
            && now < *read + READ_AGAIN
        {
            return Ok(assertion.clone());
        }
        let text = tokio::fs::read_to_string(&self.file).await.map_err(|source| Error::Io {
            action: "read the federated token",
            path: self.file.clone(),
            source,
        })?;
        let assertion = Secret::new(text.trim());
        *kept = Some((assertion.clone(), now));
        Ok(assertion)
    }
}

#[async_trait]
impl Credential for WorkloadIdentity {
    fn name(&self) -> &'static str {
        "WorkloadIdentityCredential"
    }

    async fn token(&self, request: &TokenRequest) -> Result<AccessToken, Refusal> {
        match &self.0 {
            Ok(exchange) => {
                let assertion = exchange.assertion().await?;
                exchange.authority.token(request.scope, Proof::Assertion(&assertion)).await
            }
            Err(why) => Err(Refusal::Unavailable(why.clone())),
        }
    }
}
