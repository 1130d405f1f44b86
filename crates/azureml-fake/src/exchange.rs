//! Requests and answers, as the services of this crate see them.

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::response::Response;
use futures_util::stream;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A request that was read to its end.
#[derive(Debug, Clone)]
pub struct Exchange {
    pub method: String,
    /// Decoded, with a slash in front.
    pub path: String,
    pub query: BTreeMap<String, String>,
    /// Names are in lower case.
    pub headers: BTreeMap<String, String>,
    pub body: Bytes,
}

/// Larger bodies are not read. Blocks of blobs have some megabytes.
const LARGEST_BODY: usize = 1 << 30;

impl Exchange {
    /// Reads a request. A body that does not come to its end is empty.
    pub async fn read(request: Request) -> Exchange {
        let (head, body) = request.into_parts();
        let header = |value: &axum::http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        Exchange {
            method: head.method.to_string(),
            path: decoded(head.uri.path()),
            query: head.uri.query().unwrap_or_default().split('&').filter_map(pair).collect(),
            headers: head.headers.iter().map(|(name, value)| (name.to_string(), header(value))).collect(),
            body: axum::body::to_bytes(body, LARGEST_BODY).await.unwrap_or_default(),
        }
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    pub fn query(&self, name: &str) -> &str {
        self.query.get(name).map_or("", String::as_str)
    }

    /// The JSON of the body; `null` if it has none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// The pairs of a form.
    pub fn form(&self) -> BTreeMap<String, String> {
        String::from_utf8_lossy(&self.body).split('&').filter_map(pair).collect()
    }

    /// The bearer token.
    pub fn bearer(&self) -> Option<&str> {
        self.header("authorization").strip_prefix("Bearer ")
    }
}

fn pair(text: &str) -> Option<(String, String)> {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    (!name.is_empty()).then(|| (decoded(&name.replace('+', " ")), decoded(&value.replace('+', " "))))
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Bytes,
    is_cut: bool,
}

impl Reply {
    pub fn status(status: u16) -> Reply {
        Reply { status, headers: Vec::new(), body: Bytes::new(), is_cut: false }
    }

    pub fn json(status: u16, body: &Value) -> Reply {
        Reply::status(status).header("content-type", "application/json").body(body.to_string())
    }

    pub fn xml(status: u16, body: String) -> Reply {
        Reply::status(status).header("content-type", "application/xml").body(body)
    }

    /// A refusal of the control plane and of most other services.
    pub fn refusal(status: u16, code: &str, message: &str) -> Reply {
        let error = json!({"error": {"code": code, "message": message, "target": null, "details": []}});
        Reply::json(status, &error).header("x-ms-request-id", "fake-request")
    }

    pub fn header(mut self, name: &str, value: impl Into<String>) -> Reply {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub fn body(mut self, body: impl Into<Bytes>) -> Reply {
        self.body = body.into();
        self
    }

    /// The same, of which nothing arrives but the headers.
    pub fn cut(self) -> Reply {
        Reply { is_cut: true, ..self }
    }

    /// As the server sends it.
    pub fn into_response(self) -> Response {
        let mut response = Response::builder().status(self.status);
        for (name, value) in self.headers {
            response = response.header(name, value);
        }
        let body = if self.is_cut {
            let gone = std::io::Error::other("the connection is gone");
            Body::from_stream(stream::iter([Err::<Bytes, _>(gone)]))
        } else {
            Body::from(self.body)
        };
        response.body(body).unwrap_or_else(|_| Response::new(Body::from("a header of the fake is none")))
    }
}
