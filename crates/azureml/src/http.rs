//! Authenticated calls: which address, which token, which headers, and the JSON of both ways.

use crate::auth::{Chain, Credential, CredentialOptions, TokenRequest, Tokens};
use crate::clock::{Clock, SystemClock};
use crate::cloud::{Endpoints, PlainHttp, Scope};
use crate::environment::Environment;
use crate::error::{Error, Result};
use crate::retry::RetryPolicy;
use crate::secret::Secret;
use crate::transport::{Answer, Attempts, Transport};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, Request, Url, redirect};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const AGENT: &str = concat!("olive-rs/", env!("CARGO_PKG_VERSION"));

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// One request of a service: where to, with which parameters, headers and token.
#[derive(Debug, Clone)]
pub struct Call {
    target: Target,
    query: Vec<(String, String)>,
    headers: HeaderMap,
    scope: Scope,
}

#[derive(Debug, Clone)]
enum Target {
    /// A path of the control plane, which gets the version of the interface.
    Arm { path: String, version: Option<String> },
    /// A path below the base address of another service.
    Below { base: Url, path: String },
    /// An address as a service gave it.
    Given(Url),
}

impl Call {
    /// A path of the control plane, `/subscriptions/…`.
    pub fn arm(path: impl Into<String>) -> Call {
        Call::to(Target::Arm { path: path.into(), version: None })
    }

    /// A path of a workspace's data plane, whose address is `base`.
    pub fn data_plane(base: &Url, path: impl Into<String>) -> Call {
        Call::to(Target::Below { base: base.clone(), path: path.into() })
    }

    /// An address as a service gave it: it is used as it is.
    pub fn given(url: Url) -> Call {
        Call::to(Target::Given(url))
    }

    fn to(target: Target) -> Call {
        Call { target, query: Vec::new(), headers: HeaderMap::new(), scope: Scope::Arm }
    }

    /// Asks the control plane for another version of its interface than the configured one.
    pub fn version(mut self, wanted: &str) -> Call {
        if let Target::Arm { version, .. } = &mut self.target {
            *version = Some(wanted.to_owned());
        }
        self
    }

    pub fn query(mut self, name: &str, value: impl Into<String>) -> Call {
        self.query.push((name.to_owned(), value.into()));
        self
    }

    /// What the token is for, if not for the control plane.
    pub fn scope(mut self, scope: Scope) -> Call {
        self.scope = scope;
        self
    }

    /// A further header whose value nobody may read.
    ///
    /// # Errors
    /// The value has characters that no header may have.
    pub fn secret_header(mut self, name: &'static str, value: &Secret) -> Result<Call> {
        self.headers.insert(name, value.header()?);
        Ok(self)
    }

    fn url(&self, endpoints: &Endpoints) -> Result<Url> {
        let mut url = match &self.target {
            Target::Arm { path, .. } => below(&endpoints.arm, path),
            Target::Below { base, path } => below(base, path),
            Target::Given(url) => url.clone(),
        };
        if let Target::Arm { version, .. } = &self.target {
            let version = version.as_deref().unwrap_or(&endpoints.api_version);
            url.query_pairs_mut().append_pair("api-version", version);
        }
        if !self.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&self.query);
        }
        Ok(url)
    }
}

/// The address whose path is that of the base and then this one.
fn below(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    url.set_path(&format!("{}/{}", base.path().trim_end_matches('/'), path.trim_start_matches('/')));
    url
}

/// What a client is made of besides the environment.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    pub plain_http: PlainHttp,
    /// How long the service may be silent.
    pub read_timeout: Duration,
    pub retry: RetryPolicy,
    pub credentials: CredentialOptions,
    pub clock: Arc<dyn Clock>,
}

impl Default for ClientOptions {
    fn default() -> ClientOptions {
        ClientOptions {
            plain_http: PlainHttp::Refused,
            read_timeout: Duration::from_secs(60),
            retry: RetryPolicy::default(),
            credentials: CredentialOptions::default(),
            clock: Arc::new(SystemClock),
        }
    }
}

/// A client of the services of one cloud. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    transport: Transport,
    endpoints: Arc<Endpoints>,
    tokens: Arc<Tokens>,
}

impl Client {
    /// A client with the credentials that the environment offers.
    ///
    /// # Errors
    /// A variable or an option is none that is known.
    pub fn new(environment: &Environment, options: ClientOptions) -> Result<Client> {
        let (endpoints, transport) = parts(environment, &options)?;
        let chain = Chain::standard(environment, &options.credentials, &endpoints, &transport)?;
        Ok(Client::assembled(transport, endpoints, Arc::new(chain)))
    }

    /// A client inside of a job, which may act as the user who submitted it.
    ///
    /// # Errors
    /// A variable or an option is none that is known.
    pub fn in_job(environment: &Environment, options: ClientOptions) -> Result<Client> {
        let (endpoints, transport) = parts(environment, &options)?;
        let chain = Chain::in_job(environment, &options.credentials, &endpoints, &transport)?;
        Ok(Client::assembled(transport, endpoints, Arc::new(chain)))
    }

