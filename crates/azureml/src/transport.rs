//! Requests without credentials: sending, retrying, reading answers of bounded size, and waiting until somebody cancels.

use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::retry::{Outcome, RetryPolicy};
use crate::safe_url::SafeUrl;
use crate::secret::redacted;
use crate::service_error::ServiceError;
use bytes::{Bytes, BytesMut};
use reqwest::header::HeaderMap;
use reqwest::{Method, Request, Url};
use serde::de::DeserializeOwned;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio_util::sync::CancellationToken;

/// Longer answers are refused. The largest that services give are lists of some megabytes.
const LONGEST_ANSWER: usize = 64 << 20;

/// What of a refusal is read.
const LONGEST_REFUSAL: usize = 64 << 10;

/// How requests reach the network. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Transport {
    http: reqwest::Client,
    clock: Arc<dyn Clock>,
    policy: RetryPolicy,
    cancel: CancellationToken,
}

impl Transport {
    pub fn new(http: reqwest::Client, clock: Arc<dyn Clock>, policy: RetryPolicy) -> Transport {
        Transport { http, clock, policy, cancel: CancellationToken::new() }
    }

    /// The same, with a client of its own, a policy of its own or another way to cancel.
    pub fn with_http(&self, http: reqwest::Client) -> Transport {
        Transport { http, ..self.clone() }
    }

    pub fn with_policy(&self, policy: RetryPolicy) -> Transport {
        Transport { policy, ..self.clone() }
    }

    pub fn with_cancel(&self, cancel: CancellationToken) -> Transport {
        Transport { cancel, ..self.clone() }
    }

    pub fn http(&self) -> &reqwest::Client {
        &self.http
    }

    pub fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.clock)
    }

    pub fn now(&self) -> SystemTime {
        self.clock.now()
    }

    /// Waits, unless somebody cancels.
    ///
    /// # Errors
    /// [`Error::Cancelled`].
    pub async fn wait(&self, duration: Duration) -> Result<()> {
        self.unless_cancelled(self.clock.sleep(duration)).await
    }

    /// What the future gives, unless somebody cancels before.
    ///
    /// # Errors
    /// [`Error::Cancelled`].
    pub async fn unless_cancelled<T>(&self, future: impl Future<Output = T>) -> Result<T> {
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(Error::Cancelled),
            value = future => Ok(value),
        }
    }

    /// Sends the request until it is answered for good, whatever the answer is.
    ///
    /// # Errors
    /// Nobody answers, somebody cancels, or the body is a stream, which cannot be sent twice.
    pub async fn send(&self, request: Request) -> Result<Answer> {
        let mut attempts = Attempts::default();
        loop {
            let copy = request.try_clone().ok_or_else(|| Error::Invalid {
                what: "the body of the request to",
                value: SafeUrl::from(request.url()).to_string(),
                expected: "expected one that can be sent again",
            })?;
            if let Some(answer) = self.attempt(copy, &mut attempts).await? {
                return Ok(answer);
            }
        }
    }

    /// Sends the request once. `None` if it is to be made and sent again; the pause before that is over then.
    ///
    /// # Errors
    /// Nobody answers, or somebody cancels.
    pub async fn attempt(&self, request: Request, attempts: &mut Attempts) -> Result<Option<Answer>> {
        let method = request.method().clone();
        let url = request.url().clone();
        let outcome = self.unless_cancelled(self.exchange(request)).await?;
        let delay = match &outcome {
            Ok(answer) if answer.status < 400 => None,
            Ok(answer) => self.delay(
                attempts,
                &method,
                Outcome::Refused { status: answer.status, headers: &answer.headers },
            ),
            Err(Failure::Sending(error)) if error.is_connect() => {
                self.delay(attempts, &method, Outcome::NotSent)
            }
            Err(Failure::Sending(_)) => self.delay(attempts, &method, Outcome::Lost),
            Err(Failure::TooLong) => None,
        };
        attempts.made += 1;
        if let Some(delay) = delay {
            tracing::debug!(%method, url = %SafeUrl::from(&url), ?delay, "the request is sent again");
            self.wait(delay).await?;
            return Ok(None);
        }
        let url = SafeUrl::from(&url);
        match outcome {
            Ok(answer) => Ok(Some(answer)),
            Err(Failure::Sending(source)) => {
                Err(Error::Transport { method: method.to_string(), url, attempts: attempts.made, source })
            }
            Err(Failure::TooLong) => Err(Error::Protocol {
                url,
                what: format!("the answer is longer than {LONGEST_ANSWER} bytes"),
            }),
        }
    }

    fn delay(&self, attempts: &Attempts, method: &Method, outcome: Outcome<'_>) -> Option<Duration> {
        self.policy.delay(attempts.made, method, outcome, self.now(), fastrand::f64())
    }

    async fn exchange(&self, request: Request) -> Result<Answer, Failure> {
        let method = request.method().clone();
        let url = request.url().clone();
        let mut response = self.http.execute(request).await.map_err(Failure::of)?;
        let status = response.status().as_u16();
        let headers = std::mem::take(response.headers_mut());
        log_remaining(&headers);
        let longest = if status < 400 { LONGEST_ANSWER } else { LONGEST_REFUSAL };
        // At once: a buffer that grows is up to twice as large as what is in it.
        let announced = response.content_length().and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(0);
        let mut body = BytesMut::with_capacity(announced.min(longest));
        while let Some(chunk) = response.chunk().await.map_err(Failure::of)? {
            if body.len() + chunk.len() > longest {
                if status < 400 {
                    return Err(Failure::TooLong);
                }
                break;
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer { method, url, status, headers, body: body.freeze() })
    }
}

