//! Errors as OpenAI's clients know them.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// Longest part of a request that a message repeats, in characters.
const QUOTED: usize = 60;

/// A refusal, or a failure.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ApiError {
    pub(crate) status: StatusCode,
    message: String,
    /// The field of the request that is wrong.
    param: Option<String>,
    code: Option<&'static str>,
}

impl ApiError {
    fn new(status: StatusCode, message: impl Into<String>) -> ApiError {
        ApiError { status, message: message.into(), param: None, code: None }
    }

    /// `param` is not what it should be.
    pub(crate) fn invalid(param: &str, message: impl Into<String>) -> ApiError {
        ApiError { param: Some(param.to_owned()), ..ApiError::new(StatusCode::BAD_REQUEST, message) }
    }

    /// `param` asks for what this server does not do.
    pub(crate) fn unsupported(param: &str, message: impl Into<String>) -> ApiError {
        ApiError { code: Some("unsupported_parameter"), ..ApiError::invalid(param, message) }
    }

    pub(crate) fn body(message: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::BAD_REQUEST, message)
    }

    pub(crate) fn too_long(param: &str, tokens: usize, context: usize) -> ApiError {
        let message = format!(
            "this model's maximum context length is {context} tokens; the prompt has {tokens}, and an answer needs room for \
             at least one"
        );
        ApiError { code: Some("context_length_exceeded"), ..ApiError::invalid(param, message) }
    }

    pub(crate) fn model_not_found(name: &str) -> ApiError {
        let message = format!("the model `{}` does not exist", quoted(name));
        let code = Some("model_not_found");
        ApiError { param: Some("model".into()), code, ..ApiError::new(StatusCode::NOT_FOUND, message) }
    }

    pub(crate) fn unknown_path() -> ApiError {
        ApiError::new(StatusCode::NOT_FOUND, "there is nothing at this path")
    }

    pub(crate) fn method() -> ApiError {
        ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "this path is not for this method")
    }

    pub(crate) fn key() -> ApiError {
        let message = "an API key is needed: `Authorization: Bearer KEY`";
        ApiError { code: Some("invalid_api_key"), ..ApiError::new(StatusCode::UNAUTHORIZED, message) }
    }

    pub(crate) fn host() -> ApiError {
        let message = "the `Host` header does not name this server; `--allowed-host` allows more names";
        ApiError::new(StatusCode::FORBIDDEN, message)
    }

    pub(crate) fn slow_body() -> ApiError {
        ApiError::new(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time")
    }

    pub(crate) fn large_body(limit: usize) -> ApiError {
        let message = format!("the body is larger than {limit} bytes");
        ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, message)
    }

    pub(crate) fn media_type(message: &str) -> ApiError {
        ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message)
    }

    pub(crate) fn queue_full() -> ApiError {
        ApiError::new(StatusCode::TOO_MANY_REQUESTS, "too many requests are waiting")
    }

    pub(crate) fn loading() -> ApiError {
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "the model is being loaded")
    }

    pub(crate) fn stopping() -> ApiError {
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "the server is shutting down")
    }

    /// What the log says more of.
    pub(crate) fn failed() -> ApiError {
        let message = "the answer could not be computed; the server's log says why";
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, message)
    }

    /// The object that clients read.
    pub(crate) fn to_json(&self) -> Value {
        let kind = match self.status {
            StatusCode::UNAUTHORIZED => "authentication_error",
            StatusCode::NOT_FOUND => "not_found_error",
            StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
            status if status.is_server_error() => "server_error",
            _ => "invalid_request_error",
        };
        json!({"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}})
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = json_response(self.status, &self.to_json());
        let headers = response.headers_mut();
        match self.status {
            StatusCode::UNAUTHORIZED => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        response
    }
}

/// A JSON document as an answer.
pub(crate) fn json_response(status: StatusCode, document: &Value) -> Response {
    const JSON: [(header::HeaderName, &str); 1] = [(header::CONTENT_TYPE, "application/json")];
    (status, JSON, document.to_string()).into_response()
}

/// A part of a request, as a message repeats it: short, without control characters.
pub(crate) fn quoted(text: &str) -> String {
    let mut short: String = text.chars().take(QUOTED).flat_map(char::escape_debug).collect();
    if text.chars().nth(QUOTED).is_some() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_has_the_four_keys_and_messages_are_short() {
        let errors = [ApiError::key(), ApiError::failed(), ApiError::model_not_found(&"x\n".repeat(9000))];
        for error in errors {
            let json = error.to_json();
            let keys: Vec<&String> = json["error"].as_object().unwrap().keys().collect();
            assert_eq!(keys, ["message", "type", "param", "code"]);
            let message = json["error"]["message"].as_str().unwrap();
            assert!(message.len() < 300 && !message.contains('\n'), "{message}");
        }
    }
}
