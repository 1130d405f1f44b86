//! Several models in one server.

use crate::server::{CHAT, Server, TEXT, chat, completion};
use crate::support::binary::{greedy, olive, succeed, text};
use crate::support::passes::build;
use crate::support::quickstart::base_model;
use crate::support::runtime::library;
use crate::support::training::adapter;
use olive_model::ModelFolder;
use olive_onnx::{ModelBuilderOptions, Precision};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// An adapter of the quickstart's model, as training leaves it.
fn tuned(dir: &Path) -> PathBuf {
    let spec = ModelFolder::open(&base_model()).unwrap().spec().unwrap();
    let mut adapter = adapter(&spec, 0.0);
    adapter.config.base_model_name_or_path = base_model().to_str().map(str::to_owned);
    let folder = dir.join("tuned");
    std::fs::create_dir(&folder).unwrap();
    adapter.save(&folder).unwrap();
    folder
}

fn beside(name: &str, model: &Path) -> String {
    format!("--model={name}={}", model.display())
}

/// The text that `olive generate` continues this prompt with.
fn generated(model: &Path, tokens: usize) -> Value {
    let output = succeed(&mut greedy(model, PROMPT, tokens));
    serde_json::from_slice::<Value>(&output.stdout).unwrap()["text"].clone()
}

const PROMPT: &str = "The olive tree";

/// What the server continues it with, under each of these names: one after the other, and all at once.
fn completed(server: &Server, names: &[&str], tokens: usize) -> Vec<Value> {
    let ask = |name: &str| {
        let answer = server.post(TEXT, &completion(PROMPT, json!({"model": name, "max_tokens": tokens})));
        assert_eq!((answer.status, &answer.json()["model"]), (200, &json!(name)), "{}", answer.text());
        answer.json()["choices"][0]["text"].clone()
    };
    let alone: Vec<Value> = names.iter().map(|name| ask(name)).collect();
    let together: Vec<Value> = std::thread::scope(|scope| {
        let threads: Vec<_> = names.iter().map(|name| scope.spawn(|| ask(name))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(alone, together, "the company changes nothing");
    alone
}

#[test]
fn a_float_model_its_adapter_and_its_export_answer_as_each_does_alone() {
    library();
    let dir = tempfile::tempdir().unwrap();
    let (adapted, int4) = (tuned(dir.path()), dir.path().join("int4"));
    std::fs::create_dir(&int4).unwrap();
    build(&base_model(), ModelBuilderOptions::new(Precision::Int4, "cpu"), &int4);
    let server = Server::start(&[&beside("tuned", &adapted), &beside("small", &int4)]);

    let list = server.get("/v1/models").json();
    let names: Vec<&str> =
        list["data"].as_array().unwrap().iter().map(|of| of["id"].as_str().unwrap()).collect();
    assert_eq!(names, ["tiny-phi3", "tuned", "small"]);
    assert_eq!(server.get("/v1/models/tuned").json()["max_model_len"], 1024);

    let texts = completed(&server, &names, 24);
    let wanted = [base_model(), adapted, int4].map(|model| generated(&model, 24));
    assert_eq!(texts, wanted);
    assert_ne!(texts[0], texts[1], "the adapter makes a difference");

    for name in names {
        let tokens = server.tokens("olive_generated_tokens_total", name).unwrap();
        assert!(tokens > 0 && tokens.is_multiple_of(2), "{name}: {tokens} tokens in two answers");
        assert!(server.tokens("olive_prompt_tokens_total", name).unwrap() > 0, "{name}");
    }
    for wrong in ["base", "Tuned", "tuned/small", ""] {
        let answer = server.post(CHAT, &chat("Hi", json!({"model": wrong})));
        assert_eq!(
            (answer.status, &answer.json()["error"]["code"]),
            (404, &json!("model_not_found")),
            "{wrong}"
        );
    }
    let log = server.log();
    assert_eq!(log.matches("ready: `").count(), 3, "{log}");
}

#[test]
fn a_model_whose_places_are_taken_holds_up_no_other() {
    let server =
        Server::start(&["--max-sequences", "1", "--max-queue", "1", &beside("other", &base_model())]);
    let long =
        json!({"max_tokens": 1000, "ignore_eos": true, "temperature": 1, "logprobs": 20, "stream": true});
    let mut line = server.open();
    line.send(&crate::client::post(TEXT, &completion(PROMPT, long)));
    assert_eq!(line.head().status, 200);
    line.line();
    for _ in 0..3 {
        let answer = server.post(CHAT, &chat("Hi", json!({"model": "other"})));
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    drop(line);
    server.until("the stream has ended", |server| server.metric("olive_requests_running") == Some(0));
}

#[test]
fn each_model_says_for_itself_whether_it_chats() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["config.json", "model.safetensors", "tokenizer.json"] {
        std::fs::copy(base_model().join(name), dir.path().join(name)).unwrap();
    }
    let server = Server::start(&[&beside("plain", dir.path())]);
    let list = server.get("/v1/models").json();
    assert_eq!((&list["data"][0]["chat"], &list["data"][1]["chat"]), (&json!(true), &json!(false)));
    assert_eq!(server.post(CHAT, &chat("Hi", json!({}))).status, 200);
    assert_eq!(server.post(CHAT, &chat("Hi", json!({"model": "plain"}))).status, 400);
}

#[test]
fn what_cannot_be_served_together_is_refused_at_the_start() {
    let refused = |more: &[&str]| {
        let output = olive().args(["serve", "--port", "0"]).arg(base_model()).args(more).output().unwrap();
        (output.status.code(), text(&output.stderr))
    };
    let other = beside("other", &base_model());
    let (code, told) = refused(&[&beside("tiny-phi3", &base_model())]);
    assert_eq!(code, Some(2), "{told}");
    assert!(
        told.contains("two models have the name `tiny-phi3`") && told.contains("--model NAME=PATH"),
        "{told}"
    );
    let (code, told) = refused(&["--model", "no-name"]);
    assert_eq!(code, Some(2), "{told}");
    assert!(told.contains("NAME=PATH"), "{told}");
    let (code, told) = refused(&["--model", "other=nowhere-at-all"]);
    assert!(code == Some(2) && told.contains("nowhere-at-all"), "{code:?}: {told}");

    // The memory of all counts.
    let (code, told) = refused(&["--max-sequences", "100000000", &other]);
    assert_eq!(code, Some(1), "{told}");
    for part in ["for `tiny-phi3`", "for `other`", "--max-sequences"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let (code, told) = refused(&["--context-length", "1025", &other]);
    assert_eq!(code, Some(2), "{told}");
}
