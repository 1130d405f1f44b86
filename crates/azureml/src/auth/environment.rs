//! The secret of an application, in the environment.

use super::authority::{Authority, Proof};
use super::source::{AccessToken, Credential, Refusal, TokenRequest};
use crate::cloud::Endpoints;
use crate::environment::Environment;
use crate::secret::Secret;
use crate::transport::Transport;
use async_trait::async_trait;
use std::sync::Arc;

const TENANT: &str = "AZURE_TENANT_ID";
const CLIENT: &str = "AZURE_CLIENT_ID";
const SECRET: &str = "AZURE_CLIENT_SECRET";
const CERTIFICATE: &str = "AZURE_CLIENT_CERTIFICATE_PATH";

/// `AZURE_TENANT_ID`, `AZURE_CLIENT_ID` and `AZURE_CLIENT_SECRET`.
#[derive(Debug)]
pub struct ClientSecret(Result<(Authority, Secret), String>);

impl ClientSecret {
    pub fn new(environment: &Environment, endpoints: Arc<Endpoints>, transport: &Transport) -> ClientSecret {
        let wanted = [TENANT, CLIENT, SECRET];
        let [Some(tenant), Some(client), Some(secret)] = wanted.map(|name| environment.get(name)) else {
            if environment.get(CERTIFICATE).is_some() {
                return ClientSecret(Err(format!("{CERTIFICATE} is not supported, set {SECRET}")));
            }
            let missing: Vec<&str> =
                wanted.into_iter().filter(|name| environment.get(name).is_none()).collect();
            return ClientSecret(Err(format!("{} not set", missing.join(", "))));
        };
        let authority = Authority::new(tenant.into(), client.into(), endpoints, transport);
        ClientSecret(Ok((authority, Secret::new(secret))))
    }
}

#[async_trait]
impl Credential for ClientSecret {
    fn name(&self) -> &'static str {
        "EnvironmentCredential"
    }

    async fn token(&self, request: &TokenRequest) -> Result<AccessToken, Refusal> {
        match &self.0 {
            Ok((authority, secret)) => authority.token(request.scope, Proof::Secret(secret)).await,
            Err(why) => Err(Refusal::Unavailable(why.clone())),
        }
    }
}
