//! Answers piece by piece.

use crate::server::{CHAT, Server, TEXT, chat, completion, endless};
use serde_json::{Value, json};

/// The text of a choice in a stream.
fn said(events: &[Value], index: u64) -> String {
    let choices = events.iter().flat_map(|event| event["choices"].as_array().unwrap());
    let of_choice = choices.filter(|choice| choice["index"] == index);
    of_choice
        .filter_map(|choice| choice["text"].as_str().or_else(|| choice["delta"]["content"].as_str()))
        .collect()
}

fn streamed(server: &Server, path: &str, mut body: Value) -> Vec<Value> {
    body["stream"] = json!(true);
    server.post(path, &body).events()
}

#[test]
fn a_stream_begins_with_the_role_ends_with_a_reason_and_says_the_same() {
    let server = Server::start(&[]);
    for (path, body) in
        [(CHAT, chat("Say something.", json!({}))), (TEXT, completion("The olive", json!({})))]
    {
        let events = streamed(&server, path, body.clone());
        let whole = server.post(path, &body).json();
        let text =
            whole["choices"][0]["text"].as_str().or(whole["choices"][0]["message"]["content"].as_str());
        assert_eq!(said(&events, 0), text.unwrap());
        for name in ["id", "created", "model", "object"] {
            assert!(events.iter().all(|event| event[name] == events[0][name]), "{name}");
        }
        let reasons: Vec<&Value> = events.iter().map(|event| &event["choices"][0]["finish_reason"]).collect();
        let (last, earlier) = reasons.split_last().unwrap();
        assert_eq!(**last, whole["choices"][0]["finish_reason"]);
        assert!(earlier.iter().all(|reason| reason.is_null()));
        assert!(events.iter().all(|event| event.get("usage").is_none()), "nobody asked");
        if path == CHAT {
            assert_eq!(events[0]["object"], "chat.completion.chunk");
            assert_eq!(events[0]["choices"][0]["delta"], json!({"role": "assistant", "content": ""}));
            assert_eq!(events.last().unwrap()["choices"][0]["delta"], json!({}));
        }
    }
    let mut body = chat("Hi", json!({"stream": true}));
    let answer = server.post(CHAT, &body);
    assert_eq!((answer.header("cache-control"), answer.header("content-length")), (Some("no-cache"), None));
    body["messages"] = json!([]);
    assert_eq!(server.post(CHAT, &body).status, 400, "a refusal is no stream");
}

#[test]
fn usage_comes_last_where_it_is_asked_for() {
    let server = Server::start(&[]);
    let asked = json!({"stream_options": {"include_usage": true}, "n": 2, "temperature": 1, "seed": 1});
    let events = streamed(&server, CHAT, chat("Hi", asked.clone()));
    let (last, earlier) = events.split_last().unwrap();
    let whole = server.post(CHAT, &chat("Hi", asked)).json();
    let counts = |usage: &Value| (usage["prompt_tokens"].clone(), usage["completion_tokens"].clone());
    assert_eq!((&last["choices"], counts(&last["usage"])), (&json!([]), counts(&whole["usage"])));
    assert!(earlier.iter().all(|event| event["usage"].is_null() && event.get("usage").is_some()));
    for index in 0..2 {
        assert_eq!(said(&events, index), whole["choices"][index as usize]["message"]["content"]);
    }
}

#[test]
fn events_are_whole_characters_and_probabilities_are_complete() {
    let server = Server::start(&[]);
    for seed in 0..6 {
        let hot = json!({"temperature": 2, "top_p": 1, "seed": seed, "ignore_eos": true, "max_tokens": 40,
            "logprobs": true, "stop": ["☃", "zzzzz"]});
        // Every event is UTF-8 of its own, or it could not be read.
        let events = streamed(&server, CHAT, chat("🫒", hot.clone()));
        let whole = server.post(CHAT, &chat("🫒", hot)).json();
        assert_eq!(said(&events, 0), whole["choices"][0]["message"]["content"], "seed {seed}");
        let told = events.iter().filter_map(|event| event["choices"][0]["logprobs"]["content"].as_array());
        let told: Vec<Value> = told.flatten().cloned().collect();
        assert_eq!(json!(told), whole["choices"][0]["logprobs"]["content"], "seed {seed}");
    }
}

#[test]
fn nothing_of_a_stop_string_leaks() {
    let server = Server::start(&[]);
    let more = json!({"max_tokens": 24, "ignore_eos": true});
    let whole =
        server.complete("The olive tree", more.clone())["choices"][0]["text"].as_str().unwrap().to_owned();
    let places: Vec<usize> = whole.char_indices().map(|(at, _)| at).collect();
    for range in [1..4, 3..10] {
        let stop = &whole[places[range.start]..places[range.end]];
        let mut body = completion("The olive tree", more.clone());
        body["stop"] = json!([stop]);
        let events = streamed(&server, TEXT, body);
        assert_eq!(said(&events, 0), whole[..whole.find(stop).unwrap()]);
        assert_eq!(events.last().unwrap()["choices"][0]["finish_reason"], "stop");
    }
    let mut body = completion("The olive tree", more);
    body["stop"] = json!(format!("{}☃", &whole[places[5]..]));
    assert_eq!(said(&streamed(&server, TEXT, body), 0), whole);
}

#[test]
fn tokens_come_as_they_are_made() {
    let server = Server::start(&[]);
    let _line = endless(&server);
    assert_eq!(server.metric("olive_requests_running"), Some(1), "it goes on");
}
