//! Which part of a text is a prompt, and which is the answer to it.

use super::setup::{toy_model, write};
use crate::support::rows::{load, options};
use olive_config::canonical::{DataConfig, Era, Strategy, TextGeneration, TextSource};
use olive_data::text_prompts;
use serde_json::{Value, json};
use std::path::Path;

fn prompts(
    dir: &Path,
    rows: &[Value],
    options: TextGeneration,
    most: usize,
) -> olive_core::Result<Vec<(String, String)>> {
    let lines: String = rows.iter().map(|row| row.to_string() + "\n").collect();
    let load = load("json", &[&write(dir, "rows.jsonl", lines)]);
    let model = toy_model(dir);
    let config = DataConfig { name: "data".into(), load, pre_process: options, mix: Default::default() };
    Ok(text_prompts(&config, &model, most)?.into_iter().map(|row| (row.prompt, row.answer)).collect())
}

fn from(source: TextSource) -> TextGeneration {
    TextGeneration { source, add_special_tokens: true, ..options(Era::New, Strategy::LineByLine, 40, "") }
}

fn pair(prompt: &str, answer: &str) -> (String, String) {
    (prompt.to_owned(), answer.to_owned())
}

#[test]
fn the_last_field_or_column_answers_those_before_it() {
    let dir = tempfile::tempdir().unwrap();
    let rows =
        [json!({"q": "10 11", "a": "12"}), json!({"q": "13", "a": " "}), json!({"q": "14", "a": "15"})];
    let template = |text: &str| from(TextSource::Template(text.into()));
    let found = prompts(dir.path(), &rows, template("90 {q} 91 {a} 92"), 3).unwrap();
    // The second row has no answer. Texts begin with the token that begins texts in training.
    assert_eq!(found, [pair("<s> 90 10 11 91 ", "12"), pair("<s> 90 14 91 ", "15")]);
    let plain = TextGeneration { add_special_tokens: false, ..template("{a} {q}") };
    assert_eq!(prompts(dir.path(), &rows, plain, 1).unwrap(), [pair("12 ", "10 11")]);
    let columns = |names: &[&str]| {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        TextGeneration { add_special_tokens: false, ..from(TextSource::Columns(names)) }
    };
    assert_eq!(prompts(dir.path(), &rows, columns(&["q", "a"]), 1).unwrap(), [pair("10 11", " 12")]);
    for one in [columns(&["q"]), template("{q}")] {
        assert_eq!(prompts(dir.path(), &rows, one, 3).unwrap(), [], "one field is no answer to another");
    }
}

#[test]
fn a_marker_or_a_chat_says_where_the_answer_begins() {
    let dir = tempfile::tempdir().unwrap();
    let text = [json!({"t": "10 91 11 91 12"}), json!({"t": "13"})];
    let marked =
        TextGeneration { response_template: Some("91".into()), ..from(TextSource::Template("{t}".into())) };
    assert_eq!(prompts(dir.path(), &text, marked, 3).unwrap(), [pair("<s> 10 91 11 91", " 12")]);

    let message = |role: &str, content: &str| json!({"role": role, "content": content});
    let talk = [
        json!({"messages": [message("user", "10"), message("assistant", "12"), message("user", "13"), message("assistant", "14")]}),
    ];
    let chat = |template: &str| {
        from(TextSource::ChatTemplate { source: Some(template.into()), message_col: "messages".into() })
    };
    let template = "{% for m in messages %}{{ '91 ' if m.role == 'assistant' else '90 ' }}{{ m.content }} 92 {% endfor %}\
                    {{ '91 ' if add_generation_prompt }}";
    // The first answer, after what the template writes for it.
    assert_eq!(prompts(dir.path(), &talk, chat(template), 3).unwrap(), [pair("90 10 92 91 ", "12 92 ")]);
    let drops = "{% for m in messages %}{% if loop.last %}{{ m.content }} {% endif %}{% endfor %}";
    assert_eq!(prompts(dir.path(), &talk, chat(drops), 3).unwrap(), [], "no answer can be told");
}
