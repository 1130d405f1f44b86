//! How requests of `object_store` reach the network: with this crate's retries, cancellation and errors.

use crate::error::{Error, Result};
use crate::safe_url::SafeUrl;
use crate::transport::{Attempts, Transport};
use async_trait::async_trait;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
};
use reqwest::{Body, Request, StatusCode, Url};
use std::fmt;
use std::sync::{Mutex, PoisonError};

/// Sends a request until it is answered for good. What is refused is an error, so `object_store` sees no refusals.
#[derive(Debug, Clone)]
pub(super) struct Sender(pub(super) Transport);

#[async_trait]
impl HttpService for Sender {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        self.send(&request).await.map_err(|error| HttpError::new(HttpErrorKind::Unknown, Carried::new(error)))
    }
}

impl HttpConnector for Sender {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

impl Sender {
    async fn send(&self, request: &HttpRequest) -> Result<HttpResponse> {
        let text = request.uri().to_string();
        let url = Url::parse(&text).map_err(|_| Error::Protocol {
            url: SafeUrl::parse(&text),
            what: "no address of a blob".into(),
        })?;
        let mut attempts = Attempts::default();
        loop {
            let (parts, body) = request.clone().into_parts();
            let mut request = Request::new(parts.method, url.clone());
            *request.headers_mut() = parts.headers;
            *request.body_mut() = Some(Body::wrap(body));
            let Some(answer) = self.0.attempt(request, &mut attempts).await? else { continue };
            let answer = answer.accepted()?;
            let mut response = HttpResponse::new(answer.body.into());
            *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or_default();
            *response.headers_mut() = answer.headers;
            return Ok(response);
        }
    }
}

/// An error of this crate on its way through those of `object_store`.
struct Carried(Mutex<Option<Error>>);

impl Carried {
    fn new(error: Error) -> Carried {
        Carried(Mutex::new(Some(error)))
    }
}

impl fmt::Debug for Carried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0.lock().unwrap_or_else(PoisonError::into_inner), f)
    }
}

impl fmt::Display for Carried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(error) => error.fmt(f),
            None => f.write_str("told already"),
        }
    }
}

impl std::error::Error for Carried {}

/// This crate's error as one of a source of credentials.
pub(super) fn carried(error: Error) -> object_store::Error {
    object_store::Error::Generic { store: "credentials", source: Box::new(Carried::new(error)) }
}

/// The error that was carried, or else what `object_store` itself found wrong with an answer from `url`.
pub(super) fn told(error: &(dyn std::error::Error + 'static), url: &Url) -> Error {
    let mut cause = Some(error);
    while let Some(here) = cause {
        if let Some(Carried(inside)) = here.downcast_ref()
            && let Some(error) = inside.lock().unwrap_or_else(PoisonError::into_inner).take()
        {
            return error;
        }
        cause = here.source();
    }
    Error::Protocol {
        url: SafeUrl::from(url),
        what: crate::secret::redacted(&error.to_string()).into_owned(),
    }
}
