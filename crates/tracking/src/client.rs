//! Requests to a tracking server.

use crate::error::TrackingError;
use crate::settings::{Login, MlflowSettings};
use reqwest::{Method, RequestBuilder, Response, Url, redirect};
use serde_json::Value;

/// What of an answer is read. Those that are asked for have some kilobytes.
const LONGEST_ANSWER: usize = 4 << 20;

/// Of a message that is repeated.
const LONGEST_MESSAGE: usize = 300;

const AGENT: &str = concat!("olive/", env!("CARGO_PKG_VERSION"));

/// One server.
pub(crate) struct Client {
    http: reqwest::Client,
    server: Url,
    login: Login,
}

/// Why a request came to nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("{0}")]
    Unanswered(String),
    /// `code` is MLflow's `error_code`.
    #[error("the server answers {status}{}{message}", if message.is_empty() { "" } else { ": " })]
    Refused { status: u16, code: String, message: String },
    #[error("the answer is not one of MLflow: {0}")]
    Odd(&'static str),
}

impl Failure {
    /// Whether the same request would be refused again.
    pub(crate) fn is_final(&self) -> bool {
        matches!(self, Failure::Refused { status: 400, .. })
    }

    pub(crate) fn has_code(&self, expected: &str) -> bool {
        matches!(self, Failure::Refused { code, .. } if code == expected)
    }
}

impl Client {
    /// # Errors
    /// [`TrackingError::Connection`]: no certificates can be read, for example.
    pub(crate) fn new(settings: &MlflowSettings) -> Result<Client, TrackingError> {
        let http = reqwest::Client::builder()
            .user_agent(AGENT)
            .timeout(settings.timeout)
            // What is sent to one server is not meant for another.
            .redirect(redirect::Policy::none())
            .build()
            .map_err(|error| TrackingError::Connection(reason(error)))?;
        Ok(Client { http, server: settings.server.clone(), login: settings.login.clone() })
    }

    pub(crate) async fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Value, Failure> {
        self.send(self.request(Method::GET, path)?.query(query)).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        let request = self.request(Method::POST, path)?;
        self.send(request.header("content-type", "application/json").body(body.to_string())).await
    }

    fn request(&self, method: Method, path: &str) -> Result<RequestBuilder, Failure> {
        let url = self.server.join(&format!("api/2.0/mlflow/{path}"));
        let url = url.map_err(|_| Failure::Odd("its address cannot be extended"))?;
        let request = self.http.request(method, url);
        Ok(match &self.login {
            Login::None => request,
            Login::Token(token) => request.bearer_auth(token),
            Login::Password { user, password } => request.basic_auth(user, Some(password)),
        })
    }

    async fn send(&self, request: RequestBuilder) -> Result<Value, Failure> {
        let unanswered = |error: reqwest::Error| Failure::Unanswered(reason(error));
        let response = request.send().await.map_err(unanswered)?;
        let status = response.status();
        let body = body(response).await.map_err(unanswered)?.ok_or(Failure::Odd("it is too long"))?;
        let json = serde_json::from_slice::<Value>(&body);
        if status.is_success() {
            return json.map_err(|_| Failure::Odd("it is not JSON"));
        }
        let text = |name: &str| {
            let text = json.as_ref().ok().and_then(|json| json[name].as_str()).unwrap_or_default();
            text.chars().take(LONGEST_MESSAGE).collect()
        };
        Err(Failure::Refused { status: status.as_u16(), code: text("error_code"), message: text("message") })
    }
}

/// `None` if it is too long.
async fn body(mut response: Response) -> reqwest::Result<Option<Vec<u8>>> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > LONGEST_ANSWER {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body))
}

/// The innermost cause, which says what is wrong; without the address, which the reader knows.
fn reason(error: reqwest::Error) -> String {
    let is_timeout = error.is_timeout();
    let error = error.without_url();
    if is_timeout {
        return "no answer in time".to_owned();
    }
    let mut inner: &dyn std::error::Error = &error;
    while let Some(cause) = inner.source() {
        inner = cause;
    }
    inner.to_string()
}
