//! Many at once, and those who go away.

use crate::client::{post, request};
use crate::server::{CHAT, Server, TEXT, chat, completion, endless, much};
use crate::support::passes::build;
use crate::support::quickstart::base_model;
use crate::support::runtime::library;
use crate::support::training::adapter;
use olive_core::cancel::CancelFlag;
use olive_model::ModelFolder;
use olive_onnx::{BuildOptions, ModelBuilderOptions, Precision, Weights};
use serde_json::{Value, json};
use std::path::Path;

const PROMPTS: [&str; 8] = ["The olive", "A tree", "Once", "1 2 3", "Hello", "x", "In the garden", "Why"];

/// The quickstart's model as an ONNX folder.
fn onnx() -> tempfile::TempDir {
    library();
    let dir = tempfile::tempdir().unwrap();
    build(&base_model(), ModelBuilderOptions::new(Precision::Fp32, "cpu"), dir.path());
    dir
}

/// Texts of these requests, one after the other and all at once.
fn alone_and_together(server: &Server, bodies: &[Value]) -> [Vec<Value>; 2] {
    let ask = |body: &Value| {
        let answer = server.post(TEXT, body);
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["choices"][0]["text"].clone()
    };
    let alone = bodies.iter().map(ask).collect();
    let together = std::thread::scope(|scope| {
        let threads: Vec<_> = bodies.iter().map(|body| scope.spawn(move || ask(body))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    [alone, together]
}

#[test]
fn answers_do_not_depend_on_the_company() {
    let onnx = onnx();
    let name = ["--served-model-name", "tiny-phi3", "--max-sequences", "5"];
    for model in [&base_model(), onnx.path()] {
        let server = Server::of(model, &name);
        let bodies = PROMPTS.iter().enumerate().map(|(index, prompt)| {
            // Greedy and seeded, of many lengths, so that some leave while others go on.
            let hot = if index % 2 == 0 { 0 } else { 1 };
            let more =
                json!({"max_tokens": 20 + 13 * index, "ignore_eos": true, "temperature": hot, "seed": index});
            completion(prompt, more)
        });
        let [alone, together] = alone_and_together(&server, &bodies.collect::<Vec<_>>());
        assert_eq!(alone, together, "{}", model.display());
    }
}

#[test]
fn the_beginning_of_a_prompt_is_kept_and_changes_nothing() {
    let onnx = onnx();
    let long = "The olive tree grows in gardens of the south. ".repeat(16);
    for model in [&base_model(), onnx.path()] {
        let name = ["--served-model-name", "tiny-phi3", "--max-sequences", "2"];
        let cached = Server::of(model, &name);
        let plain = Server::of(model, &[&name[..], &["--no-prefix-cache"]].concat());
        let mut reused = 0;
        for end in ["Why?", "Where does it grow?", "Why?", "And then?"] {
            let body = completion(
                &format!("{long}{end}"),
                json!({"max_tokens": 24, "ignore_eos": true, "logprobs": 1}),
            );
            let [with, without] = [&cached, &plain].map(|server| server.post(TEXT, &body).json());
            assert_eq!(with["choices"], without["choices"], "{end}");
            assert_eq!(with["usage"]["prompt_tokens"], without["usage"]["prompt_tokens"]);
            let tokens =
                |usage: &Value| usage["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64().unwrap();
            assert_eq!(tokens(&without), 0);
            reused += tokens(&with);
        }
        assert!(reused >= 3 * 64, "{reused} tokens reused");
    }
}

#[test]
fn adapters_are_chosen_by_name() {
    let (dir, spec) =
        (tempfile::tempdir().unwrap(), ModelFolder::open(&base_model()).unwrap().spec().unwrap());
    let (base, trained) = (dir.path().join("base"), dir.path().join("trained"));
    library();
    for folder in [&base, &trained] {
        separate(&adapter(&spec, 0.0), folder);
    }
    let given = format!("tuned={}", trained.display());
    let server = Server::of(&base, &["--no-adapter", "--served-model-name", "plain", "--adapter", &given]);
    let names: Vec<Value> = server.get("/v1/models").json()["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|model| model["id"].clone())
        .collect();
    assert_eq!(names, ["plain", "tuned"]);
    let bodies = ["plain", "tuned", "plain", "tuned"].map(|name| {
        completion("The olive tree", json!({"model": name, "max_tokens": 24, "ignore_eos": true}))
    });
    let [alone, together] = alone_and_together(&server, &bodies);
    assert_ne!(alone[0], alone[1], "the adapter makes a difference");
    assert_eq!(
        (&alone[0], &alone[1]),
        (&alone[2], &alone[3]),
        "no sequence is read with the other's adapter"
    );
    assert_eq!(alone, together);
}

/// The quickstart's model with an adapter beside it.
fn separate(adapter: &olive_model::Adapter, dir: &Path) {
    std::fs::create_dir_all(dir).unwrap();
    for name in ["tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "config.json"] {
        std::fs::copy(base_model().join(name), dir.join(name)).unwrap();
    }
    let folder = ModelFolder::open(&base_model()).unwrap();
    let checkpoint = folder.checkpoint().unwrap();
    let options = BuildOptions::new(&ModelBuilderOptions::new(Precision::Fp32, "cpu")).unwrap();
    let weights = Weights { source: &checkpoint, adapter: Some(adapter) };
    olive_onnx::build(&folder, weights, &options, None, dir, &CancelFlag::default(), &()).unwrap();
}

#[test]
fn a_float_model_takes_no_named_adapter() {
    let output = crate::support::binary::olive()
        .args(["serve", "--port", "0", "--adapter", "a=nowhere"])
        .arg(base_model())
        .output()
        .unwrap();
    let told = crate::support::binary::text(&output.stderr);
    assert!(!output.status.success() && told.contains("a float model, which has one adapter"), "{told}");
    assert!(told.contains("`--model a=nowhere`"), "{told}");
}

#[test]
fn a_full_queue_refuses() {
    let server = Server::start(&["--max-sequences", "1", "--max-queue", "1"]);
    // All are there long before the first is done.
    let body = completion("The", json!({"max_tokens": 1000, "ignore_eos": true, "logprobs": 20}));
    let answers: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..16).map(|_| scope.spawn(|| server.post(TEXT, &body))).collect();
        assert_eq!(server.get("/health").status, 200, "this one waits for nothing");
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let (served, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
    assert!(served.len() >= 2 && !refused.is_empty(), "{} served", served.len());
    for answer in refused {
        assert_eq!((answer.status, answer.header("retry-after")), (429, Some("1")));
        assert_eq!(answer.json()["error"]["type"], "rate_limit_error");
    }
    assert_eq!(server.post(TEXT, &body).status, 200);
}

#[test]
fn the_work_ends_when_nobody_waits_for_it() {
    let server = Server::start(&[]);
    let idle = |server: &Server| server.metric("olive_requests_running") == Some(0);
    drop(endless(&server));
    server.until("the stream has ended", idle);
    let before = server.tokens("olive_generated_tokens_total", "tiny-phi3");
    let mut line = server.open();
    line.send(&post(TEXT, &much(json!({}))));
    server.until("it works", |server| !idle(server));
    drop(line);
    server.until("the work has ended", idle);
    let made = server.tokens("olive_generated_tokens_total", "tiny-phi3").unwrap() - before.unwrap();
    assert!(made < 50_000, "{made} tokens were made for nobody");
}

#[test]
fn a_reader_that_stops_holds_up_nobody() {
    let server = Server::start(&[]);
    let stalled = endless(&server);
    for _ in 0..3 {
        assert_eq!(server.post(CHAT, &chat("Hi", json!({}))).status, 200);
    }
    drop(stalled);
}

#[test]
fn a_signal_lets_answers_end() {
    let server = Server::start(&[]);
    let mut line = server.open();
    let body = json!({"max_tokens": 1000, "ignore_eos": true, "stream": true, "temperature": 1});
    line.send(&post(TEXT, &completion("The", body)));
    assert_eq!(line.head().status, 200);
    let mut idle = server.open();
    idle.send(&request("GET", "/health", &[], b""));
    assert_eq!(idle.answer().status, 200);
    server.signal("-TERM");
    // The one under way goes on to its end, an idle connection is closed, and no other is taken.
    assert_eq!(idle.line(), "");
    let mut last = String::new();
    loop {
        let next = line.line();
        match next.starts_with("data: ") {
            true => last = next,
            false if last == "data: [DONE]" => break,
            false => {}
        }
    }
    let (status, log) = server.end();
    assert!(status.success(), "{log}");
}

#[test]
fn a_second_signal_does_not_wait() {
    let server = Server::start(&[]);
    let stalled = endless(&server);
    server.signal("-TERM");
    server.until("it is stopping", |server| std::net::TcpStream::connect(&server.address).is_err());
    server.signal("-INT");
    assert_eq!(server.end().0.code(), Some(130));
    drop(stalled);
}

#[test]
fn more_than_the_memory_or_the_model_has_is_refused_at_the_start() {
    let serve = |more: &[&str]| {
        let output = crate::support::binary::olive()
            .args(["serve", "--port", "0"])
            .args(more)
            .arg(base_model())
            .output();
        let output = output.unwrap();
        (output.status.code(), crate::support::binary::text(&output.stderr))
    };
    let (code, told) = serve(&["--context-length", "2000"]);
    assert_eq!(code, Some(2));
    assert!(told.contains("`--context-length` is 2000, and `tiny-phi3` looks at 1024"), "{told}");
    let (code, told) = serve(&["--max-sequences", "100000000"]);
    assert_eq!(code, Some(1));
    assert!(told.contains("100000000 sequences") && told.contains("--max-sequences"), "{told}");
}
