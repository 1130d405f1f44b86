//! Who is let in: before anything of a body is read.
//!
//! * `Host` must name this machine where no key is set: a web page can let its own name point here (DNS rebinding).
//! * A key, in constant time; not for `/health` and the page, which say nothing about anybody.
//! * Web pages of other origins only where they are allowed, exactly (<https://fetch.spec.whatwg.org/#http-cors-protocol>).

use super::api_error::ApiError;
use super::body::header_text;
use super::log::Record;
use super::options::Access;
use super::page;
use super::state::ServerState;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::net::IpAddr;
use std::sync::Arc;
use subtle::ConstantTimeEq;

/// The path that tells whether the models are loaded.
pub(crate) const HEALTH: &str = "/health";

/// Methods that a web page may use.
const METHODS: HeaderValue = HeaderValue::from_static("GET, POST");

/// Seconds for which a browser may remember that.
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");

/// Lets a request in or refuses it, and writes it down.
pub(crate) async fn gate(
    State(state): State<Arc<ServerState>>,
    mut request: Request,
    next: Next,
) -> Response {
    let record = Arc::new(Record::new(Arc::clone(&state), request.method().clone(), request.uri().path()));
    request.extensions_mut().insert(Arc::clone(&record));
    let access = &state.options.access;
    let origin = allowed_origin(access, request.headers());
    let door = door(&state, request.uri().path());
    let mut response = match check(access, &request, door, origin.as_ref()) {
        Ok(Passage::Preflight) => preflight(request.headers()),
        Ok(Passage::Through) => next.run(request).await,
        Err(error) => error.into_response(),
    };
    if !access.origins.is_empty() {
        response.headers_mut().append(header::VARY, HeaderValue::from_static("origin"));
    }
    if let Some(origin) = origin {
        response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    }
    record.set_status(response.status());
    response
}

enum Passage {
    Through,
    /// A browser asks whether a page may ask.
    Preflight,
}

/// What a path asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Door {
    /// It needs no key.
    Open,
    Locked,
}

fn door(state: &ServerState, path: &str) -> Door {
    let open = path == HEALTH || (state.options.page && page::has(path));
    if open { Door::Open } else { Door::Locked }
}

fn check(
    access: &Access,
    request: &Request,
    door: Door,
    origin: Option<&HeaderValue>,
) -> Result<Passage, ApiError> {
    let headers = request.headers();
    if access.keys.is_empty() && !names_this_machine(access, request) {
        return Err(ApiError::host());
    }
    let asks = headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    if origin.is_some() && request.method() == Method::OPTIONS && asks {
        return Ok(Passage::Preflight);
    }
    if door == Door::Open || access.keys.is_empty() || has_key(access, headers) {
        Ok(Passage::Through)
    } else {
        Err(ApiError::key())
    }
}

fn has_key(access: &Access, headers: &HeaderMap) -> bool {
    let given = header_text(headers, header::AUTHORIZATION).and_then(|text| text.split_once(' '));
    let Some((scheme, given)) = given else { return false };
    let given = given.trim().as_bytes();
    // All keys are looked at, whichever fits.
    let fits =
        access.keys.iter().fold(subtle::Choice::from(0), |fits, key| fits | key.as_bytes().ct_eq(given));
    scheme.eq_ignore_ascii_case("bearer") && bool::from(fits)
}

fn names_this_machine(access: &Access, request: &Request) -> bool {
    let given = header_text(request.headers(), header::HOST);
    // Browsers always say it.
    let Some(given) = given else { return request.version() < Version::HTTP_11 };
    let name = without_port(given);
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    let lower = name.to_ascii_lowercase();
    lower == "localhost"
        || lower.ends_with(".localhost")
        || address.is_ok_and(|address| address.is_loopback())
        || access.hosts.iter().any(|host| host.eq_ignore_ascii_case(name))
}

/// `localhost:80` → `localhost`, `[::1]:80` → `[::1]`
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

fn allowed_origin(access: &Access, headers: &HeaderMap) -> Option<HeaderValue> {
    let origin = headers.get(header::ORIGIN)?;
    access.origins.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes()).then(|| origin.clone())
}

fn preflight(headers: &HeaderMap) -> Response {
    let asked = headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS);
    let asked = asked.cloned().unwrap_or(HeaderValue::from_static("authorization, content-type"));
    let answers: [(HeaderName, HeaderValue); 3] = [
        (header::ACCESS_CONTROL_ALLOW_METHODS, METHODS),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, asked),
        (header::ACCESS_CONTROL_MAX_AGE, MAX_AGE),
    ];
    (StatusCode::NO_CONTENT, answers, Body::empty()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passes(access: &Access, headers: &[(&str, &str)]) -> bool {
        let mut request = Request::builder().uri("/v1/models");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        check(access, &request.body(Body::empty()).unwrap(), Door::Locked, None).is_ok()
    }

    #[test]
    fn without_a_key_the_host_is_this_machine() {
        let access = Access { hosts: vec!["box.lan".into()], ..Access::default() };
        for host in [
            "localhost",
            "LOCALHOST:80",
            "x.localhost",
            "127.0.0.1:8080",
            "127.8.8.8",
            "[::1]:1",
            "Box.lan:3",
        ] {
            assert!(passes(&access, &[("host", host)]), "{host}");
        }
        for host in ["evil.example", "localhost.evil.example", "192.168.1.1", "[::2]:1", "", "box.lan.evil"] {
            assert!(!passes(&access, &[("host", host)]), "{host}");
        }
        assert!(!passes(&access, &[]), "HTTP/1.1 has a host");
    }

    #[test]
    fn a_key_is_whole_and_its_scheme_is_bearer() {
        let access = Access { keys: vec!["other".into(), "secret".into()], ..Access::default() };
        for given in ["Bearer secret", "bearer secret", "BEARER  secret", "Bearer other"] {
            assert!(passes(&access, &[("authorization", given), ("host", "evil.example")]), "{given}");
        }
        for given in ["Bearer secretx", "Bearer secre", "Bearer ", "Bearer", "Basic secret", "secret", ""] {
            assert!(!passes(&access, &[("authorization", given)]), "{given}");
        }
        assert!(!passes(&access, &[]));
    }
}