    /// A client with this credential.
    ///
    /// # Errors
    /// A variable is none that is known.
    pub fn with_credential(
        environment: &Environment,
        options: &ClientOptions,
        credential: Arc<dyn Credential>,
    ) -> Result<Client> {
        let (endpoints, transport) = parts(environment, options)?;
        Ok(Client::assembled(transport, endpoints, credential))
    }

    fn assembled(transport: Transport, endpoints: Arc<Endpoints>, credential: Arc<dyn Credential>) -> Client {
        let tokens = Arc::new(Tokens::new(credential, Arc::clone(&endpoints), transport.clock()));
        Client { transport, endpoints, tokens }
    }

    /// The same client, whose requests and pauses end when this is cancelled.
    pub fn with_cancel(&self, cancel: CancellationToken) -> Client {
        Client { transport: self.transport.with_cancel(cancel), ..self.clone() }
    }

    /// # Errors
    /// The service refuses, nobody answers, or the answer is not what is expected. The same holds for all calls.
    pub async fn get<T: DeserializeOwned>(&self, call: &Call) -> Result<T> {
        self.send(Method::GET, call, None).await?.accepted()?.json()
    }

    /// Sends the JSON of `body`. What is created under a name that the caller chose may be sent again.
    pub async fn put<B: Serialize + ?Sized, T: DeserializeOwned>(&self, call: &Call, body: &B) -> Result<T> {
        self.send(Method::PUT, call, Some(json(body)?)).await?.accepted()?.json()
    }

    /// Sends the JSON of `body`. Sent again only if the service asks for it, or was not reached.
    pub async fn post<B: Serialize + ?Sized, T: DeserializeOwned>(&self, call: &Call, body: &B) -> Result<T> {
        self.send(Method::POST, call, Some(json(body)?)).await?.accepted()?.json()
    }

    /// Sends the request until it is answered for good, whatever the answer is. The token is new for each attempt.
    ///
    /// # Errors
    /// Nobody answers, there is no token, or the host is none that it may be sent to.
    pub async fn send(&self, method: Method, call: &Call, body: Option<Vec<u8>>) -> Result<Answer> {
        let url = call.url(&self.endpoints)?;
        self.endpoints.trust(&url, call.scope)?;
        let mut attempts = Attempts::default();
        let request_id = uuid::Uuid::new_v4().to_string();
        loop {
            let token = self.token(call.scope).await?;
            let mut request = Request::new(method.clone(), url.clone());
            let headers = request.headers_mut();
            headers.extend(call.headers.clone());
            headers.insert(AUTHORIZATION, token.bearer()?);
            headers.insert(ACCEPT, JSON);
            headers.insert("x-ms-client-request-id", HeaderValue::try_from(&request_id).expect("a UUID"));
            match &body {
                Some(body) => {
                    request.headers_mut().insert(CONTENT_TYPE, JSON);
                    *request.body_mut() = Some(body.clone().into());
                }
                // Azure refuses a POST that does not say how long it is.
                None if method == Method::POST => {
                    request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
                }
                None => {}
            }
            if let Some(answer) = self.transport.attempt(request, &mut attempts).await? {
                return Ok(answer);
            }
        }
    }

    /// For addresses that carry their own rights (SAS), or need none: no token is sent.
    pub fn plain(&self) -> &reqwest::Client {
        self.transport.http()
    }

    /// Sending without a token, with this client's retries, clock and cancellation.
    pub fn transport(&self) -> &Transport {
        &self.transport
    }

    pub fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    /// # Errors
    /// No source of credentials gives a token.
    pub async fn token(&self, request: impl Into<TokenRequest>) -> Result<Secret> {
        self.transport.unless_cancelled(self.tokens.get(&request.into())).await?
    }

    /// The source of tokens, once one was asked for.
    pub fn credential(&self) -> Option<&'static str> {
        self.tokens.chosen()
    }
}

fn json<B: Serialize + ?Sized>(body: &B) -> Result<Vec<u8>> {
    serde_json::to_vec(body).map_err(|error| Error::Invalid {
        what: "the body of a request",
        value: error.to_string(),
        expected: "expected what JSON can hold",
    })
}

fn parts(environment: &Environment, options: &ClientOptions) -> Result<(Arc<Endpoints>, Transport)> {
    let mut endpoints = Endpoints::new(environment, options.plain_http)?;
    if let Some(authority) = &options.credentials.authority {
        endpoints.set_authority(authority)?;
    }
    Ok((Arc::new(endpoints), transport(options)?))
}

pub(crate) fn transport(options: &ClientOptions) -> Result<Transport> {
    // No redirections: they would carry tokens on to other hosts.
    let http = reqwest::Client::builder()
        .user_agent(AGENT)
        .redirect(redirect::Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(options.read_timeout)
        .build()
        .map_err(Error::Setup)?;
    Ok(Transport::new(http, Arc::clone(&options.clock), options.retry))
}
