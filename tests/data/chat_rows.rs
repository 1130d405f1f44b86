//! Conversations of every kind with a toy tokenizer: formats, weights, tools, reasoning, and rows that are refused.

use super::setup::{complaint, ids, prepare_with, toy_model, write};
use crate::support::events::Recorder;
use crate::support::rows::{load, options};
use olive_config::canonical::{
    AnswersBy, BadRows, ChatOptions, ChatSource, DataConfig, Era, LossOn, MixedData, RowFormat, Strategy,
    TextColumn, TextGeneration, TextSource,
};
use olive_core::cancel::CancelFlag;
use olive_data::{Dataset, IGNORED, MicroBatch};
use olive_model::ModelFolder;
use serde_json::{Value, json};

const X: i32 = IGNORED;

/// 90 begins a message of the assistant, 91 any other, 92 ends both. 80 comes before tools, 81 before calls, 82 before
/// what was thought.
const TEMPLATE: &str = "{% for tool in tools or [] %}80 {{ tool.function.name }} {% endfor %}\
    {% for m in messages %}{{ '90 ' if m.role == 'assistant' else '91 ' }}\
    {% if m.reasoning_content %}82 {{ m.reasoning_content }} {% endif %}{{ m.content }} \
    {% for call in m.tool_calls or [] %}81 {{ call.function.name }} {{ call.function.arguments.at }} {% endfor %}92 \
    {% endfor %}{{ '90 ' if add_generation_prompt }}";

struct Talk {
    dir: tempfile::TempDir,
    model: ModelFolder,
}

impl Talk {
    fn new() -> Talk {
        let dir = tempfile::tempdir().unwrap();
        let model = toy_model(dir.path());
        Talk { dir, model }
    }

    fn with(&self, rows: &[Value], options: TextGeneration) -> (olive_core::Result<Dataset>, Vec<String>) {
        let lines: String = rows.iter().map(|row| row.to_string() + "\n").collect();
        let file = write(self.dir.path(), "talk.jsonl", lines);
        let recorder = Recorder::default();
        let dataset = prepare_with(load("json", &[&file]), options, &self.model, &recorder);
        (dataset, recorder.warnings())
    }

    fn samples(&self, rows: &[Value]) -> Dataset {
        self.with(rows, chat(None)).0.unwrap()
    }

    /// Why the last of these rows is refused.
    fn refusal(&self, row: Value) -> String {
        complaint(self.with(&[said("10", "11"), row], chat(None)).0)
    }
}

fn chat(loss_on: Option<LossOn>) -> TextGeneration {
    let source = ChatSource { template: Some(TEMPLATE.into()), ..ChatSource::default() };
    TextGeneration {
        source: TextSource::Chat(source),
        loss_on,
        ..options(Era::New, Strategy::LineByLine, 40, "")
    }
}

