//! Secrets of a key vault, which says itself what token it wants, and is not believed unless that is its own.
//!
//! Source: Key Vault's REST interface 7.4; "challenge resource verification" of Microsoft's clients.

use crate::auth::TokenRequest;
use crate::cloud::Scope;
use crate::error::{Error, Result};
use crate::http::Client;
use crate::safe_url::SafeUrl;
use crate::secret::Secret;
use crate::transport::Answer;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderValue};
use reqwest::{Method, Request, Url};
use serde::Deserialize;

const VERSION: &str = "7.4";

/// A vault, by its name.
#[derive(Debug, Clone)]
pub struct KeyVault {
    client: Client,
    name: String,
    address: Url,
}

#[derive(Deserialize)]
struct Bundle {
    value: Secret,
}

impl KeyVault {
    /// # Errors
    /// The name is none of a vault.
    pub fn new(client: Client, name: &str) -> Result<KeyVault> {
        let address = client.endpoints().vault(name)?;
        Ok(KeyVault { client, name: name.to_owned(), address })
    }

    /// The latest version of a secret.
    ///
    /// # Errors
    /// There is none, it may not be read, or the vault asks for a token of another service.
    pub async fn secret(&self, name: &str) -> Result<Secret> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if name.is_empty() || name.len() > 127 || !name.bytes().all(fits) {
            return Err(Error::Invalid {
                what: "the secret",
                value: name.into(),
                expected: "expected 1 to 127 letters, digits and hyphens",
            });
        }
        let mut url = self.address.clone();
        url.set_path(&format!("secrets/{name}/"));
        url.query_pairs_mut().append_pair("api-version", VERSION);
        self.client.endpoints().trust(&url, Scope::KeyVault)?;

        let challenged = self.ask(&url, None).await?;
        let answer = if challenged.status == 401 {
            let challenge = Challenge::of(&challenged)?;
            self.verify(&challenge, &url)?;
            let request = TokenRequest { scope: Scope::KeyVault, tenant: challenge.tenant };
            let token = self.client.token(request).await?;
            self.ask(&url, Some(&token)).await?
        } else {
            challenged
        };
        let missing = || format!("secret `{name}` in key vault `{}`", self.name);
        let bundle: Bundle = answer.accepted().map_err(|error| error.for_missing(missing))?.json()?;
        Ok(bundle.value)
    }

    async fn ask(&self, url: &Url, token: Option<&Secret>) -> Result<Answer> {
        let mut request = Request::new(Method::GET, url.clone());
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static("application/json"));
        if let Some(token) = token {
            request.headers_mut().insert(AUTHORIZATION, token.bearer()?);
        }
        self.client.transport().send(request).await
    }

    /// Whether the vault asks for a token of vaults. A host that asks for one of another service would pass it on.
    fn verify(&self, challenge: &Challenge, url: &Url) -> Result<()> {
        let endpoints = self.client.endpoints();
        let resource = Url::parse(&challenge.resource).ok();
        let wanted = resource.as_ref().and_then(Url::host_str).unwrap_or_default();
        let host = url.host_str().unwrap_or_default();
        let is_below = host.strip_suffix(wanted).is_some_and(|rest| rest.ends_with('.'));
        if wanted == endpoints.vault_suffix() && (is_below || endpoints.is_replaced_vault(url)) {
            return Ok(());
        }
        Err(Error::UntrustedHost {
            url: SafeUrl::from(url),
            reason: "the vault asks for a token of another service than its own",
        })
    }
}

/// What a vault says when it is asked without a token.
struct Challenge {
    resource: String,
    tenant: Option<String>,
}

impl Challenge {
    /// `Bearer authorization="https://login…/{tenant}", resource="https://vault…"`, or the same with `scope`.
    fn of(answer: &Answer) -> Result<Challenge> {
        let header = answer.header("www-authenticate").unwrap_or_default();
        let parameters = header.strip_prefix("Bearer ").unwrap_or_default();
        let value = |wanted: &str| {
            parameters.split(',').find_map(|pair| {
                let (name, value) = pair.trim().split_once('=')?;
                (name.trim() == wanted).then(|| value.trim().trim_matches('"').to_owned())
            })
        };
        let resource = value("resource")
            .or_else(|| Some(value("scope")?.trim_end_matches("/.default").to_owned()))
            .ok_or_else(|| answer.unexpected("401 without `WWW-Authenticate: Bearer … resource=…`"))?;
        let tenant = value("authorization").and_then(|address| {
            let address = Url::parse(&address).ok()?;
            let tenant = address.path_segments()?.next()?.to_owned();
            (!tenant.is_empty()).then_some(tenant)
        });
        Ok(Challenge { resource, tenant })
    }
}
