//! Operations that take longer than an answer: the service gives an address to ask until they are done.
//!
//! Source: ARM's asynchronous operations. `Azure-AsyncOperation` is asked for the status that stands in the answer, `Location` until
//! its answer is not 202; where a service gives both, the first says more.

use crate::error::{Error, Result};
use crate::http::{Call, Client};
use crate::retry::retry_after;
use crate::safe_url::SafeUrl;
use crate::transport::Answer;
use reqwest::{Method, Url};
use serde::Deserialize;
use std::time::Duration;

/// Between two questions, where the service does not say.
const PAUSE: Duration = Duration::from_secs(30);

/// An operation that takes longer is not waited for.
const LONGEST: Duration = Duration::from_secs(3600);

const ACCEPTED: u16 = 202;

const STATUS: &str = "Azure-AsyncOperation";
const LOCATION: &str = "Location";

impl Client {
    /// A POST without a body, waited for until what it began is done.
    ///
    /// # Errors
    /// The service refuses, now or later, or the operation takes longer than an hour.
    pub async fn post_operation(&self, call: &Call) -> Result<()> {
        self.operation(Method::POST, call).await
    }

    /// A DELETE, waited for in the same way.
    ///
    /// # Errors
    /// As for [`Client::post_operation`].
    pub async fn delete(&self, call: &Call) -> Result<()> {
        self.operation(Method::DELETE, call).await
    }

    async fn operation(&self, method: Method, call: &Call) -> Result<()> {
        let mut answer = self.send(method, call, None).await?.accepted()?;
        let mut status = address(&answer, STATUS)?;
        let mut location = address(&answer, LOCATION)?;
        let mut is_done = status.is_none() && answer.status != ACCEPTED;
        let mut waited = Duration::ZERO;
        while !is_done {
            let Some(url) = status.clone().or_else(|| location.clone()) else {
                return Err(answer.unexpected("status 202 without `Location`: nothing tells when it is done"));
            };
            let pause = retry_after(&answer.headers, self.transport().now()).unwrap_or(PAUSE);
            waited += pause;
            if waited > LONGEST {
                return Err(Error::Protocol {
                    url: SafeUrl::from(&url),
                    what: "not done after an hour".into(),
                });
            }
            self.transport().wait(pause).await?;
            answer = self.send(Method::GET, &Call::given(url), None).await?.accepted()?;
            // The address may move; where an answer has none, the last one holds.
            if status.is_some() {
                status = address(&answer, STATUS)?.or(status);
                is_done = has_succeeded(&answer)?;
            } else {
                location = address(&answer, LOCATION)?.or(location);
                is_done = answer.status != ACCEPTED;
            }
        }
        Ok(())
    }
}

/// How an operation is, where `Azure-AsyncOperation` is the address to ask.
#[derive(Deserialize)]
struct Progress {
    status: String,
}

/// Whether an operation is done; false while it goes on, in states that each service has its own of.
///
/// # Errors
/// It has failed, or was cancelled.
fn has_succeeded(answer: &Answer) -> Result<bool> {
    let Progress { status } = answer.json()?;
    let is = |state: &str| status.eq_ignore_ascii_case(state);
    if is("Failed") || is("Canceled") {
        return Err(Error::Operation { status, source: Box::new(answer.refusal()) });
    }
    Ok(is("Succeeded"))
}

fn address(answer: &Answer, header: &'static str) -> Result<Option<Url>> {
    let Some(text) = answer.header(header) else { return Ok(None) };
    match answer.url.join(text) {
        Ok(url) => Ok(Some(url)),
        Err(_) => Err(answer.unexpected(format!("`{header}` is no address"))),
    }
}
