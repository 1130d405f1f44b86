//! Answers, and why there is none.

use reqwest::Response;
use reqwest::header::{HeaderMap, LOCATION};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// What of an answer is read: that of `preupload` and the batch of LFS, with addresses for hundreds of parts, is the longest.
const LONGEST: usize = 64 << 20;

/// Of a message that is repeated.
const LONGEST_MESSAGE: usize = 400;

/// What a server said, whatever it was.
#[derive(Debug)]
pub(crate) struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    body: Vec<u8>,
}

/// A status that is none of success.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub status: u16,
    /// What the server says about it, shortened.
    pub message: String,
    /// Where else to ask.
    pub location: Option<String>,
    /// The whole answer, if it is JSON.
    pub json: Value,
}

/// Why a request came to nothing.
#[derive(Debug)]
pub(crate) enum Failure {
    Refused(Box<Refusal>),
    /// Nobody answered, or the connection broke: the server may have done what was asked.
    Lost {
        reason: String,
    },
    /// The storage refuses a file.
    Storage {
        name: String,
        status: u16,
        message: String,
    },
    /// An answer that no hub gives.
    Odd(String),
    /// What is wrong is here.
    Local(olive_core::Error),
}

impl From<olive_core::Error> for Failure {
    fn from(error: olive_core::Error) -> Failure {
        Failure::Local(error)
    }
}

impl Failure {
    pub(crate) fn status(&self) -> Option<u16> {
        match self {
            Failure::Refused(refusal) => Some(refusal.status),
            _ => None,
        }
    }
}

impl From<reqwest::Error> for Failure {
    fn from(error: reqwest::Error) -> Failure {
        Failure::Lost { reason: reason(error) }
    }
}

/// The innermost cause; without the address, which may be signed.
fn reason(error: reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    let error = error.without_url();
    let mut inner: &dyn std::error::Error = &error;
    while let Some(cause) = inner.source() {
        inner = cause;
    }
    inner.to_string()
}

impl Answer {
    pub(crate) async fn read(mut response: Response) -> Result<Answer, Failure> {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            if body.len() + chunk.len() > LONGEST {
                return Err(Failure::Odd("it is too long".to_owned()));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer { status, headers, body })
    }

    /// Itself, if it is a success.
    pub(crate) fn accepted(self) -> Result<Answer, Failure> {
        if (200..300).contains(&self.status) {
            return Ok(self);
        }
        let text =
            |name: &str| self.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let json: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        let said = ["error", "message"].iter().find_map(|key| json[key].as_str().map(str::to_owned));
        let message = said.or_else(|| text("x-error-message")).unwrap_or_default();
        Err(Failure::Refused(Box::new(Refusal {
            status: self.status,
            message: message.chars().take(LONGEST_MESSAGE).collect(),
            location: text(LOCATION.as_str()),
            json,
        })))
    }

    /// The value that it holds; `what` is what the hub was asked for.
    pub(crate) fn json<T: DeserializeOwned>(&self, what: &str) -> Result<T, Failure> {
        serde_json::from_slice(&self.body).map_err(|error| Failure::Odd(format!("{what}: {error}")))
    }
}
