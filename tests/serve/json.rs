//! Answers that keep to a JSON schema.

use crate::client::post;
use crate::server::{CHAT, Server, TEXT, chat, completion};
use crate::support::quickstart::base_model;
use serde_json::{Value, json};
use std::path::Path;

/// A request for an answer of this schema.
fn of(schema: &Value) -> Value {
    json!({"type": "json_schema", "json_schema": {"name": "answer", "strict": true, "schema": schema}})
}

/// The text of a completion, and why it ended.
fn answer(server: &Server, format: &Value, more: Value) -> (String, String) {
    let mut fields = json!({"max_tokens": 400, "temperature": 1, "seed": 7, "response_format": format});
    for (name, value) in more.as_object().unwrap() {
        fields[name] = value.clone();
    }
    let answer = server.complete("Describe an olive:", fields);
    let choice = &answer["choices"][0];
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    (text(&choice["text"]), text(&choice["finish_reason"]))
}

/// A schema, and what is to be true of its documents.
type Case = (Value, fn(&Value) -> bool);

fn word() -> Value {
    json!({"type": "string", "maxLength": 8})
}

fn is_word(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.chars().count() <= 8)
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().map(|object| object.keys().map(String::as_str).collect()).unwrap_or_default()
}

fn cases() -> Vec<Case> {
    vec![
        (
            json!({"type": "object", "additionalProperties": false, "required": ["name", "age", "tags"], "properties": {
                "name": word(),
                "age": {"type": "integer", "minimum": 0, "maximum": 130},
                "tags": {"type": "array", "items": {"enum": ["green", "black"]}, "minItems": 1, "maxItems": 3},
            }}),
            |v| {
                let tags = v["tags"].as_array().unwrap();
                keys(v) == ["name", "age", "tags"]
                    && is_word(&v["name"])
                    && v["age"].as_u64().is_some_and(|age| age <= 130)
                    && (1..=3).contains(&tags.len())
                    && tags.iter().all(|tag| tag == "green" || tag == "black")
            },
        ),
        (json!({"enum": ["yes", "no", null, 7]}), |v| {
            [json!("yes"), json!("no"), Value::Null, json!(7)].contains(v)
        }),
        (json!({"type": "boolean"}), Value::is_boolean),
        (json!({"anyOf": [{"type": "null"}, {"const": "none"}]}), |v| v.is_null() || v == "none"),
        (
            json!({"type": "array", "items": {"type": "number", "minimum": 0, "exclusiveMaximum": 2}, "minItems": 2,
                "maxItems": 2}),
            |v| v.as_array().unwrap().iter().all(|n| (0.0..2.0).contains(&n.as_f64().unwrap())),
        ),
        (
            json!({"type": "object", "properties": {"day": {"type": "string", "pattern": "^[0-3][0-9]-(jan|feb)$"}},
                "required": ["day"], "additionalProperties": false}),
            |v| {
                let day = v["day"].as_str().unwrap();
                day.len() == 6 && ["-jan", "-feb"].contains(&&day[2..]) && day[..2].parse::<u8>().is_ok()
            },
        ),
        (
            json!({"$defs": {"leaf": {"type": "object", "properties": {"v": {"type": "boolean"}}, "required": ["v"],
                "additionalProperties": false}}, "type": "object", "properties": {"a": {"$ref": "#/$defs/leaf"},
                "b": {"$ref": "#/$defs/leaf"}}, "required": ["a", "b"], "additionalProperties": false}),
            |v| keys(v) == ["a", "b"] && v["a"]["v"].is_boolean() && v["b"]["v"].is_boolean(),
        ),
        (
            json!({"type": "object", "properties": {"ü": {"const": "größer\n\"x\""}, "o": word()}, "required": ["ü"],
                "additionalProperties": false}),
            |v| v["ü"] == "größer\n\"x\"" && v.get("o").is_none_or(is_word),
        ),
    ]
}

/// Whatever the model would rather say.
fn keeps_to_its_schemas(server: &Server) {
    for (schema, holds) in cases() {
        for seed in 0..4 {
            let temperature = if seed == 0 { 0.0 } else { 1.5 };
            let (text, reason) =
                answer(server, &of(&schema), json!({"seed": seed, "temperature": temperature}));
            assert_eq!(reason, "stop", "{schema}: {text}");
            let value: Value =
                serde_json::from_str(&text).unwrap_or_else(|e| panic!("{schema}: {e}: {text}"));
            assert!(holds(&value), "{schema}: {text}");
        }
    }
}

#[test]
fn a_model_keeps_to_its_schemas() {
    keeps_to_its_schemas(&Server::start(&[]));
}

