//! On behalf of the user: inside of a job that runs as the user who submitted it.

use super::endpoint;
use super::source::{AccessToken, Credential, Refusal, TokenRequest};
use crate::cloud::Endpoints;
use crate::environment::Environment;
use crate::transport::Transport;
use async_trait::async_trait;
use reqwest::Url;
use std::sync::Arc;

const ENDPOINT: &str = "OBO_ENDPOINT";

/// `OBO_ENDPOINT`, which Azure ML's own compute sets for jobs with `identity: UserIdentity`.
#[derive(Debug)]
pub struct OnBehalfOf {
    endpoint: Result<Url, String>,
    endpoints: Arc<Endpoints>,
    transport: Transport,
}

impl OnBehalfOf {
    /// `machine` is a way to the services of the machine.
    pub fn new(environment: &Environment, endpoints: Arc<Endpoints>, machine: &Transport) -> OnBehalfOf {
        let endpoint = match environment.get(ENDPOINT) {
            Some(text) => endpoint::address(ENDPOINT, text),
            None => Err(format!("{ENDPOINT} not set")),
        };
        OnBehalfOf { endpoint, endpoints, transport: machine.clone() }
    }
}

#[async_trait]
impl Credential for OnBehalfOf {
    fn name(&self) -> &'static str {
        "AzureMLOnBehalfOfCredential"
    }

    async fn token(&self, request: &TokenRequest) -> Result<AccessToken, Refusal> {
        let url = self.endpoint.as_ref().map_err(|why| Refusal::Unavailable(why.clone()))?;
        let resource = self.endpoints.resource(request.scope);
        let answer =
            endpoint::ask(&self.transport, url, &[("resource", &resource)], &[]).await?.accepted()?;
        Ok(endpoint::token(&answer, &self.transport)?)
    }
}
