//! Answers in one piece.

use crate::server::{CHAT, Server, TEXT, chat, completion};
use crate::support::binary::{greedy, succeed};
use crate::support::quickstart::base_model;
use serde_json::{Value, json};

#[test]
fn the_model_is_listed_with_the_room_it_has() {
    let server = Server::start(&["--served-model-name", "org/name", "--context-length", "256"]);
    let list = server.get("/v1/models").json();
    let model = server.get("/v1/models/org/name").json();
    assert_eq!((&list["object"], &list["data"][0]), (&json!("list"), &model));
    assert_eq!(
        (&model["id"], &model["object"], &model["max_model_len"]),
        (&json!("org/name"), &json!("model"), &json!(256))
    );
    assert_eq!(model["chat"], true, "it has a chat template");
    assert!(model["created"].is_u64() && model["owned_by"].is_string());
    let missing = server.get("/v1/models/other");
    assert_eq!((missing.status, &missing.json()["error"]["code"]), (404, &json!("model_not_found")));
    assert_eq!(server.get("/health").json(), json!({"status": "ok"}));
}

#[test]
fn a_greedy_answer_is_what_generate_says() {
    let server = Server::start(&[]);
    let wanted = succeed(&mut greedy(&base_model(), "The olive tree", 40));
    let wanted: Value = serde_json::from_slice(&wanted.stdout).unwrap();
    let got = server.complete("The olive tree", json!({"max_tokens": 40}));
    assert_eq!((&got["object"], &got["choices"][0]["text"]), (&json!("text_completion"), &wanted["text"]));
    assert_eq!(got["usage"]["prompt_tokens"], wanted["prompt_tokens"]);
    assert_eq!(got["choices"][0]["finish_reason"], "stop", "the model's own end");

    let question = "What is Olive?";
    let wanted = succeed(
        crate::support::binary::olive()
            .args(["generate", "--quiet", "--json", "--temperature", "0", "--max-new-tokens", "5"])
            .args(["--prompt", question])
            .arg(base_model()),
    );
    let wanted: Value = serde_json::from_slice(&wanted.stdout).unwrap();
    let got = server.post(CHAT, &chat(question, json!({"max_tokens": 5}))).json();
    let choice = &got["choices"][0];
    assert_eq!(got["object"], "chat.completion");
    assert_eq!(choice["message"], json!({"role": "assistant", "content": wanted["text"], "refusal": null}));
    assert_eq!((&choice["finish_reason"], &got["usage"]["completion_tokens"]), (&json!("length"), &json!(5)));
    assert_eq!(got["usage"]["total_tokens"], wanted["prompt_tokens"].as_u64().unwrap() + 5);
    assert!(got["id"].as_str().unwrap().starts_with("chatcmpl-") && got["model"] == "tiny-phi3");
    assert_ne!(got["id"], server.post(CHAT, &chat(question, json!({}))).json()["id"]);
}

#[test]
fn limits_are_kept_and_the_newer_name_wins() {
    let server = Server::start(&["--context-length", "64"]);
    let tokens =
        |path: &str, body: Value| server.post(path, &body).json()["usage"]["completion_tokens"].clone();
    assert_eq!(
        tokens(CHAT, chat("Hi", json!({"max_tokens": 9, "max_completion_tokens": 2, "ignore_eos": true}))),
        2
    );
    let default = completion("Hi", json!({"max_tokens": null, "ignore_eos": true}));
    assert_eq!(tokens(TEXT, default), 16, "OpenAI's default");
    // More than fits is cut at the end of the context.
    let all = server.complete("Hi", json!({"max_tokens": 1_000_000, "ignore_eos": true}));
    assert_eq!(all["choices"][0]["finish_reason"], "length");
    let long = all["usage"]["total_tokens"].as_u64().unwrap();
    assert!((64..=65).contains(&long), "{long}");
}