/// A folder with the weights of the quickstart's model, and a vocabulary of pieces and single bytes, as SentencePiece's are.
fn with_pieces(dir: &Path) {
    for name in [
        "config.json",
        "model.safetensors",
        "generation_config.json",
        "tokenizer_config.json",
        "chat_template.jinja",
    ] {
        std::fs::copy(base_model().join(name), dir.join(name)).unwrap();
    }
    let own: Value =
        serde_json::from_slice(&std::fs::read(base_model().join("tokenizer.json")).unwrap()).unwrap();
    let mut names: Vec<String> =
        ["<|endoftext|>", "<s>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"]
            .map(str::to_owned)
            .to_vec();
    names.extend((0..=255).map(|byte| format!("<0x{byte:02X}>")));
    names.extend(
        ["▁", "▁{", "{\"", "\":", "\",▁\"", "\"}", "},▁{", "▁▁", "größer", "\\n", "▁olive"]
            .map(str::to_owned),
    );
    let letters: Vec<char> = ('!'..='~').collect();
    names.extend(letters.iter().map(char::to_string));
    let pairs = letters.iter().flat_map(|a| letters.iter().map(move |b| format!("{a}{b}")));
    let left = 1792 - names.len();
    let own_pairs: Vec<String> = pairs.filter(|pair| !names.contains(pair)).step_by(5).take(left).collect();
    names.extend(own_pairs);
    assert_eq!(names.len(), 1792, "as many as the model has");
    let vocabulary: serde_json::Map<String, Value> =
        names.into_iter().enumerate().map(|(id, name)| (name, json!(id))).collect();
    let decoders = json!([{"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"},
        {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]);
    let normalizer = json!({"type": "Replace", "pattern": {"String": " "}, "content": "▁"});
    let tokenizer = json!({"version": "1.0", "added_tokens": own["added_tokens"], "normalizer": normalizer,
        "pre_tokenizer": null, "post_processor": null, "truncation": null, "padding": null,
        "decoder": {"type": "Sequence", "decoders": decoders},
        "model": {"type": "BPE", "vocab": vocabulary, "merges": [], "byte_fallback": true, "unk_token": "<s>",
            "dropout": null, "continuing_subword_prefix": null, "end_of_word_suffix": null, "fuse_unk": true}});
    std::fs::write(dir.join("tokenizer.json"), tokenizer.to_string()).unwrap();
}

#[test]
fn a_model_with_a_vocabulary_of_pieces_does_so_too() {
    let dir = tempfile::tempdir().unwrap();
    with_pieces(dir.path());
    let server = Server::of(dir.path(), &["--served-model-name", "tiny-phi3"]);
    keeps_to_its_schemas(&server);
    let (schema, holds) = cases().remove(0);
    let answer =
        server.post(CHAT, &chat("Hi", json!({"max_tokens": 400, "response_format": of(&schema)}))).json();
    let text = answer["choices"][0]["message"]["content"].as_str().unwrap();
    assert!(holds(&serde_json::from_str(text).unwrap()), "where a space at the beginning is dropped: {text}");
}

#[test]
fn any_object_is_an_object_and_the_limit_may_cut_it() {
    let server = Server::start(&[]);
    let format = json!({"type": "json_object"});
    let mut whole = 0;
    for seed in 0..8 {
        let (text, reason) = answer(&server, &format, json!({"seed": seed}));
        assert!(text.starts_with('{'), "{text}");
        if reason == "stop" {
            assert!(serde_json::from_str::<Value>(&text).unwrap().is_object(), "{text}");
            whole += 1;
        }
    }
    assert!(whole > 0);
    let own = json!({"type": "json_object", "schema": {"const": {"a": 1}}});
    let (text, reason) = answer(&server, &own, json!({"max_tokens": 3}));
    assert!(reason == "length" && text.starts_with('{'), "{text}");
    assert_eq!(serde_json::from_str::<Value>(&answer(&server, &own, json!({})).0).unwrap(), json!({"a": 1}));
    let chat = chat("Hi", json!({"response_format": {"type": "text"}}));
    assert_eq!(server.post(CHAT, &chat).status, 200);
}

#[test]
fn seeds_choices_streams_and_stops_work_as_ever() {
    let server = Server::start(&[]);
    let schema = json!({"type": "object", "properties": {"a": word(), "b": word()}, "required": ["a", "b"],
        "additionalProperties": false});
    let format = of(&schema);
    let body = |more: Value| {
        let mut body = chat(
            "What is Olive?",
            json!({"response_format": format, "max_tokens": 200, "temperature": 1,
            "seed": 5, "n": 3}),
        );
        for (name, value) in more.as_object().unwrap() {
            body[name] = value.clone();
        }
        body
    };
    let whole = server.post(CHAT, &body(json!({}))).json();
    let texts: Vec<&str> =
        (0..3).map(|n| whole["choices"][n]["message"]["content"].as_str().unwrap()).collect();
    for text in &texts {
        assert_eq!(keys(&serde_json::from_str(text).unwrap()), ["a", "b"]);
    }
    assert!(texts[0] != texts[1] || texts[1] != texts[2], "choices have seeds of their own");
    let again = server.post(CHAT, &body(json!({}))).json();
    assert_eq!(again["choices"], whole["choices"], "from the prompt that was kept, with the same seed");

    let mut line = server.open();
    line.send(&post(CHAT, &body(json!({"stream": true}))));
    let mut streamed = vec![String::new(); 3];
    for event in line.answer().events() {
        let choice = &event["choices"][0];
        let index = choice["index"].as_u64().unwrap() as usize;
        streamed[index] += choice["delta"]["content"].as_str().unwrap_or_default();
    }
    assert_eq!(streamed, texts);

    let (text, reason) = answer(&server, &format, json!({"stop": "\"b\""}));
    assert!(reason == "stop" && text.contains("\"a\"") && !text.contains("\"b\""), "{text}");
    let (text, reason) = answer(&server, &format, json!({"ignore_eos": true}));
    assert!(
        reason == "stop" && serde_json::from_str::<Value>(&text).is_ok(),
        "a whole document is the end: {text}"
    );
}

#[test]
fn probabilities_are_those_of_the_model_and_company_changes_nothing() {
    let server = Server::start(&[]);
    let first = |more: Value| {
        let answer = server.complete("The olive tree", more);
        answer["choices"][0]["logprobs"]["top_logprobs"][0].clone()
    };
    let free = first(json!({"logprobs": 5, "max_tokens": 1}));
    let kept = first(json!({"logprobs": 5, "max_tokens": 1, "response_format": {"type": "json_object"}}));
    for (token, logprob) in free.as_object().unwrap() {
        assert_eq!(&kept[token], logprob, "{token}");
    }
    let free = completion("The olive tree", json!({"max_tokens": 40}));
    let kept = completion("The olive tree", json!({"max_tokens": 40, "response_format": of(&cases()[0].0)}));
    let text = |body: &Value| server.post(TEXT, body).json()["choices"][0]["text"].clone();
    let alone = (text(&free), text(&kept));
    let mut lines = [server.open(), server.open()];
    lines[0].send(&post(TEXT, &free));
    lines[1].send(&post(TEXT, &kept));
    let together = lines.map(|mut line| line.answer().json()["choices"][0]["text"].clone());
    assert_eq!((&together[0], &together[1]), (&alone.0, &alone.1));
}

#[test]
fn schemas_that_cannot_be_kept_to_are_refused_before_an_answer_begins() {
    let server = Server::start(&[]);
    let many: Vec<String> = (0..9000).map(|n| format!("value{n}")).collect();
    let bomb: Vec<Value> =
        (5..25).map(|n| json!({"type": "string", "pattern": format!("(a|b)*a(a|b){{{n}}}")})).collect();
    let mut deep = json!({"type": "boolean"});
    for _ in 0..25 {
        deep = json!({"type": "array", "items": deep, "minItems": 1, "maxItems": 1});
    }
    for (schema, said) in [
        (json!({"type": "strange"}), "Invalid type"),
        (json!({"not": {"type": "string"}}), "not"),
        (json!({"$ref": "https://example.com/schema.json"}), "$ref"),
        (json!({"$ref": "#/$defs/gone"}), "gone"),
        (json!({"$ref": "#"}), "no document fits"),
        (json!({"type": "string", "pattern": "(?=a)b"}), "regex"),
        (json!({"type": "string", "pattern": "("}), "regex"),
        (json!({"enum": many}), "larger than 64 kB"),
        (json!({"allOf": bomb}), "takes too long"),
        (json!({"type": "string", "minLength": 3, "maxLength": 2}), "nsatisfiable"),
        (json!({"minimum": "ü".repeat(80)}), "beyond what can be made a grammar of"),
    ] {
        let body = chat("Hi", json!({"response_format": of(&schema), "stream": true}));
        let answer = server.post(CHAT, &body);
        let shown: String = schema.to_string().chars().take(80).collect();
        assert_eq!(answer.status, 400, "{shown}: {}", answer.text());
        assert_eq!(answer.param().unwrap(), "response_format");
        let message = answer.json()["error"]["message"].as_str().unwrap().to_owned();
        assert!(message.contains(said), "{shown}: {message}");
    }
    // Neither these nor what is large and can be done keep the server from answering.
    for schema in [deep, json!({"type": "string", "pattern": "^(a?){30}a{30}$"})] {
        let (text, reason) = answer(&server, &of(&schema), json!({"max_tokens": 120}));
        assert!(reason == "length" || serde_json::from_str::<Value>(&text).is_ok(), "{text}");
    }
}

#[test]
fn a_schema_that_grows_too_large_on_the_way_is_an_error_of_the_request() {
    let server = Server::start(&[]);
    let format = of(&json!({"type": "string", "pattern": "^((a{1,50}){1,50}){1,50}$"}));
    let ask = |seed: u64| {
        let more = json!({"max_tokens": 200, "temperature": 1, "seed": seed});
        let mut body = completion("Describe an olive:", more);
        body["response_format"] = format.clone();
        server.post(TEXT, &body)
    };
    // It depends on the answer: about every third becomes so long.
    let lost = (0..60).map(ask).find(|answer| {
        assert!([200, 400].contains(&answer.status), "{}", answer.text());
        answer.status == 400
    });
    let lost = lost.expect("no answer became so long");
    assert_eq!(lost.param().unwrap(), "response_format");
    assert!(lost.text().contains("cannot go on within its schema"), "{}", lost.text());
}
