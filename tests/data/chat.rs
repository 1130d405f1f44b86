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
