//! HTTP itself.

use crate::client::{post, request};
use crate::server::{CHAT, Server, TEXT, chat, completion};
use serde_json::json;
use std::io::Read;

const JSON: (&str, &str) = ("Content-Type", "application/json");

fn body() -> Vec<u8> {
    chat("Hi", json!({"max_tokens": 2})).to_string().into_bytes()
}

#[test]
fn paths_and_methods_are_told_apart() {
    let server = Server::start(&[]);
    for (method, path, status, allow) in [
        ("GET", CHAT, 405, Some("POST")),
        ("DELETE", "/v1/models", 405, Some("GET,HEAD")),
        ("GET", "/nope", 404, None),
        ("POST", "/", 405, Some("GET,HEAD")),
        ("POST", "/page", 404, None),
        ("POST", "/v1/embeddings", 404, None),
    ] {
        let answer = server.send(&request(method, path, &[], b""));
        assert_eq!((answer.status, answer.header("allow")), (status, allow), "{method} {path}");
        assert_eq!(answer.param(), None);
    }
    let mut line = server.open();
    line.send(&request("HEAD", "/health", &[("Connection", "close")], b""));
    assert_eq!(line.head().status, 200);
    let mut rest = Vec::new();
    line.0.read_to_end(&mut rest).unwrap();
    assert!(rest.is_empty(), "HEAD has no body");
}

#[test]
fn a_body_is_plain_json() {
    let server = Server::start(&[]);
    for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"] {
        let answer = server.send(&request("POST", CHAT, &[("Content-Type", kind)], &body()));
        assert_eq!((answer.status, answer.param()), (415, None), "{kind}");
    }
    assert_eq!(server.send(&request("POST", CHAT, &[], &body())).status, 415, "no type at all");
    let encoded = [JSON, ("Content-Encoding", "gzip")];
    assert_eq!(server.send(&request("POST", CHAT, &encoded, &body())).status, 415);
    let charset = [("Content-Type", "Application/JSON; charset=utf-8"), ("Content-Encoding", "identity")];
    assert_eq!(server.send(&request("POST", CHAT, &charset, &body())).status, 200);
}

#[test]
fn bodies_and_heads_have_an_end() {
    let server = Server::start(&["--max-body", "20000"]);
    let large = chat(&"a ".repeat(20_000), json!({})).to_string();
    let answer = server.send(&request("POST", CHAT, &[JSON], large.as_bytes()));
    assert_eq!((answer.status, answer.param()), (413, None));
    // Without a length beforehand it is noticed on the way.
    let mut line = server.open();
    line.send(&request("POST", CHAT, &[JSON, ("Transfer-Encoding", "chunked")], b""));
    line.send(format!("{:x}\r\n{large}\r\n0\r\n\r\n", large.len()).as_bytes());
    assert_eq!(line.answer().status, 413);
    // Who asks first is told before sending.
    let mut line = server.open();
    let head = request("POST", CHAT, &[JSON, ("Expect", "100-continue"), ("Content-Length", "9999999")], b"");
    line.send(&head);
    assert_eq!(line.answer().status, 413);

    let big = "a".repeat(60_000);
    assert_eq!(server.send(&request("GET", "/v1/models", &[("X-Big", &big)], b"")).status, 431);
    let many: Vec<String> = (0..200).map(|n| format!("X-{n}")).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|name| (name.as_str(), "a")).collect();
    assert_eq!(server.send(&request("GET", "/v1/models", &many, b"")).status, 431);
    assert_eq!(server.get("/health").status, 200);
}

#[test]
fn bodies_come_in_chunks_or_after_a_question() {
    let server = Server::start(&[]);
    let mut line = server.open();
    line.send(&request("POST", CHAT, &[JSON, ("Transfer-Encoding", "chunked")], b""));
    for part in body().chunks(17) {
        line.send(format!("{:x}\r\n", part.len()).as_bytes());
        line.send(&[part, b"\r\n"].concat());
    }
    line.send(b"0\r\n\r\n");
    assert_eq!(line.answer().status, 200);

    let length = body().len().to_string();
    line.send(&request("POST", CHAT, &[JSON, ("Expect", "100-continue"), ("Content-Length", &length)], b""));
    assert_eq!(line.head().status, 100, "on the same connection");
    line.send(&body());
    assert_eq!(line.answer().status, 200);
}

#[test]
fn a_length_that_contradicts_the_chunks_smuggles_nothing() {
    let server = Server::start(&[]);
    let hidden = request("GET", "/nope", &[], b"");
    let mut line = server.open();
    let length = (hidden.len() + 5).to_string();
    let head = [
        JSON,
        ("Content-Length", length.as_str()),
        ("Transfer-Encoding", "chunked"),
        ("Connection", "close"),
    ];
    line.send(&[request("POST", CHAT, &head, b""), b"0\r\n\r\n".to_vec(), hidden].concat());
    let mut all = String::new();
    line.0.read_to_string(&mut all).unwrap();
    assert!(all.starts_with("HTTP/1.1 400 "), "{all}");
    assert_eq!(all.matches("HTTP/1.1 ").count(), 1, "{all}");
}

#[test]
fn connections_are_kept_and_requests_answered_in_order() {
    let server = Server::start(&[]);
    let mut line = server.open();
    for stream in [false, true, false] {
        line.send(&post(CHAT, &chat("Hi", json!({"max_tokens": 2, "stream": stream}))));
        assert_eq!(line.answer().status, 200, "stream: {stream}");
    }
    let two = [request("GET", "/v1/models", &[], b""), request("GET", "/nope", &[], b"")].concat();
    line.send(&two);
    assert_eq!((line.answer().status, line.answer().status), (200, 404));
}

#[test]
fn http_1_0_gets_no_chunks() {
    let server = Server::start(&[]);
    for stream in [false, true] {
        let body = completion("The", json!({"stream": stream})).to_string();
        let head = format!(
            "POST {TEXT} HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut line = server.open();
        line.send(head.as_bytes());
        let answer = line.answer();
        assert_eq!((answer.status, answer.header("transfer-encoding")), (200, None));
        assert_eq!(answer.text().ends_with("data: [DONE]\n\n"), stream);
        assert_eq!(line.line(), "", "closed");
    }
}

#[test]
fn half_a_request_holds_nobody_up() {
    let server = Server::start(&["--max-sequences", "1"]);
    let halves: Vec<_> = (0..20)
        .map(|n| {
            let mut line = server.open();
            let whole = post(CHAT, &chat("Hi", json!({})));
            line.send(&whole[..if n % 2 == 0 { 20 } else { whole.len() - 5 }]);
            line
        })
        .collect();
    assert_eq!(server.post(CHAT, &chat("Hi", json!({}))).status, 200);
    drop(halves);
}
