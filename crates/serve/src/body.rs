//! Reading the body of a request.

use super::api_error::ApiError;
use axum::body::Body;
use axum::http::{HeaderMap, Request, header};
use futures_util::StreamExt;
use std::time::Duration;
use tokio::time::timeout;

/// For the rest of a body that is too large: who has not sent it all may not read the answer.
const DRAIN_TIME: Duration = Duration::from_secs(5);

/// Most bytes of such a rest.
const DRAIN: usize = 64 << 20;

/// The bytes of a body of JSON, which must arrive within `time`.
pub(crate) async fn read(request: Request<Body>, limit: usize, time: Duration) -> Result<Vec<u8>, ApiError> {
    check_headers(request.headers())?;
    let length = header_text(request.headers(), header::CONTENT_LENGTH).and_then(|text| text.parse().ok());
    let waits = request.headers().contains_key(header::EXPECT);
    let body = request.into_body();
    if length.is_some_and(|length: u64| length > limit as u64) {
        // Who waits to be told sends nothing of it.
        if !waits {
            drain(body).await;
        }
        return Err(ApiError::large_body(limit));
    }
    timeout(time, collect(body, limit)).await.unwrap_or_else(|_| Err(ApiError::slow_body()))
}

fn check_headers(headers: &HeaderMap) -> Result<(), ApiError> {
    let encoding = header_text(headers, header::CONTENT_ENCODING).unwrap_or("identity");
    if !encoding.eq_ignore_ascii_case("identity") {
        return Err(ApiError::media_type("a `Content-Encoding` is not supported: send the body as it is"));
    }
    let kind = header_text(headers, header::CONTENT_TYPE).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("application/json") {
        return Err(ApiError::media_type("the `Content-Type` must be application/json"));
    }
    Ok(())
}

pub(crate) fn header_text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

async fn collect(body: Body, limit: usize) -> Result<Vec<u8>, ApiError> {
    let mut parts = body.into_data_stream();
    let mut bytes = Vec::new();
    while let Some(part) = parts.next().await {
        let part =
            part.map_err(|_| ApiError::body("the body ended early, or is not what its headers say"))?;
        if bytes.len() + part.len() > limit {
            drain(Body::from_stream(parts)).await;
            return Err(ApiError::large_body(limit));
        }
        bytes.extend_from_slice(&part);
    }
    Ok(bytes)
}

/// Reads on for a while, and keeps nothing.
async fn drain(body: Body) {
    let mut parts = body.into_data_stream();
    let mut read = 0;
    let reading = async {
        while let Some(Ok(part)) = parts.next().await {
            read += part.len();
            if read > DRAIN {
                break;
            }
        }
    };
    // Nothing depends on whether it came to an end.
    let _ = timeout(DRAIN_TIME, reading).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Bytes;
    use futures_util::stream;
    use std::convert::Infallible;

    #[tokio::test]
    async fn a_body_that_does_not_arrive_is_given_up() {
        let parts = stream::iter([Ok::<_, Infallible>(Bytes::from("{\"a\":"))]).chain(stream::pending());
        let request = Request::builder().header(header::CONTENT_TYPE, "application/json");
        let request = request.body(Body::from_stream(parts)).unwrap();
        assert_eq!(read(request, 100, Duration::from_millis(20)).await, Err(ApiError::slow_body()));
    }
}