fn said(question: &str, answer: &str) -> Value {
    json!({"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]})
}

fn labels(dataset: &Dataset) -> Vec<Vec<i32>> {
    dataset.samples.iter().map(|sample| sample.labels.clone()).collect()
}

#[test]
fn all_formats_are_the_same_conversation() {
    let talk = Talk::new();
    let want = talk.samples(&[said("10", "11")]);
    assert_eq!(
        (ids(&want), labels(&want)),
        (vec![vec![91, 10, 92, 90, 11, 92]], vec![vec![X, X, X, X, 11, 92]])
    );
    for row in [
        json!({"conversations": [{"from": "human", "value": "10"}, {"from": "GPT", "value": "11"}]}),
        json!({"messages": "[{\"from\": \"user\", \"value\": \"10\"}, {\"from\": \"model\", \"value\": \"11\"}]"}),
        json!({"instruction": "10", "input": "", "output": "11"}),
        json!({"prompt": [{"role": "user", "content": "10"}], "completion": [{"role": "assistant", "content": "11"}]}),
        json!({"messages": [{"role": "user", "content": [{"type": "text", "text": "1"}, {"type": "text", "text": "0"}]},
                            {"role": "assistant", "content": "11", "tool_calls": null}], "prompt": "7"}),
    ] {
        let dataset = talk.samples(std::slice::from_ref(&row));
        assert_eq!((ids(&dataset), labels(&dataset)), (ids(&want), labels(&want)), "{row}");
    }
    let system = json!({"messages": said("10", "11")["messages"], "system": "12"});
    assert_eq!(ids(&talk.samples(&[system])), [[91, 12, 92, 91, 10, 92, 90, 11, 92]]);
    let history = json!({"instruction": "10", "input": "13", "output": "11", "history": [["14", "15"]]});
    assert_eq!(
        ids(&talk.samples(&[history])),
        [[91, 14, 92, 90, 15, 92, 91, 10, 13, 92, 90, 11, 92]],
        "every turn, and the input below the instruction"
    );
}

#[test]
fn columns_decide_the_format_for_all_rows() {
    let talk = Talk::new();
    let pair = json!({"prompt": "10", "completion": "11"});
    let refused = |rows: &[Value]| complaint(talk.with(rows, chat(None)).0);
    let both = refused(&[said("10", "11"), pair.clone()]);
    assert!(both.contains("`messages` and `prompt-completion`") && both.contains("`format`"), "{both}");
    let share_gpt = json!({"messages": [{"from": "human", "value": "10"}, {"from": "gpt", "value": "11"}]});
    let mixed = refused(&[said("10", "11"), share_gpt]);
    assert!(mixed.contains("line 2") && mixed.contains("`messages` and `sharegpt`"), "{mixed}");
    let none = refused(&[json!({"question": "10", "answer": "11"})]);
    assert!(none.contains("no conversation is found in the columns `question`, `answer`"), "{none}");

    let asked = |format| TextGeneration {
        source: TextSource::Chat(ChatSource { format, template: Some(TEMPLATE.into()), message_col: None }),
        ..chat(None)
    };
    let row = json!({"messages": said("10", "11")["messages"], "prompt": "12 ", "completion": "13"});
    let chosen = talk.with(std::slice::from_ref(&row), asked(RowFormat::PromptCompletion)).0.unwrap();
    assert_eq!(ids(&chosen), [[12, 13]]);
    assert_eq!(ids(&talk.with(&[row], asked(RowFormat::Messages)).0.unwrap()), [[91, 10, 92, 90, 11, 92]]);
    let missing = complaint(talk.with(&[pair], asked(RowFormat::Alpaca)).0);
    assert!(missing.contains("the format `alpaca` needs `instruction`"), "{missing}");
}

#[test]
fn without_options_the_column_text_comes_first() {
    let talk = Talk::new();
    write(talk.dir.path(), "chat_template.jinja", TEMPLATE);
    let undescribed = TextGeneration { source: TextSource::Undescribed(TextColumn), ..chat(None) };
    let found = talk.with(&[said("10", "11")], undescribed.clone()).0.unwrap();
    assert_eq!(labels(&found), [[X, X, X, X, 11, 92]]);
    let row = json!({"messages": said("10", "11")["messages"], "text": "12 13"});
    let (texts, warnings) = talk.with(std::slice::from_ref(&row), undescribed.clone());
    assert_eq!(labels(&texts.unwrap()), [[12, 13]]);
    assert!(warnings[0].contains("the conversations beside it are not"), "{warnings:?}");
    let (found, warnings) = talk.with(&[row], chat(None));
    assert_eq!(ids(&found.unwrap()), [[91, 10, 92, 90, 11, 92]]);
    assert!(warnings[0].contains("the column `text` is not used"), "{warnings:?}");
    let missing = complaint(talk.with(&[json!({"question": "10"})], undescribed).0);
    assert!(missing.contains("no column `text`"), "{missing}");
}

#[test]
fn texts_with_a_completion_need_no_template() {
    let talk = Talk::new();
    let source = TextSource::Chat(ChatSource::default());
    let pairs = |add_special_tokens: bool| TextGeneration {
        source: source.clone(),
        add_special_tokens,
        ..chat(None)
    };
    let rows =
        [json!({"prompt": "10 11 ", "completion": "12"}), json!({"prompt": "", "completion": "13 14</s>"})];
    let plain = talk.with(&rows, pairs(false)).0.unwrap();
    assert_eq!(labels(&plain), [vec![X, X, 12], vec![13, 14, 2]]);
    // The end of text is learned; one that is there is not doubled.
    let ended = talk.with(&rows, pairs(true)).0.unwrap();
    assert_eq!(
        (ids(&ended), labels(&ended)),
        (vec![vec![10, 11, 12, 2], vec![13, 14, 2]], vec![vec![X, X, 12, 2], vec![13, 14, 2]])
    );
    let conversation = complaint(talk.with(&[said("10", "11")], pairs(false)).0);
    assert!(conversation.contains("has no chat template"), "{conversation}");
    // A token that begins in the prompt and reaches into the completion is the prompt's.
    let (straddling, warnings) = talk.with(&[json!({"prompt": "10 1", "completion": "1 12"})], pairs(false));
    assert_eq!(labels(&straddling.unwrap()), [[X, X, 12]]);
    assert!(
        warnings.iter().any(|warning| warning.starts_with("1 answers begin inside a token")),
        "{warnings:?}"
    );
}

#[test]
fn weights_of_messages_are_factors_on_their_tokens() {
    let talk = Talk::new();
    let row = |weights: [Value; 2]| {
        json!({"messages": [
            {"role": "user", "content": "10"}, {"role": "assistant", "content": "11", "weight": weights[0]},
            {"role": "user", "content": "12", "train": false}, {"role": "assistant", "content": "13", "loss": weights[1]},
        ]})
    };
    let halved = talk.samples(&[row([0.5.into(), true.into()])]);
    let sample = &halved.samples[0];
    assert_eq!(sample.labels, [X, X, X, X, 11, 92, X, X, X, X, 13, 92]);
    assert_eq!(sample.weights.as_ref().unwrap()[4..], [0.5, 0.5, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0]);
    let batch = MicroBatch::new([(0, sample)]);
    assert_eq!((batch.labels, batch.weight), (4, 3.0));
    let none = talk.samples(&[row([0.into(), Value::Null])]);
    assert_eq!((&none.samples[0].labels[4..6], &none.samples[0].weights), (&[X, X][..], &None));

    // A row of which nothing counts is left out, and so is its place in a block.
    let mute = row([0.into(), false.into()]);
    let packed = TextGeneration { strategy: Strategy::Pack, ..chat(None) };
    let rows = [mute.clone(), row([2.into(), true.into()]), said("20", "21")];
    let (dataset, warnings) = talk.with(&rows, packed.clone());
    let dataset = dataset.unwrap();
    assert_eq!(dataset.samples[0].documents, Some(vec![12, 6]));
    assert_eq!(dataset.samples[0].weights.as_ref().unwrap()[4..6], [2.0, 2.0]);
    assert!(warnings[0].starts_with("1 of 3 rows have no answer"), "{warnings:?}");
    for options in [packed, chat(None)] {
        let nothing = complaint(talk.with(std::slice::from_ref(&mute), options).0);
        assert!(nothing.contains("not one of the tokens"), "{nothing}");
    }
    // Where all counts, a message may still count otherwise.
    let all = talk.with(&[row([0.into(), true.into()])], chat(Some(LossOn::All))).0.unwrap();
    assert_eq!(labels(&all), [[91, 10, 92, 90, X, X, 91, 12, 92, 90, 13, 92]]);
}

#[test]
fn tools_calls_and_thoughts_reach_the_template() {
    let talk = Talk::new();
    let messages = json!([
        {"role": "user", "content": "10"},
        {"role": "assistant", "content": null, "thinking": "30",
         "tool_calls": [{"type": "function", "function": {"name": "40", "arguments": "{\"at\": \"41\"}"}}]},
        {"role": "tool", "content": "12", "name": "40"},
        {"role": "assistant", "content": "13"},
    ]);
    let tools =
        [json!({"name": "40", "parameters": {}}), json!({"type": "function", "function": {"name": "42"}})];
    for tools in [json!(tools), json!(json!(tools).to_string())] {
        let dataset = talk.samples(&[json!({"messages": messages, "tools": tools})]);
        let text = [80, 40, 80, 42, 91, 10, 92, 90, 82, 30, 81, 40, 41, 92, 91, 12, 92, 90, 13, 92];
        assert_eq!(ids(&dataset), [text]);
        assert_eq!(
            labels(&dataset)[0][8..14],
            [82, 30, 81, 40, 41, 92],
            "what is thought and called is learned"
        );
    }
    let call = json!({"conversations": [
        {"from": "human", "value": "10"}, {"from": "function_call", "value": "{\"name\": \"40\", \"arguments\": {\"at\": \"41\"}}"},
        {"from": "observation", "value": "12"}, {"from": "gpt", "value": "13"},
    ]});
    assert_eq!(ids(&talk.samples(&[call])), [[91, 10, 92, 90, 81, 40, 41, 92, 91, 12, 92, 90, 13, 92]]);

    // What a template does not print, the model would not see.
    let blind = TextGeneration {
        source: TextSource::Chat(ChatSource {
            template: Some("{% for m in messages %}{{ m.content }} {% endfor %}".into()),
            ..ChatSource::default()
        }),
        ..chat(None)
    };
    let refused = |row: Value| complaint(talk.with(&[row], blind.clone()).0);
    let vanished = refused(json!({"messages": messages}));
    assert!(vanished.contains("the reasoning of message 2 does not appear"), "{vanished}");
    let vanished = refused(json!({"messages": said("10", "11")["messages"], "tools": tools}));
    assert!(vanished.contains("the tools do not appear"), "{vanished}");
}

#[test]
fn what_cannot_be_learned_is_refused_with_row_and_way_out() {
    let talk = Talk::new();
    let answer = |more: Value| {
        let mut row = said("10", "11");
        row["messages"][1].as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        row
    };
    for (row, told) in [
        (json!({"messages": null}), "`messages` holds no value"),
        (json!({"messages": []}), "there are no messages"),
        (json!({"messages": "[{"}), "not JSON"),
        (json!({"messages": ["10"]}), "message 1 is text"),
        (json!({"messages": [{"role": "user", "content": "10"}]}), "no message of the assistant"),
        (answer(json!({"role": "narrator"})), "message 2 has the role `narrator`"),
        (answer(json!({"role": null})), "message 2 has no role"),
        (answer(json!({"content": null})), "message 2 has no content"),
        (answer(json!({"content": 7})), "message 2 has a number for its content"),
        (answer(json!({"content": [{"type": "image"}]})), "message 2 has an object for its content"),
        (answer(json!({"content": " "})), "message 2 is an empty answer"),
        (answer(json!({"weight": -1})), "message 2 has -1 for its `weight`"),
        (answer(json!({"train": 1})), "message 2 has 1 for its `train`"),
        (
            answer(json!({"tool_calls": [{"function": {"name": "x", "arguments": "{"}}]})),
            "arguments are not JSON",
        ),
        (json!({"messages": said("10", "11")["messages"], "tools": "none"}), "`tools` cannot be read"),
        (
            json!({"messages": said("10", "11")["messages"], "chat_template_kwargs": [1]}),
            "`chat_template_kwargs` holds a list",
        ),
    ] {
        let error = talk.refusal(row);
        assert!(error.contains("talk.jsonl`, line 2: ") && error.contains(told), "{told}: {error}");
        assert!(error.contains("`bad_rows: skip` leaves such rows out"), "{error}");
    }
    let rows =
        [said("10", "11"), answer(json!({"content": ""})), answer(json!({"role": "x"})), said("12", "13")];
    let error = complaint(talk.with(&rows, chat(None)).0);
    assert!(error.contains("line 2: message 2 is an empty answer (2 of 4 rows"), "{error}");
    let skipping = TextGeneration {
        chat: ChatOptions { bad_rows: BadRows::Skip, ..ChatOptions::default() },
        ..chat(None)
    };
    let (dataset, warnings) = talk.with(&rows, skipping);
    assert_eq!(dataset.unwrap().samples.len(), 2);
    assert!(warnings[0].starts_with("2 of 4 rows are left out; the first is"), "{warnings:?}");
    let open = json!({"messages": [said("10", "11")["messages"][1], {"role": "user", "content": "12"}]});
    let error = complaint(talk.with(&[open], chat(Some(LossOn::Last))).0);
    assert!(error.contains("the last message is not the assistant's"), "{error}");
}

#[test]
fn templates_get_variables_and_a_day_that_stays() {
    let talk = Talk::new();
    let template = "{{ strftime_now('%d') }} {{ mood }} {% for m in messages %}{{ m.content }} {% endfor %}";
    let source = ChatSource { template: Some(template.into()), ..ChatSource::default() };
    let options = |date: Option<&str>| TextGeneration {
        source: TextSource::Chat(source.clone()),
        chat: ChatOptions {
            template_variables: [("mood".to_owned(), json!("50"))].into(),
            template_date: date.map(str::to_owned),
            ..ChatOptions::default()
        },
        ..chat(None)
    };
    let mut own = said("10", "11");
    own["chat_template_kwargs"] = json!({"mood": "51"});
    let (dataset, warnings) = talk.with(&[said("10", "11"), own.clone()], options(Some("2026-03-14")));
    assert_eq!(ids(&dataset.unwrap()), [[14, 50, 10, 11], [14, 51, 10, 11]]);
    assert_eq!(warnings, [""; 0]);
    let (_, warnings) = talk.with(std::slice::from_ref(&own), options(None));
    assert!(warnings[0].contains("`template_date`"), "{warnings:?}");
    let error = complaint(talk.with(&[own], options(Some("14 March"))).0);
    assert!(error.contains("`14 March`, which is no day"), "{error}");
}

#[test]
fn marks_decide_where_a_template_has_them() {
    let talk = Talk::new();
    // The mark that ends an answer is not marked, and what comes before it is said twice.
    let template = "{% for m in messages %}{% if m.role == 'assistant' %}90 {% generation %}{{ m.content }}{% endgeneration %} 92 \
                    {% else %}91 {{ m.content }} 92 {% endif %}{% endfor %}{{ '90 ' if add_generation_prompt }}";
    let marked = |by: Option<AnswersBy>, template: &str| TextGeneration {
        source: TextSource::Chat(ChatSource { template: Some(template.into()), ..ChatSource::default() }),
        chat: ChatOptions { answers_by: by, ..ChatOptions::default() },
        ..chat(None)
    };
    let rows = [said("10", "11")];
    assert_eq!(labels(&talk.with(&rows, marked(None, template)).0.unwrap()), [[X, X, X, X, 11, X]]);
    let prefix = talk.with(&rows, marked(Some(AnswersBy::Prefix), template)).0.unwrap();
    assert_eq!(labels(&prefix), [[X, X, X, X, 11, 92]]);
    let none = complaint(talk.with(&rows, marked(Some(AnswersBy::Marks), TEMPLATE)).0);
    assert!(none.contains("the chat template has none"), "{none}");
    let twice =
        template.replace("{% endgeneration %}", "{% endgeneration %} {% generation %}7{% endgeneration %}");
    let error = complaint(talk.with(&rows, marked(None, &twice)).0);
    assert!(error.contains("marks 2 answers of 1") && error.contains("answers_by: prefix"), "{error}");
    // Text with the signs that the marks leave cannot be told apart.
    let error = complaint(talk.with(&[said("10", "\u{fdd0}11")], marked(None, template)).0);
    assert!(error.contains("marks 0 answers of 1"), "{error}");
}

#[test]
fn text_of_special_tokens_in_messages_is_counted() {
    let talk = Talk::new();
    let (_, warnings) = talk.with(&[said("10 </s>", "11"), said("12", "13")], chat(None));
    assert!(warnings[0].starts_with("in 1 rows somebody says the text of a special token"), "{warnings:?}");
    let joined = TextGeneration { strategy: Strategy::Join, max_seq_len: 6, ..chat(None) };
    let (_, warnings) = talk.with(&[said("10", "11")], joined);
    assert!(warnings[0].contains("`strategy: pack` keeps them whole"), "{warnings:?}");
}

#[test]
fn data_of_other_formats_is_mixed_in_by_weight() {
    let talk = Talk::new();
    let part = |name: &str, rows: &[Value], options: TextGeneration| {
        let lines: String = rows.iter().map(|row| row.to_string() + "\n").collect();
        let file = write(talk.dir.path(), &format!("{name}.jsonl"), lines);
        DataConfig { name: name.into(), load: load("json", &[&file]), pre_process: options, mix: Vec::new() }
    };
    let alpaca = part(
        "alpaca",
        &[json!({"instruction": "20", "output": "21"}), json!({"instruction": "22", "output": "23"})],
        chat(None),
    );
    let texts = TextGeneration { source: TextSource::Template("{t}".into()), ..chat(None) };
    let plain = part("plain", &[json!({"t": "30 31"})], texts);
    let mix = vec![MixedData { config: alpaca, weight: 0.5 }, MixedData { config: plain, weight: 2.0 }];
    let mixed = DataConfig { mix, ..part("talk", &[said("10", "11")], chat(None)) };
    let dataset = olive_data::prepare(&mixed, &talk.model, &(), &CancelFlag::default()).unwrap();
    let ids = ids(&dataset);
    assert_eq!((ids.len(), &ids[0], dataset.rows), (4, &vec![91, 10, 92, 90, 11, 92], 4));
    assert!(ids[1] == [91, 20, 92, 90, 21, 92] || ids[1] == [91, 22, 92, 90, 23, 92], "{ids:?}");
    assert_eq!(ids[2..], [[30, 31], [30, 31]]);
}
