//! Requests to the hub and its storage. The token goes to the hub only.

use crate::answer::{Answer, Failure};
use crate::error::PublishError;
use crate::retry;
use olive_core::event::{Event, EventSink};
use olive_model::SourceOptions;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Client, Method, RequestBuilder, Url, redirect};
use serde_json::Value;
use std::time::Duration;

/// The public hub.
const PUBLIC: &str = "https://huggingface.co";

const AGENT: &str = concat!("olive/", env!("CARGO_PKG_VERSION"));

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(30);

/// How long an answer may take: a commit of many files, or putting the parts of a large one together, takes minutes.
const PATIENCE: Duration = Duration::from_secs(600);

/// A pause that a person should know of.
const LONG_PAUSE: Duration = Duration::from_secs(5);

/// A branch in a path of an address.
const IN_PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// The hub, and the account that pushes.
pub(crate) struct Hub<'a> {
    client: Client,
    /// Without a `/` at its end.
    pub endpoint: String,
    token: &'a str,
    pub events: &'a dyn EventSink,
}

impl<'a> Hub<'a> {
    /// # Errors
    /// [`PublishError::Offline`], [`PublishError::NoToken`]; the client cannot be made.
    pub(crate) fn new(options: &'a SourceOptions, events: &'a dyn EventSink) -> Result<Hub<'a>, Failure> {
        if options.offline {
            return Err(Failure::Local(PublishError::Offline.into()));
        }
        let Some(token) = options.token.as_deref().filter(|token| !token.is_empty()) else {
            return Err(Failure::Local(PublishError::NoToken.into()));
        };
        let endpoint = options.endpoint.as_deref().unwrap_or(PUBLIC).trim_end_matches('/').to_owned();
        let client = Client::builder()
            .user_agent(AGENT)
            .connect_timeout(CONNECT)
            // The token is for this host only, and a commit for this repository.
            .redirect(redirect::Policy::none())
            .build()?;
        Ok(Hub { client, endpoint, token, events })
    }

    /// An address below the endpoint.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}/{path}", self.endpoint)
    }

    /// A request to the hub itself, with the token.
    pub(crate) fn request(&self, method: Method, url: &str) -> RequestBuilder {
        self.client.request(method, url).bearer_auth(self.token).timeout(PATIENCE)
    }

    /// A request to an address that the hub gave, without the token.
    pub(crate) fn to_storage(&self, method: Method, url: &str) -> RequestBuilder {
        self.client.request(method, url)
    }

    pub(crate) async fn get(&self, url: &str) -> Result<Answer, Failure> {
        self.ask(|| self.request(Method::GET, url)).await
    }

    pub(crate) async fn post(&self, url: &str, body: &Value) -> Result<Answer, Failure> {
        let text = body.to_string();
        self.ask(|| {
            self.request(Method::POST, url).header("content-type", "application/json").body(text.clone())
        })
        .await
    }

    /// Sends a request that does no harm when it is done twice, again when nobody answers or the server is not able to.
    pub(crate) async fn ask(&self, request: impl Fn() -> RequestBuilder) -> Result<Answer, Failure> {
        let mut attempt = 1;
        loop {
            let failure = match answer(request()).await {
                Ok(answer) if !retry::is_passing(answer.status) => return answer.accepted(),
                Ok(answer) => {
                    let pause = retry::pause(attempt, Some(&answer.headers), fastrand::f64());
                    (answer.accepted().map(drop), pause)
                }
                Err(failure @ Failure::Lost { .. }) => {
                    (Err(failure), retry::pause(attempt, None, fastrand::f64()))
                }
                Err(failure) => return Err(failure),
            };
            match failure {
                (_, Some(pause)) => self.wait(pause).await,
                (Err(failure), None) => return Err(failure),
                (Ok(()), None) => return Err(Failure::Odd("a failure that is none".to_owned())),
            }
            attempt += 1;
        }
    }

    /// Waits before the next attempt.
    pub(crate) async fn wait(&self, pause: Duration) {
        if pause >= LONG_PAUSE {
            let message = format!("the hub asks to wait {} s", pause.as_secs());
            self.events.emit(Event::Info { message });
        }
        tokio::time::sleep(pause).await;
    }

    /// An address of the storage, or of the hub itself, as it is reached from here.
    ///
    /// # Errors
    /// [`Failure::Odd`]: no address, or one that would send over plain HTTP what the hub is sent over TLS.
    pub(crate) fn given(&self, href: &str) -> Result<String, Failure> {
        // A mirror of the public hub passes on what that says of itself.
        let href = match href.strip_prefix(PUBLIC) {
            Some(path) if path.starts_with('/') => self.url(&path[1..]),
            _ => href.to_owned(),
        };
        let odd = || Failure::Odd("an address to send a file to is none".to_owned());
        let url = Url::parse(&href).map_err(|_| odd())?;
        let is_plain = self.endpoint.starts_with("http://");
        match url.scheme() {
            "https" => Ok(href),
            "http" if is_plain => Ok(href),
            _ => Err(odd()),
        }
    }

    /// Whether an address is one of the hub itself.
    pub(crate) fn is_own(&self, url: &str) -> bool {
        let origin = |text: &str| Url::parse(text).ok().map(|url| url.origin());
        origin(url).is_some_and(|own| Some(own) == origin(&self.endpoint))
    }
}

/// Sends a request once.
pub(crate) async fn answer(request: RequestBuilder) -> Result<Answer, Failure> {
    let response = request.send().await.map_err(|error| {
        // The token, the one header that comes from outside.
        if error.is_builder() { Failure::Odd("the token cannot be sent".to_owned()) } else { error.into() }
    })?;
    Answer::read(response).await
}

/// A branch as a part of a path.
pub(crate) fn in_path(revision: &str) -> String {
    utf8_percent_encode(revision, IN_PATH).to_string()
}
