//! Entra ID's token endpoint: a form in, a token out.
//!
//! Source: OAuth 2.0 client credentials (RFC 6749, 4.4), with a secret or an assertion (RFC 7523, 2.2).

use super::certificate::Certificate;
use super::expiry;
use super::source::{AccessToken, Refusal};
use crate::cloud::{Endpoints, Scope};
use crate::error::{Error, Result};
use crate::retry::{Posts, RetryPolicy};
use crate::safe_url::SafeUrl;
use crate::secret::Secret;
use crate::transport::Transport;
use reqwest::Url;
use serde::Deserialize;
use serde_json::Value;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// The endpoint, for one application of one tenant.
#[derive(Debug)]
pub struct Authority {
    tenant: String,
    client_id: String,
    endpoints: Arc<Endpoints>,
    transport: Transport,
}

/// What proves that the application is itself.
#[derive(Debug)]
pub enum Proof<'a> {
    Secret(&'a Secret),
    Assertion(&'a Secret),
}

#[derive(Deserialize)]
struct Granted {
    access_token: Secret,
    expires_in: Value,
}

impl Authority {
    pub fn new(
        tenant: String,
        client_id: String,
        endpoints: Arc<Endpoints>,
        transport: &Transport,
    ) -> Authority {
        // Asking twice for a token does no harm.
        let policy = RetryPolicy { posts: Posts::Repeatable, ..RetryPolicy::default() };
        Authority { tenant, client_id, endpoints, transport: transport.with_policy(policy) }
    }

    fn address(&self) -> Url {
        let mut url = self.endpoints.authority.clone();
        url.set_path(&format!("{}/oauth2/v2.0/token", self.tenant));
        url
    }

    /// What proves with a certificate that the application is itself.
    ///
    /// # Errors
    /// The certificate cannot sign.
    pub fn signed_by(&self, certificate: &Certificate) -> Result<Secret, Error> {
        certificate.assertion(self.address().as_str(), &self.client_id, self.transport.now())
    }

    /// # Errors
    /// The authority refuses, is not reached, or is no address that secrets may be sent to.
    pub async fn token(&self, scope: Scope, proof: Proof<'_>) -> Result<AccessToken, Refusal> {
        self.endpoints.trust_authority()?;
        let url = self.address();
        let scope = format!("{}/.default", self.endpoints.resource(scope));
        let mut form =
            vec![("grant_type", "client_credentials"), ("client_id", &self.client_id), ("scope", &scope)];
        match proof {
            Proof::Secret(secret) => form.push(("client_secret", secret.expose())),
            Proof::Assertion(assertion) => form.extend([
                ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
                ("client_assertion", assertion.expose()),
            ]),
        }
        let request = self.transport.http().post(url.clone()).form(&form).build().map_err(|source| {
            Error::Transport {
                method: "POST".into(),
                url: SafeUrl::from(&url),
                attempts: 0,
                source: source.without_url(),
            }
        })?;
        let asked = self.transport.now();
        let answer = self.transport.send(request).await?.accepted()?;
        let Granted { access_token, expires_in } = answer.json()?;
        Ok(AccessToken { secret: access_token, expires_on: lasting(&expires_in, asked) })
    }
}

/// A token whose end is not told is good for a short time.
const SHORTEST: Duration = Duration::from_secs(600);

fn lasting(expires_in: &Value, asked: SystemTime) -> SystemTime {
    expiry::after(expires_in, asked).unwrap_or(asked + SHORTEST)
}
