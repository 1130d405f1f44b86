//! An application that is in the environment, with its secret or its certificate.

use super::authority::{Authority, Proof};
use super::certificate::Certificate;
use super::source::{AccessToken, Credential, Refusal, TokenRequest};
use crate::cloud::Endpoints;
use crate::environment::Environment;
use crate::secret::Secret;
use crate::transport::Transport;
use async_trait::async_trait;
use std::path::PathBuf;
use std::sync::Arc;

const TENANT: &str = "AZURE_TENANT_ID";
const CLIENT: &str = "AZURE_CLIENT_ID";
const SECRET: &str = "AZURE_CLIENT_SECRET";
const CERTIFICATE: &str = "AZURE_CLIENT_CERTIFICATE_PATH";

/// `AZURE_TENANT_ID` and `AZURE_CLIENT_ID`, with `AZURE_CLIENT_SECRET` or else `AZURE_CLIENT_CERTIFICATE_PATH`.
#[derive(Debug)]
pub struct Application(Result<Known, String>);

#[derive(Debug)]
struct Known {
    authority: Authority,
    proof: Evidence,
}

#[derive(Debug)]
enum Evidence {
    Secret(Secret),
    Certificate(PathBuf),
}

impl Application {
    pub fn new(environment: &Environment, endpoints: Arc<Endpoints>, transport: &Transport) -> Application {
        let secret = environment.get(SECRET).map(|secret| Evidence::Secret(Secret::new(secret)));
        let proof = secret.or_else(|| Some(Evidence::Certificate(environment.get(CERTIFICATE)?.into())));
        let (tenant, client) = (environment.get(TENANT), environment.get(CLIENT));
        let (Some(tenant), Some(client), Some(proof)) = (tenant, client, proof) else {
            let is_missing = |name: &&str| environment.get(name).is_none();
            let missing: Vec<&str> = [TENANT, CLIENT, SECRET].into_iter().filter(is_missing).collect();
            return Application(Err(format!("{} not set", missing.join(", "))));
        };
        let authority = Authority::new(tenant.into(), client.into(), endpoints, transport);
        Application(Ok(Known { authority, proof }))
    }
}

#[async_trait]
impl Credential for Application {
    fn name(&self) -> &'static str {
        "EnvironmentCredential"
    }

    async fn token(&self, request: &TokenRequest) -> Result<AccessToken, Refusal> {
        let Known { authority, proof } = self.0.as_ref().map_err(|why| Refusal::Unavailable(why.clone()))?;
        match proof {
            Evidence::Secret(secret) => authority.token(request.scope, Proof::Secret(secret)).await,
            Evidence::Certificate(path) => {
                let certificate = Certificate::read(path).await?;
                let assertion = authority.signed_by(&certificate)?;
                authority.token(request.scope, Proof::Assertion(&assertion)).await
            }
        }
    }
}
