//! Operations that take longer than an answer: the service gives an address to ask until they are done.
//!
//! Source: ARM's asynchronous operations, `final-state-via: location`.

use crate::error::{Error, Result};
use crate::http::{Call, Client};
use crate::retry::retry_after;
use crate::safe_url::SafeUrl;
use crate::transport::Answer;
use reqwest::{Method, Url};
use std::time::Duration;

/// Between two questions, where the service does not say.
const PAUSE: Duration = Duration::from_secs(30);

/// An operation that takes longer is not waited for.
const LONGEST: Duration = Duration::from_secs(3600);

const ACCEPTED: u16 = 202;

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
        let mut location = None;
        let mut waited = Duration::ZERO;
        while answer.status == ACCEPTED {
            // The address may move; where an answer has none, the last one holds.
            location = next_location(&answer)?.or(location);
            let Some(url) = location.clone() else {
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
        }
        Ok(())
    }
}

fn next_location(answer: &Answer) -> Result<Option<Url>> {
    let Some(text) = answer.header("location") else { return Ok(None) };
    match answer.url.join(text) {
        Ok(url) => Ok(Some(url)),
        Err(_) => Err(answer.unexpected("`Location` is no address")),
    }
}
