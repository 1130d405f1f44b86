//! Token services of the machine that this runs on: a GET with a resource, and a JSON answer.

use super::expiry;
use super::source::AccessToken;
use crate::error::{Error, Result};
use crate::safe_url::SafeUrl;
use crate::secret::Secret;
use crate::transport::{Answer, Transport};
use reqwest::{Method, Request, Url, redirect};
use serde_json::{Map, Value};
use std::time::Duration;

/// Answers come from this machine, but tokens behind them from elsewhere.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A way to the services of the machine itself, which no proxy knows.
///
/// # Errors
/// The system offers no way to encrypt.
pub fn direct(transport: &Transport) -> Result<Transport> {
    let http = reqwest::Client::builder()
        .no_proxy()
        .redirect(redirect::Policy::none())
        .timeout(TIMEOUT)
        .build()
        .map_err(Error::Setup)?;
    Ok(transport.with_http(http))
}

/// What a token service wants to see, so that no page of a browser can ask it.
pub type Header<'a> = (&'static str, &'a Secret);

/// # Errors
/// The service is not reached. A refusal is an answer.
pub async fn ask(
    transport: &Transport,
    url: &Url,
    query: &[(&str, &str)],
    headers: &[Header<'_>],
) -> Result<Answer> {
    let mut url = url.clone();
    url.query_pairs_mut().extend_pairs(query);
    let mut request = Request::new(Method::GET, url);
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.header()?);
    }
    transport.send(request).await
}

/// The token of an answer. The services have three names for it, and five for its end.
///
/// # Errors
/// The answer has none.
pub fn token(answer: &Answer, transport: &Transport) -> Result<AccessToken> {
    let mut object: Map<String, Value> = answer.json()?;
    let mut taken = |names: &[&str]| names.iter().find_map(|name| object.remove(*name));
    let Some(Value::String(secret)) = taken(&["access_token", "accessToken", "token"]) else {
        return Err(answer.unexpected("the answer has no `access_token`"));
    };
    let secret = Secret::new(secret);
    let on = taken(&["expires_on", "expiresOn"]).and_then(|value| expiry::instant(&value));
    let expires_on = on
        .or_else(|| expiry::after(&taken(&["expires_in", "expiresIn"])?, transport.now()))
        .ok_or_else(|| answer.unexpected("the answer does not say when the token ends (`expires_on`)"))?;
    Ok(AccessToken { secret, expires_on })
}

/// The address in a variable of the machine's.
///
/// # Errors
/// It is none.
pub fn address(name: &str, text: &str) -> Result<Url, String> {
    Url::parse(text).map_err(|_| format!("{name} is no address: `{}`", SafeUrl::parse(text)))
}