#[test]
fn prompts_and_choices_are_counted_from_the_first() {
    let server = Server::start(&[]);
    let alone = |prompt: &str| server.complete(prompt, json!({}))["choices"][0]["text"].clone();
    let both = server.post(TEXT, &completion("", json!({"prompt": ["The olive", "A tree"]}))).json();
    assert_eq!(
        [&both["choices"][0]["text"], &both["choices"][1]["text"]],
        [&alone("The olive"), &alone("A tree")]
    );
    let ids = server
        .post(
            TEXT,
            &completion(
                "",
                json!({"prompt": [[70, 71, 72], [73]], "n": 2, "max_tokens": 3,
        "ignore_eos": true}),
            ),
        )
        .json();
    let indices: Vec<u64> =
        ids["choices"].as_array().unwrap().iter().map(|choice| choice["index"].as_u64().unwrap()).collect();
    assert_eq!(indices, [0, 1, 2, 3]);
    assert_eq!((&ids["usage"]["prompt_tokens"], &ids["usage"]["completion_tokens"]), (&json!(4), &json!(12)));
}

#[test]
fn a_seed_repeats_an_answer_and_choices_differ() {
    let server = Server::start(&[]);
    let ask = |more: Value| {
        let mut fields = json!({"temperature": 1.2, "max_tokens": 24, "ignore_eos": true, "n": 2});
        fields.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let answer = server.complete("The olive tree", fields);
        [answer["choices"][0]["text"].clone(), answer["choices"][1]["text"].clone()]
    };
    let seven = ask(json!({"seed": 7}));
    assert_eq!(seven, ask(json!({"seed": 7})));
    assert_ne!(seven[0], seven[1], "the choices of one request");
    assert_ne!(seven, ask(json!({"seed": 8})));
    assert_ne!(ask(json!({})), ask(json!({})), "chance, without a seed");
    assert_eq!(ask(json!({"top_p": 0})), ask(json!({"temperature": 1e-9})), "both are greedy");
    assert_eq!(ask(json!({"top_k": 1})), ask(json!({"min_p": 1})));
}

#[test]
fn a_stop_string_ends_an_answer_wherever_it_comes() {
    let server = Server::start(&[]);
    let ask = |more: Value| {
        let choice = server.complete("The olive tree", more)["choices"][0].clone();
        (choice["text"].as_str().unwrap().to_owned(), choice["finish_reason"].clone())
    };
    let more = json!({"max_tokens": 24, "ignore_eos": true});
    let (whole, _) = ask(more.clone());
    let places: Vec<usize> = whole.char_indices().map(|(at, _)| at).collect();
    assert!(places.len() > 12, "{whole}");
    for range in [1..3, 4..9, 2..12] {
        let stop = &whole[places[range.start]..places[range.end]];
        let mut fields = more.clone();
        fields["stop"] = json!([stop, "never said", ""]);
        assert_eq!(ask(fields), (whole[..whole.find(stop).unwrap()].to_owned(), json!("stop")), "{stop:?}");
    }
    let mut fields = more.clone();
    fields["stop"] = json!(format!("{}☃", &whole[places[9]..]));
    assert_eq!(ask(fields).0, whole, "what only begins like a stop string is said");
    let mut fields = more;
    fields["stop_token_ids"] = server.complete("The olive tree", json!({}))["x"].clone();
    assert_eq!(ask(fields).0, whole, "null is as good as left out");
}

#[test]
fn penalties_and_biases_change_what_is_said() {
    let server = Server::start(&[]);
    let ask = |more: Value| server.complete("The olive tree", more);
    let text = |more: Value| ask(more)["choices"][0]["text"].clone();
    let fields = |name: &str, value: Value| json!({"max_tokens": 48, "ignore_eos": true, name: value});
    let plain = text(fields("user", json!("u")));
    for (name, value) in [
        ("presence_penalty", json!(2)),
        ("frequency_penalty", json!(2)),
        ("repetition_penalty", json!(1.5)),
        ("logit_bias", json!({"70": 100})),
    ] {
        assert_ne!(text(fields(name, value)), plain, "{name}");
    }
    // One token, again and again.
    let biased = text(json!({"max_tokens": 3, "logit_bias": {"70": 100}}));
    let one = text(json!({"max_tokens": 1, "logit_bias": {"70": 100}}));
    assert_eq!(biased.as_str().unwrap(), one.as_str().unwrap().repeat(3));
    for (name, value) in [
        ("metadata", json!({"a": "b"})),
        ("store", json!(false)),
        ("service_tier", json!("auto")),
        ("x_new", json!([])),
    ] {
        assert_eq!(text(fields(name, value)), plain, "{name} is taken and changes nothing");
    }
}

