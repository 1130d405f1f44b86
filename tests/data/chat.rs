//! Chat templates against transformers; the table is written by `tests/fixtures/data/make.py`.

use super::setup::{fixture_json, ids, prepare, toy_model, write};
use crate::support::rows::{load, options};
use crate::support::shared::shared;
use olive_config::canonical::{Era, Strategy, TextGeneration, TextSource};
use olive_data::{ChatTemplate, GenerationPrompt, Message, SpecialTokens, Value};
use olive_model::ModelFolder;
use serde_json::json;
use std::path::Path;

/// A model folder with just these tokens and this template.
fn folder(dir: &Path, tokenizer_config: serde_json::Value) -> ModelFolder {
    write(dir, "config.json", "{}");
    write(dir, "tokenizer_config.json", tokenizer_config.to_string());
    ModelFolder::open(dir).unwrap()
}

#[test]
fn templates_print_what_transformers_prints() {
    let table = fixture_json("chat.json");
    let dir = tempfile::tempdir().unwrap();
    let tokens = SpecialTokens::from_folder(&folder(dir.path(), table["tokens"].clone())).unwrap();
    let mut wrong = Vec::new();
    let cases = table["cases"].as_array().unwrap();
    for case in cases {
        let name = |key: &str| case[key].as_str().unwrap();
        let source = table["templates"][name("template")].as_str().unwrap();
        let messages = Value::from(&table["conversations"][name("messages")]);
        let template =
            ChatTemplate::new(source, &tokens).unwrap_or_else(|e| panic!("{}: {e}", name("template")));
        let prompt = match case["add_generation_prompt"].as_bool().unwrap() {
            true => GenerationPrompt::Add,
            false => GenerationPrompt::Omit,
        };
        let ours = template.render_value(&messages, prompt);
        match (case["expected"].as_str(), &ours) {
            (Some(expected), Ok(text)) if expected == text => {}
            (None, Err(_)) => {}
            (expected, _) => wrong.push(format!(
                "{} on {}:\n  theirs {}\n  ours   {}",
                name("template"),
                name("messages"),
                expected.map_or_else(|| case["error"].to_string(), |e| format!("{e:?}")),
                ours.map_or_else(|e| e.to_string(), |e| format!("{e:?}")),
            )),
        }
    }
    assert_eq!(cases.len(), 72);
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

fn turns() -> Vec<Message> {
    let turn = |role: &str, content: &str| Message { role: role.into(), content: content.into() };
    vec![turn("user", "Hello?"), turn("assistant", "Hi."), turn("user", "Bye")]
}

#[test]
fn the_template_of_smollm2_prints_what_transformers_prints() {
    let Some(path) = shared("data/smollm2") else { return };
    let template = ChatTemplate::from_folder(&ModelFolder::open(&path).unwrap()).unwrap().unwrap();
    let system = "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n";
    let chat = "<|im_start|>user\nHello?<|im_end|>\n<|im_start|>assistant\nHi.<|im_end|>\n<|im_start|>user\nBye<|im_end|>\n";
    assert_eq!(template.render(&turns(), GenerationPrompt::Omit).unwrap(), format!("{system}{chat}"));
    let prompted = template.render(&turns(), GenerationPrompt::Add).unwrap();
    assert_eq!(prompted, format!("{system}{chat}<|im_start|>assistant\n"));
}

#[test]
fn the_template_of_phi3_prints_what_transformers_prints() {
    let Some(path) = shared("data/phi3-tokenizer") else { return };
    let model = ModelFolder::new(path, json!({}));
    let template = ChatTemplate::from_folder(&model).unwrap().unwrap();
    let chat = "<|user|>\nHello?<|end|>\n<|assistant|>\nHi.<|end|>\n<|user|>\nBye<|end|>\n<|assistant|>\n";
    assert_eq!(template.render(&turns(), GenerationPrompt::Add).unwrap(), chat);
    assert_eq!(
        template.render(&turns()[..2], GenerationPrompt::Add).unwrap(),
        &chat[..chat.find("<|user|>\nBye").unwrap()]
    );
}

#[test]
fn finds_the_template_of_a_folder() {
    let dir = tempfile::tempdir().unwrap();
    let render = |model: &ModelFolder| {
        let template = ChatTemplate::from_folder(model).unwrap()?;
        Some(template.render(&turns(), GenerationPrompt::Omit).unwrap())
    };
    assert_eq!(render(&folder(dir.path(), json!({}))), None);
    let several = json!([{"name": "tool_use", "template": "T"}, {"name": "default", "template": "D"}]);
    assert_eq!(render(&folder(dir.path(), json!({"chat_template": several}))).unwrap(), "D");
    let model =
        folder(dir.path(), json!({"chat_template": "C{{ eos_token }}", "eos_token": {"content": "<e>"}}));
    assert_eq!(render(&model).unwrap(), "C<e>");
    write(dir.path(), "chat_template.jinja", "J{{ strftime_now('%Y')|length }}\n");
    assert_eq!(render(&model).unwrap(), "J4");
    write(dir.path(), "chat_template.jinja", "{% for %}");
    let error = ChatTemplate::from_folder(&model).unwrap_err().to_string();
    assert!(error.contains("the chat template is not valid") && error.contains("line 1"), "{error}");
}

#[test]
fn datasets_of_conversations_become_blocks() {
    let dir = tempfile::tempdir().unwrap();
    let model = toy_model(dir.path());
    let rows = "{\"chat\": [{\"role\": \"user\", \"content\": \"10 11\"}, {\"role\": \"assistant\", \"content\": \"12\"}]}
{\"chat\": []}
{\"chat\": [{\"role\": \"user\", \"content\": \"13\"}]}\n";
    let rows = write(dir.path(), "rows.jsonl", rows);
    let chat = |source: Option<&str>, column: &str| TextGeneration {
        source: TextSource::ChatTemplate { source: source.map(str::to_owned), message_col: column.into() },
        // The template inserts what it wants itself.
        add_special_tokens: true,
        ..options(Era::New, Strategy::LineByLine, 8, "")
    };
    let source =
        "{% for m in messages %}{{ bos_token if m.role == 'user' else '' }} {{ m.content }} {% endfor %}";
    let dataset = prepare(load("json", &[&rows]), chat(Some(source), "chat"), &model).unwrap();
    assert_eq!(ids(&dataset), [vec![1, 10, 11, 12], vec![1, 13]]);

    let complaint = |options| super::setup::complaint(prepare(load("json", &[&rows]), options, &model));
    let none = complaint(chat(None, "chat"));
    assert!(none.contains("has no chat template") && none.contains("`text_template`"), "{none}");
    let missing = complaint(chat(Some(source), "messages"));
    assert!(
        missing.contains("no column `messages`, which the chat template needs; there is `chat`"),
        "{missing}"
    );
    let refused = complaint(chat(Some("{{ raise_exception('no ' + messages[0].role) }}"), "chat"));
    assert!(refused.contains("rows.jsonl`, line 1: no user"), "{refused}");
    let texts = write(dir.path(), "texts.jsonl", "{\"chat\": \"hello\"}\n");
    let kind = prepare(load("json", &[&texts]), chat(Some(source), "chat"), &model).unwrap_err().to_string();
    assert!(
        kind.contains("line 1: the column `chat` holds text where a list of messages is needed"),
        "{kind}"
    );
}

#[test]
fn keys_that_are_null_are_not_there() {
    let dir = tempfile::tempdir().unwrap();
    let model = toy_model(dir.path());
    let render = |source: &str, messages: serde_json::Value| {
        let tokens = SpecialTokens::from_folder(&model).unwrap();
        let template = ChatTemplate::new(source, &tokens).unwrap();
        template.render_value(&Value::from(&messages), GenerationPrompt::Omit).unwrap()
    };
    let message = json!([{"role": "user", "content": null, "tool_calls": null, "name": "n"}]);
    let keys = "{% for m in messages %}{{ m.keys()|list }} {{ 'content' in m }} {{ m.tool_calls is defined }} \
                {{ m.content or 'x' }}|{{ m.content }}{% endfor %}";
    assert_eq!(render(keys, message), "['role', 'name'] False False x|");
    let nested = json!([{"role": "user", "content": [{"text": null}]}]);
    assert_eq!(render("{{ messages[0].content }}", nested), "[{'text': None}]", "only keys of messages");

    // What was thought has one of three names in data, and two in templates.
    let names = "{% for m in messages %}{{ m.reasoning_content }} {{ m.thinking }};{% endfor %}";
    let thoughts = json!([
        {"role": "assistant", "reasoning": "a"}, {"role": "assistant", "thinking": "b", "reasoning": "c"},
        {"role": "assistant", "reasoning_content": "d", "thinking": null}, {"role": "user"},
    ]);
    assert_eq!(render(names, thoughts), "a a;b b;d d; ;");
}

#[test]
fn templates_ask_for_kinds_as_in_jinja2() {
    let dir = tempfile::tempdir().unwrap();
    let tokens = SpecialTokens::from_folder(&toy_model(dir.path())).unwrap();
    // Columns: `is iterable`, `is sequence`, `is mapping`, `is string`, `is number`.
    for (value, expected) in [
        ("none", "False False False False False"),
        ("'a'", "True True False True False"),
        ("[1]", "True True False False False"),
        ("{'a': 1}", "True True True False False"),
        ("1", "False False False False True"),
        ("1.5", "False False False False True"),
        ("true", "False False False False True"),
        ("range(2)", "True True False False False"),
        ("missing", "True True False False False"),
    ] {
        let asked = ["iterable", "sequence", "mapping", "string", "number"];
        let asked = asked.map(|kind| format!("{{{{ ({value}) is {kind} }}}}")).join(" ");
        let template = ChatTemplate::new(&asked, &tokens).unwrap();
        assert_eq!(template.render(&turns(), GenerationPrompt::Omit).unwrap(), expected, "{value}");
    }
    let idiom = "{% if tools is iterable and tools | length > 0 %}tools{% else %}none{% endif %}";
    let template = ChatTemplate::new(idiom, &tokens).unwrap();
    assert_eq!(template.render(&turns(), GenerationPrompt::Add).unwrap(), "none");
}

/// A value of JSON as a literal of Jinja.
fn literal(value: &serde_json::Value) -> String {
    use serde_json::Value as Json;
    match value {
        Json::Null => "none".into(),
        Json::Array(items) => format!("[{}]", items.iter().map(literal).collect::<Vec<_>>().join(", ")),
        Json::Object(entries) => {
            let entries = entries.iter().map(|(key, value)| format!("{}: {}", json!(key), literal(value)));
            format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

#[test]
fn published_templates_print_what_transformers_prints() {
    let Some(golden) = shared("goldens/chat") else { return };
    let lines = |path: &Path| -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(path).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let conversations = lines(&golden.join("data/messages.jsonl"));
    let templates = crate::support::models::read_json(&golden.join("templates.json"));
    let (mut wrong, mut cases) = (Vec::new(), 0);
    for (name, facts) in templates.as_object().unwrap() {
        let dir = tempfile::tempdir().unwrap();
        let config = json!({"bos_token": facts["bos_token"], "eos_token": facts["eos_token"]});
        let tokens = SpecialTokens::from_folder(&folder(dir.path(), config)).unwrap();
        let source = std::fs::read_to_string(golden.join(format!("templates/{name}.jinja"))).unwrap();
        let expected = lines(&golden.join(format!("expected/{name}.jsonl")));
        for (conversation, expected) in conversations.iter().zip(&expected) {
            assert_eq!(conversation["id"], expected["id"]);
            cases += 1;
            // The clock stood still, and every row has what else the template is given.
            let mut given = "{%- macro strftime_now(format) -%}07 Mar 2026{%- endmacro -%}".to_owned();
            let mut give = |key: &str, value: &serde_json::Value| {
                given += &format!("{{%- set {key} = {} -%}}", literal(value));
            };
            for of in [&facts["template_kwargs"], &conversation["chat_template_kwargs"]] {
                of.as_object().into_iter().flatten().for_each(|(key, value)| give(key, value));
            }
            match &conversation["tools"] {
                serde_json::Value::Null => {}
                serde_json::Value::Array(none) if none.is_empty() => {}
                serde_json::Value::String(text) => give("tools", &serde_json::from_str(text).unwrap()),
                tools => give("tools", tools),
            }
            let template = ChatTemplate::new(&(given + &source), &tokens).unwrap();
            let messages = Value::from(&conversation["messages"]);
            let ours = template.render_value(&messages, GenerationPrompt::Omit);
            if ours.as_ref().ok().map(String::as_str) != expected["text"].as_str() {
                wrong.push(format!("{name} on {}: {ours:?}", conversation["id"]));
            }
        }
    }
    assert!(cases >= 400, "{cases} conversations");
    assert!(wrong.is_empty(), "{} of {cases} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn messages_with_the_names_of_sharegpt_have_roles_and_contents_too() {
    let dir = tempfile::tempdir().unwrap();
    let model = toy_model(dir.path());
    let rows =
        |turns: serde_json::Value| write(dir.path(), "rows.jsonl", json!({"messages": turns}).to_string());
    let usual = "{% for m in messages %}{{ {'user': '3', 'assistant': '4', 'system': '5'}[m.role] }} {{ m.content }} {% endfor %}";
    let own = "{% for m in messages %}{{ {'human': '3', 'gpt': '4', 'system': '5'}[m['from']] }} {{ m['value'] }} {% endfor %}";
    let prepared = |source: &str, turns: serde_json::Value| {
        let source = TextSource::ChatTemplate { source: Some(source.into()), message_col: "messages".into() };
        let options = TextGeneration {
            source,
            pad_to_max_len: false,
            ..options(Era::New, Strategy::LineByLine, 16, "")
        };
        prepare(load("json", &[&rows(turns)]), options, &model)
    };
    let share_gpt = json!([{"from": "system", "value": "9"}, {"from": "human", "value": "10"}, {"from": "gpt", "value": "11"}]);
    let same = json!([{"role": "system", "content": "9"}, {"role": "user", "content": "10"}, {"role": "assistant", "content": "11"}]);
    let want = prepared(usual, same).unwrap();
    assert_eq!(ids(&want), [[5, 9, 3, 10, 4, 11]]);
    for source in [usual, own] {
        assert_eq!(ids(&prepared(source, share_gpt.clone()).unwrap()), ids(&want));
    }
}