/// How often a request was sent.
#[derive(Debug, Default)]
pub struct Attempts {
    made: u32,
}

enum Failure {
    Sending(reqwest::Error),
    TooLong,
}

impl Failure {
    /// Addresses may have a SAS in the query.
    fn of(error: reqwest::Error) -> Failure {
        Failure::Sending(error.without_url())
    }
}

/// The counters of ARM's throttling.
fn log_remaining(headers: &HeaderMap) {
    for (name, value) in headers {
        if name.as_str().starts_with("x-ms-ratelimit-remaining-") {
            tracing::debug!(%name, ?value, "requests left");
        }
    }
}

/// An answer that was read to its end.
#[derive(Clone)]
pub struct Answer {
    pub method: Method,
    pub url: Url,
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    /// # Errors
    /// The service refused, or wants to be asked elsewhere.
    pub fn accepted(self) -> Result<Answer> {
        if (200..300).contains(&self.status) { Ok(self) } else { Err(self.refusal().into()) }
    }

    pub fn refusal(&self) -> ServiceError {
        let body = String::from_utf8_lossy(&self.body);
        ServiceError::read(self.method.as_str(), SafeUrl::from(&self.url), self.status, &self.headers, &body)
    }

    /// The JSON of the body. An empty body counts as `null`.
    ///
    /// # Errors
    /// The body is no such JSON.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        let body: &[u8] = if self.body.is_empty() { b"null" } else { &self.body };
        serde_json::from_slice(body).map_err(|error| {
            self.unexpected(format!("unexpected answer: {}", without_values(&error.to_string())))
        })
    }

    /// A header's value, if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    pub fn unexpected(&self, what: impl Into<String>) -> Error {
        Error::Protocol { url: SafeUrl::from(&self.url), what: what.into() }
    }
}

/// Neither body nor headers: both may hold secrets.
impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}, {} bytes", self.method, SafeUrl::from(&self.url), self.status, self.body.len())
    }
}

/// A message of the JSON parser without the strings that it quotes, which may be keys.
fn without_values(message: &str) -> String {
    match (message.find('"'), message.rfind('"')) {
        (Some(start), Some(end)) if start < end => {
            format!("{}\"…\"{}", &message[..start], &message[end + 1..])
        }
        _ => redacted(message).into_owned(),
    }
}
