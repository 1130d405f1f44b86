//! Who may ask, and what the log says.

use crate::client::request;
use crate::server::{CHAT, Server, chat};
use crate::support::binary::{olive, olive_process, text};
use crate::support::quickstart::base_model;
use serde_json::json;

const KEY: &str = "sk-a-long-test-key";

fn with_key() -> Server {
    let mut command = olive_process();
    Server::run(command.args(["serve", "--port", "0"]).arg(base_model()).env("OLIVE_API_KEY", KEY))
}

#[test]
fn a_key_opens_all_but_health() {
    let server = with_key();
    let get = |path: &str, authorization: &str| {
        server.send(&request("GET", path, &[("Authorization", authorization), ("Host", "any.example")], b""))
    };
    for wrong in ["", "Bearer ", "Bearer wrong", &format!("Bearer {KEY}x"), &format!("Basic {KEY}"), KEY] {
        for path in ["/v1/models", "/metrics", "/nope"] {
            let answer = get(path, wrong);
            assert_eq!(
                (answer.status, answer.header("www-authenticate")),
                (401, Some("Bearer")),
                "{path} {wrong:?}"
            );
            let error = answer.json()["error"].clone();
            assert_eq!(
                (&error["code"], &error["type"]),
                (&json!("invalid_api_key"), &json!("authentication_error"))
            );
            assert!(!answer.text().contains(KEY));
        }
    }
    assert_eq!(get("/health", "").status, 200);
    for right in [format!("Bearer {KEY}"), format!("bearer {KEY}")] {
        assert_eq!(get("/v1/models", &right).status, 200);
        assert_eq!(get("/metrics", &right).status, 200);
    }
    // A body that nobody may send is not waited for.
    let head = [("Content-Type", "application/json"), ("Content-Length", "1000000")];
    assert_eq!(server.send(&request("POST", CHAT, &head, b"")).status, 401);
    assert!(!server.log().contains(KEY));
}

#[test]
fn keys_come_from_a_file_too() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("keys");
    std::fs::write(&file, format!("first-key-of-all\n\n{KEY}\n")).unwrap();
    let server = Server::start(&["--api-key-file", file.to_str().unwrap()]);
    for key in ["first-key-of-all", KEY] {
        let headers = [("Authorization", format!("Bearer {key}"))];
        let headers: Vec<(&str, &str)> =
            headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        assert_eq!(server.send(&request("GET", "/v1/models", &headers, b"")).status, 200, "{key}");
    }
    assert_eq!(server.get("/v1/models").status, 401);
}

#[test]
fn other_machines_need_a_key_or_a_word() {
    let serve = |more: &[&str]| {
        let output =
            olive().args(["serve", "--port", "0", "--host", "0.0.0.0"]).args(more).arg("nowhere").output();
        let output = output.unwrap();
        (output.status.code(), text(&output.stderr))
    };
    let (code, told) = serve(&[]);
    assert_eq!(code, Some(2), "{told}");
    assert!(told.contains("no key is set") && told.contains("--insecure"), "{told}");
    // With one of the two it gets as far as the model, which is not there.
    for more in [["--insecure", "--quiet"], ["--api-key", KEY]] {
        let (_, told) = serve(&more);
        assert!(told.contains("nowhere"), "{told}");
    }
    let (_, told) = serve(&["--api-key", "two words"]);
    assert!(told.contains("API key"), "{told}");
}

#[test]
#[cfg(target_os = "linux")]
fn a_sandbox_has_no_network() {
    let output = olive().args(["--sandbox", "serve", "--port", "0"]).arg(base_model()).output().unwrap();
    let told = text(&output.stderr);
    // A kernel without Landlock refuses `--sandbox` itself.
    assert!(!output.status.success() && output.stdout.is_empty(), "{told}");
    assert!(told.contains("--sandbox"), "{told}");
}

#[test]
fn a_page_that_points_its_name_here_is_refused() {
    let server = Server::start(&["--allowed-host", "box.lan"]);
    let status = |host: &str| server.send(&request("GET", "/v1/models", &[("Host", host)], b"")).status;
    assert_eq!(
        [status("localhost:1"), status("127.0.0.1"), status("[::1]:8"), status("BOX.lan:80")],
        [200; 4]
    );
    assert_eq!([status("evil.example"), status("localhost.evil.example"), status("192.168.0.1")], [403; 3]);
}

#[test]
fn web_pages_ask_only_from_origins_that_are_allowed() {
    let preflight = |server: &Server, origin: &str| {
        let headers = [
            ("Origin", origin),
            ("Access-Control-Request-Method", "POST"),
            ("Access-Control-Request-Headers", "content-type"),
        ];
        server.send(&request("OPTIONS", CHAT, &[&headers[..], &[("Connection", "close")]].concat(), b""))
    };
    let closed = Server::start(&[]);
    let answer = preflight(&closed, "https://good.example");
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (405, None));

    let server = Server::start(&["--cors-origin", "https://good.example"]);
    let answer = preflight(&server, "https://good.example");
    assert_eq!(answer.status, 204);
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://good.example"));
    assert_eq!(answer.header("access-control-allow-headers"), Some("content-type"));
    assert_eq!(answer.header("access-control-allow-credentials"), None);
    let get = |origin: &str| server.send(&request("GET", "/v1/models", &[("Origin", origin)], b""));
    assert_eq!(
        get("https://good.example").header("access-control-allow-origin"),
        Some("https://good.example")
    );
    for other in ["https://evil.example", "https://good.example.evil.example", "http://good.example", "null"]
    {
        assert_eq!(get(other).header("access-control-allow-origin"), None, "{other}");
        assert_eq!(preflight(&server, other).status, 405, "{other}");
        assert_eq!(get(other).header("vary"), Some("origin"), "caches keep answers for origins apart");
    }
}

#[test]
fn the_log_has_lines_and_texts_only_where_they_are_wanted() {
    let ask = |server: Server| {
        let body = chat("My\u{1b}[31m secret", json!({"max_tokens": 3, "ignore_eos": true}));
        assert_eq!(server.post(CHAT, &body).status, 200);
        assert_eq!(server.get("/no%0apath?prompt=x").status, 404);
        server.log()
    };
    let log = ask(Server::start(&[]));
    assert!(log.contains("POST /v1/chat/completions 200, ") && log.contains(" 3 generated, "), "{log}");
    assert!(
        log.contains("GET /no%0apath 404, ") && !log.contains("secret") && !log.contains("prompt=x"),
        "{log}"
    );
    let log = ask(Server::start(&["--log-prompts"]));
    assert!(log.contains(" secret") && log.contains("answer: \"") && !log.contains('\u{1b}'), "{log}");
}
