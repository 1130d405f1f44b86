//! Requests that are refused: always by the name of what is wrong, never with a 500.

use crate::client::request;
use crate::server::{CHAT, Server, TEXT, chat, completion};
use crate::support::quickstart::base_model;
use serde_json::{Value, json};

#[test]
fn a_wrong_field_is_named() {
    let server = Server::start(&[]);
    let long = "x".repeat(100_000);
    for (field, value, param) in [
        ("temperature", json!("hot"), "temperature"),
        ("temperature", json!(2.5), "temperature"),
        ("temperature", json!(true), "temperature"),
        ("top_p", json!(1.5), "top_p"),
        ("max_tokens", json!(0), "max_tokens"),
        ("max_tokens", json!(1.5), "max_tokens"),
        ("max_completion_tokens", json!(-1), "max_completion_tokens"),
        ("n", json!(0), "n"),
        ("n", json!(9), "n"),
        ("seed", json!(9_223_372_036_854_775_808u64), "seed"),
        ("presence_penalty", json!(3), "presence_penalty"),
        ("logit_bias", json!({"99999999": 1}), "logit_bias"),
        ("logit_bias", json!({long.clone(): 1}), "logit_bias"),
        ("stop", json!([5]), "stop"),
        ("stream", json!("yes"), "stream"),
        ("stream_options", json!(3), "stream_options"),
        ("top_logprobs", json!(3), "top_logprobs"),
        ("response_format", json!({"type": "json_object", "schema": {"type": "strange"}}), "response_format"),
        ("response_format", json!({"type": "json_schema", "json_schema": {}}), "response_format"),
        ("response_format", json!({"type": "yaml"}), "response_format"),
        ("tools", json!([{"type": "function", "function": {"name": "f"}}]), "tools"),
        ("tool_choice", json!("required"), "tool_choice"),
        ("messages", json!([]), "messages"),
        ("messages", json!("hi"), "messages"),
        ("messages", json!([{"role": long.clone(), "content": "hi"}]), "messages[0].role"),
        ("messages", json!([{"role": "user", "content": [{"type": "image_url"}]}]), "messages[0].content[0]"),
        ("model", json!(7), "model"),
    ] {
        let answer = server.post(CHAT, &chat("Hi", json!({field: value})));
        assert_eq!((answer.status, answer.param().as_deref()), (400, Some(param)), "{field}: {value}");
        assert_eq!(answer.json()["error"]["type"], "invalid_request_error");
    }
    for (field, value) in [
        ("echo", json!(true)),
        ("suffix", json!("x")),
        ("best_of", json!(2)),
        ("logprobs", json!(21)),
        ("prompt", json!([1, "a"])),
        ("prompt", json!([1_000_000])),
        ("prompt", json!("")),
        ("prompt", json!(vec!["a"; 200])),
    ] {
        let answer = server.post(TEXT, &completion("Hi", json!({field: value})));
        assert_eq!((answer.status, answer.param().as_deref()), (400, Some(field)), "{value}");
    }
    for missing in ["messages", "model"] {
        let answer = server.post(CHAT, &chat("Hi", json!({missing: null})));
        assert_eq!((answer.status, answer.param().as_deref()), (400, Some(missing)));
    }
    assert_eq!(
        server.post(TEXT, &completion("Hi", json!({"prompt": null}))).param().as_deref(),
        Some("prompt")
    );
}

#[test]
fn an_unknown_model_is_not_found_and_a_prompt_that_does_not_fit_is_not_cut() {
    let server = Server::start(&["--context-length", "32"]);
    let answer = server.post(CHAT, &chat("Hi", json!({"model": "other"})));
    let error = answer.json()["error"].clone();
    assert_eq!((answer.status, &error["code"]), (404, &json!("model_not_found")));
    assert_eq!(error["type"], "not_found_error");
    for stream in [false, true] {
        let answer = server.post(TEXT, &completion(&"olive ".repeat(60), json!({ "stream": stream })));
        let error = answer.json()["error"].clone();
        assert_eq!((answer.status, &error["code"]), (400, &json!("context_length_exceeded")));
        let message = error["message"].as_str().unwrap();
        assert!(message.contains("32 tokens") && message.contains("the prompt has"), "{message}");
    }
}

#[test]
fn what_is_no_json_is_a_400() {
    let server = Server::start(&[]);
    let deep = "[".repeat(100_000);
    let nested =
        format!("{{\"model\": \"tiny-phi3\", \"messages\": {}{}}}", "[".repeat(5000), "]".repeat(5000));
    let bodies: [&[u8]; 12] = [
        b"{",
        b"[]",
        b"null",
        b"\"x\"",
        b"{\"messages\": NaN}",
        b"{} x",
        b"\x00\x01",
        b"{\"a\": \"\xff\xfe\"}",
        b"{\"model\": \"tiny-phi3\", \"messages\": [{\"role\": \"user\", \"content\": \"\\ud800\"}]}",
        b"{\"temperature\": 1e400}",
        deep.as_bytes(),
        nested.as_bytes(),
    ];
    for body in bodies {
        let shown = String::from_utf8_lossy(&body[..body.len().min(40)]).into_owned();
        let answer = server.send(&request("POST", CHAT, &[("Content-Type", "application/json")], body));
        assert_eq!((answer.status, answer.param()), (400, None), "{shown}");
    }
    let headers = [("Content-Type", "application/json"), ("Content-Length", "0")];
    assert_eq!(server.send(&request("POST", CHAT, &headers, b"")).status, 400);
}

#[test]
fn a_model_without_a_template_completes_and_does_not_chat() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["config.json", "model.safetensors", "tokenizer.json"] {
        std::fs::copy(base_model().join(name), dir.path().join(name)).unwrap();
    }
    let server = Server::of(dir.path(), &["--served-model-name", "tiny-phi3"]);
    let answer = server.post(CHAT, &chat("Hi", json!({})));
    assert_eq!((answer.status, answer.param().as_deref()), (400, Some("messages")));
    assert!(answer.text().contains("no chat template"));
    assert_eq!(server.get("/v1/models").json()["data"][0]["chat"], false);
    assert!(server.complete("The olive", json!({}))["choices"][0]["text"].is_string());
}

#[test]
fn a_template_that_refuses_a_conversation_is_quoted_without_its_path() {
    let dir = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(base_model()).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, dir.path().join(path.file_name().unwrap())).unwrap();
    }
    let template = "{{ raise_exception('roles must alternate') }}";
    std::fs::write(dir.path().join("chat_template.jinja"), template).unwrap();
    let server = Server::of(dir.path(), &["--served-model-name", "tiny-phi3"]);
    let answer = server.post(CHAT, &chat("Hi", json!({})));
    assert_eq!((answer.status, answer.param().as_deref()), (400, Some("messages")));
    let message = answer.json()["error"]["message"].clone();
    assert!(message.as_str().unwrap().contains("roles must alternate"), "{message}");
    assert!(!message.as_str().unwrap().contains(dir.path().to_str().unwrap()), "{message}");
    let _: Value = answer.json();
}
