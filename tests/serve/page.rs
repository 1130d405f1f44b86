//! The page to talk to the models, as files; `scripts/check-chat-page` opens it in a browser.

use crate::client::{Answer, request};
use crate::server::Server;
use crate::support::binary::olive_process;
use crate::support::quickstart::base_model;
use std::collections::BTreeSet;

/// What `text` refers to between quotes that begins like this.
fn named(text: &str, beginning: &str) -> BTreeSet<String> {
    text.split('"').filter(|part| part.starts_with(beginning)).map(str::to_owned).collect()
}

fn check_headers(answer: &Answer) {
    let policy = answer.header("content-security-policy").expect("a policy");
    for directive in [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
    ] {
        assert!(policy.split("; ").any(|part| part == directive), "{directive}: {policy}");
    }
    assert!(!policy.contains("unsafe") && !policy.contains('*') && !policy.contains("http"), "{policy}");
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
    assert_eq!(answer.header("x-frame-options"), Some("DENY"));
    assert_eq!(answer.header("access-control-allow-origin"), None);
}

#[test]
fn the_page_and_its_files_come_with_a_strict_policy() {
    let server = Server::start(&[]);
    let page = server.get("/");
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    check_headers(&page);
    let text = page.text();
    let inline = |word: &str| word.contains('=') && (word.starts_with("on") || word.starts_with("style"));
    assert!(
        !text.split_whitespace().any(inline) && !text.contains("://"),
        "nothing inline, nothing from elsewhere"
    );
    let mut size = text.len();
    let mut waiting: Vec<String> = named(&text, "page/").into_iter().collect();
    let mut seen = BTreeSet::new();
    while let Some(file) = waiting.pop() {
        if !seen.insert(file.clone()) {
            continue;
        }
        let answer = server.get(&format!("/{file}"));
        let kind = match file.rsplit('.').next() {
            Some("js") => "text/javascript; charset=utf-8",
            Some("css") => "text/css; charset=utf-8",
            _ => "image/svg+xml",
        };
        assert_eq!((answer.status, answer.header("content-type")), (200, Some(kind)), "{file}");
        check_headers(&answer);
        let text = answer.text();
        assert!(!text.contains("innerHTML") && !text.contains("url("), "{file}");
        size += text.len();
        waiting.extend(named(&text, "./").iter().map(|name| name.replace("./", "page/")));
    }
    assert!(seen.len() >= 6 && size <= 40 << 10, "{size} bytes in {seen:?}");
}

#[test]
fn the_page_is_read_only_and_can_be_left_out() {
    let server = Server::start(&[]);
    let answer = server.send(&request("POST", "/", &[], b""));
    assert_eq!((answer.status, answer.header("allow")), (405, Some("GET,HEAD")));
    let mut line = server.open();
    line.send(&request("HEAD", "/", &[("Connection", "close")], b""));
    let head = line.head();
    assert_eq!((head.status, line.line()), (200, String::new()), "HEAD has no body");
    check_headers(&head);
    let evil = server.send(&request("GET", "/", &[("Host", "evil.example")], b""));
    assert_eq!(evil.status, 403, "the page, too, is for those who know the server's name");

    let server = Server::start(&["--no-page"]);
    for path in ["/", "/page/style.css"] {
        assert_eq!((server.get(path).status, server.get(path).param()), (404, None), "{path}");
    }
}

#[test]
fn the_page_asks_for_a_key_and_needs_none() {
    let with_key = |more: &[&str]| {
        let mut command = olive_process();
        command.args(["serve", "--port", "0"]).arg(base_model()).args(more);
        Server::run(command.env("OLIVE_API_KEY", "sk-a-long-test-key"))
    };
    let server = with_key(&[]);
    for path in ["/", "/page/main.js", "/page/style.css"] {
        assert_eq!(server.get(path).status, 200, "{path}");
    }
    for path in ["/page/", "/page/other.js", "/page/../v1/models", "//", "/v1/models"] {
        assert_eq!(server.get(path).status, 401, "{path}");
    }
    assert_eq!(with_key(&["--no-page"]).get("/").status, 401, "as any other path");
}