#[test]
fn probabilities_are_those_before_sampling_and_bytes_add_up() {
    let server = Server::start(&[]);
    let ask = |more: Value| server.post(CHAT, &chat("🫒 olives", more)).json();
    let greedy = ask(json!({"logprobs": true, "top_logprobs": 3}));
    let entries = greedy["choices"][0]["logprobs"]["content"].as_array().unwrap().clone();
    assert_eq!(json!(entries.len()), greedy["usage"]["completion_tokens"]);
    for entry in &entries {
        let top = entry["top_logprobs"].as_array().unwrap();
        assert_eq!(
            (top.len(), &top[0]["token"], &top[0]["logprob"]),
            (3, &entry["token"], &entry["logprob"])
        );
        let values: Vec<f64> = top.iter().map(|one| one["logprob"].as_f64().unwrap()).collect();
        assert!(values[0] <= 0.0 && values[0] >= values[1] && values[1] >= values[2], "{values:?}");
    }
    // The same tokens, whatever is done to the distribution afterwards, are as probable.
    let biased = ask(json!({"logprobs": true, "top_logprobs": 3, "temperature": 0.1, "top_k": 1}));
    assert_eq!(biased["choices"][0]["logprobs"], greedy["choices"][0]["logprobs"]);
    for seed in 0..4 {
        let hot = json!({"logprobs": true, "temperature": 2, "top_p": 1, "seed": seed, "ignore_eos": true,
            "max_tokens": 40});
        let answer = ask(hot);
        let choice = &answer["choices"][0];
        let bytes = choice["logprobs"]["content"].as_array().unwrap().iter().flat_map(|entry| {
            entry["bytes"]
                .as_array()
                .unwrap()
                .iter()
                .map(|byte| u8::try_from(byte.as_u64().unwrap()).unwrap())
        });
        let bytes: Vec<u8> = bytes.collect();
        assert_eq!(choice["message"]["content"], String::from_utf8_lossy(&bytes).into_owned(), "seed {seed}");
    }
    let older = server.complete("The olive", json!({"logprobs": 2, "max_tokens": 4, "ignore_eos": true}));
    let logprobs = &older["choices"][0]["logprobs"];
    let lengths = ["tokens", "token_logprobs", "top_logprobs", "text_offset"]
        .map(|name| logprobs[name].as_array().unwrap().len());
    assert_eq!(lengths, [4; 4]);
    assert_eq!(
        (&logprobs["text_offset"][0], logprobs["top_logprobs"][0].as_object().unwrap().len()),
        (&json!(0), 2)
    );
    assert_eq!(server.complete("The olive", json!({}))["choices"][0]["logprobs"], Value::Null);
}

#[test]
fn a_conversation_has_roles_parts_and_variables() {
    let server = Server::start(&[]);
    let ask = |messages: Value| {
        let answer = server.post(CHAT, &chat("", json!({ "messages": messages })));
        assert_eq!(answer.status, 200, "{}", answer.text());
        let answer = answer.json();
        (answer["choices"][0]["message"]["content"].clone(), answer["usage"]["prompt_tokens"].clone())
    };
    let parts = json!([{"type": "text", "text": "one "}, {"type": "text", "text": "two"}]);
    assert_eq!(
        ask(json!([{"role": "user", "content": parts}])),
        ask(json!([{"role": "user", "content": "one two"}]))
    );
    let with = |role: &str| {
        ask(json!([{"role": role, "content": "Be brief."}, {"role": "user", "content": "a"},
            {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]))
    };
    assert_eq!(with("developer"), with("system"));
    assert_ne!(with("system").1, ask(json!([{"role": "user", "content": "c"}])).1);
    let escaped = br#"{"model": "tiny-phi3", "messages": [{"role": "user", "content": "\ud83e\uded2"}], "max_tokens": 4, "temperature": 0}"#;
    let escaped =
        server.send(&crate::client::request("POST", CHAT, &[("Content-Type", "application/json")], escaped));
    let plain = server.post(CHAT, &chat("🫒", json!({"max_tokens": 4}))).json();
    assert_eq!(escaped.json()["choices"], plain["choices"]);
}
