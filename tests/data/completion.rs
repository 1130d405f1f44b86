//! Which labels count with `loss_on: "completion"`, and how rows are packed.

use super::setup::{complaint, ids, prepare, prepare_with, toy_model, write};
use crate::support::binary::root;
use crate::support::events::Recorder;
use crate::support::quickstart::base_model;
use crate::support::rows::{load, options};
use olive_config::canonical::{ChatSource, Era, LoadDataset, LossOn, Strategy, TextGeneration, TextSource};
use olive_data::{Dataset, IGNORED};
use olive_model::ModelFolder;
use std::path::Path;

/// What is said about rows that are too long.
fn said(data: LoadDataset, options: TextGeneration, model: &ModelFolder) -> Vec<String> {
    let recorder = Recorder::default();
    prepare_with(data, options, model, &recorder).unwrap();
    recorder.warnings()
}

#[test]
fn rows_that_lose_their_end_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    let model = toy_model(dir.path());
    let texts = ["10 20 21 11 12 13 14", "20 21 15", "16 17 18 19 30 20 21 40", "20 21 22 23 24 25 26 27 28"];
    let rows = || rows(dir.path(), &texts);
    let line = after("20 21", Strategy::LineByLine, 5);
    // Of the third nothing is left to learn, which is said apart.
    let cut = "2 of 4 samples are longer than `max_seq_len` (5) and are cut; the longest has 9 tokens";
    let warnings = said(rows(), line.clone(), &model);
    assert_eq!(warnings[0], cut);
    assert!(warnings[1].contains("1 of 4 samples have no completion"), "{warnings:?}");
    let padded = TextGeneration { pad_to_max_len: true, ..line.clone() };
    assert_eq!(said(rows(), padded, &model)[0], cut);

    let all = |strategy, length| options(Era::New, strategy, length, "{t}");
    let warnings = said(rows(), all(Strategy::LineByLine, 7), &model);
    assert_eq!(
        warnings,
        ["2 of 4 samples are longer than `max_seq_len` (7) and are cut; the longest has 9 tokens"]
    );
    assert_eq!(said(rows(), all(Strategy::LineByLine, 9), &model), [""; 0], "none is cut");
    let warnings = said(rows(), all(Strategy::Pack, 8), &model);
    assert_eq!(
        warnings,
        ["1 of 4 rows are longer than `max_seq_len` (8) and are cut; the longest has 9 tokens"]
    );
    let random = TextGeneration { max_samples: Some(20), ..all(Strategy::LineByLineRandom, 2) };
    let warnings = said(rows(), random, &model);
    assert_eq!(
        warnings,
        ["20 of 20 samples are longer than `max_seq_len` (2) and are cut; the longest has 9 tokens"]
    );
    assert_eq!(said(rows(), all(Strategy::Join, 4), &model), [""; 0], "joined rows lose nothing");
}

#[test]
fn texts_that_bring_the_special_tokens_themselves_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let model = toy_model(dir.path());
    let texts = ["<s>10 11</s>", "12 <s> 13", "14 15 </s>", "16"];
    let around = |add_special_tokens: bool| TextGeneration {
        add_special_tokens,
        ..options(Era::New, Strategy::LineByLine, 9, "{t}")
    };
    let warnings = said(rows(dir.path(), &texts), around(true), &model);
    assert!(
        warnings[0].starts_with("2 of 4 texts begin with `<s>` or end with `</s>` already"),
        "{warnings:?}"
    );
    assert_eq!(said(rows(dir.path(), &texts), around(false), &model), [""; 0]);
    assert_eq!(said(rows(dir.path(), &["12 <s> 13", "16"]), around(true), &model), [""; 0]);
}

fn labels(dataset: &Dataset) -> Vec<Vec<i32>> {
    dataset.samples.iter().map(|s| s.labels.clone()).collect()
}

fn after(marker: &str, strategy: Strategy, length: usize) -> TextGeneration {
    let response_template = Some(marker.to_owned());
    TextGeneration {
        loss_on: Some(LossOn::Completion),
        response_template,
        ..options(Era::New, strategy, length, "{t}")
    }
}

fn rows(dir: &Path, texts: &[&str]) -> LoadDataset {
    let lines: String = texts.iter().map(|t| serde_json::json!({"t": t}).to_string() + "\n").collect();
    load("json", &[&write(dir, "rows.jsonl", lines)])
}

const X: i32 = IGNORED;

#[test]
fn what_follows_the_last_marker_counts() {
    let dir = tempfile::tempdir().unwrap();
    let model = toy_model(dir.path());
    let texts = ["10 20 21 11 12", "20 21 13 20 21 14", "15 16", "17 18 19 30 20 21 40"];
    let recorder = Recorder::default();
    let line = after("20 21", Strategy::LineByLine, 6);
    let data = prepare_with(rows(dir.path(), &texts), line.clone(), &model, &recorder).unwrap();
    // The third row has no marker, and of the fourth the completion is cut off.
    assert_eq!(ids(&data), [vec![10, 20, 21, 11, 12], vec![20, 21, 13, 20, 21, 14]]);
    assert_eq!(labels(&data), [vec![X, X, X, 11, 12], vec![X, X, X, X, X, 14]]);
    assert!(
        recorder.warnings()[0].contains("2 of 4 samples have no completion"),
        "{:?}",
        recorder.warnings()
    );

    let padded = TextGeneration { pad_to_max_len: true, ..line.clone() };
    let data = prepare(rows(dir.path(), &texts[..1]), padded, &model).unwrap();
    assert_eq!(labels(&data), [[X, X, X, 11, 12, X]]);

    // Tokens around the text are part of the completion, as its end is something to learn.
    let surrounded = TextGeneration { add_special_tokens: true, max_seq_len: 9, ..line.clone() };
    let data = prepare(rows(dir.path(), &texts[..1]), surrounded, &model).unwrap();
    assert_eq!(
        (ids(&data), labels(&data)),
        (vec![vec![1, 10, 20, 21, 11, 12, 2]], vec![vec![X, X, X, X, 11, 12, 2]])
    );

    // Joined rows keep their masks; what is between them is nobody's completion. A block whose only label is that of its
    // first token, which nothing predicts, is left out.
    let joined = TextGeneration { joiner: Some("99".into()), ..after("20 21", Strategy::Join, 4) };
    let data = prepare(rows(dir.path(), &texts[..2]), joined, &model).unwrap();
    assert_eq!(labels(&data), [[X, X, X, 11], [X, X, X, 14]]);

    let none = complaint(prepare(rows(dir.path(), &["10 11"]), line, &model));
    assert!(none.contains("not one of the tokens"), "{none}");
}

#[test]
fn what_the_assistant_says_counts_in_every_turn() {
    let dir = tempfile::tempdir().unwrap();
    let model = toy_model(dir.path());
    // 90 begins a user's turn, 91 an assistant's, 92 ends both, and the end of text ends a conversation.
    let template = "{% for m in messages %}{{ '91 ' if m.role == 'assistant' else '90 ' }}{{ m.content }} 92 \
                    {% endfor %}{{ '91 ' if add_generation_prompt else eos_token }}";
    let message = |role: &str, content: &str| serde_json::json!({"role": role, "content": content});
    let talk = [
        message("user", "10 11"),
        message("assistant", "12"),
        message("user", "13"),
        message("assistant", "14 15"),
    ];
    let row = serde_json::json!({ "talk": talk }).to_string() + "\n";
    let source = |text: &str, loss_on: Option<LossOn>| TextGeneration {
        loss_on,
        source: TextSource::Chat(ChatSource {
            template: Some(text.into()),
            message_col: Some("talk".into()),
            ..ChatSource::default()
        }),
        ..options(Era::New, Strategy::LineByLine, 40, "")
    };
    let load = || load("json", &[&write(dir.path(), "talk.jsonl", &row)]);
    // All answers, unless something else is said.
    for loss_on in [None, Some(LossOn::Assistant), Some(LossOn::Completion)] {
        let data = prepare(load(), source(template, loss_on), &model).unwrap();
        assert_eq!(ids(&data), [[90, 10, 11, 92, 91, 12, 92, 90, 13, 92, 91, 14, 15, 92, 2]]);
        assert_eq!(labels(&data), [[X, X, X, X, X, 12, 92, X, X, X, X, 14, 15, 92, 2]]);
    }
    let data = prepare(load(), source(template, Some(LossOn::Last)), &model).unwrap();
    assert_eq!(labels(&data), [[X, X, X, X, X, X, X, X, X, X, X, 14, 15, 92, 2]]);

    // A template that drops earlier answers cannot be followed turn by turn, but the last one is as it is asked for.
    let drops = "{% for m in messages %}{% if m.role == 'user' or loop.last %}{{ m.content }} {% endif %}\
                 {% endfor %}{{ '91' if add_generation_prompt }}";
    let error = complaint(prepare(load(), source(drops, None), &model));
    assert!(
        error.contains("talk.jsonl`, line 1")
            && error.contains("message 2")
            && error.contains("loss_on: last"),
        "{error}"
    );
    let marked = TextGeneration {
        response_template: Some("13".into()),
        source: TextSource::ChatTemplate { source: Some(drops.into()), message_col: "talk".into() },
        ..source(drops, Some(LossOn::Completion))
    };
    let data = prepare(load(), marked, &model).unwrap();
    assert_eq!(labels(&data), [[X, X, X, 14, 15]]);
}

#[test]
fn a_real_tokenizer_cuts_at_the_marker() {
    let model = ModelFolder::open(&base_model()).unwrap();
    let tokenizer = model.tokenizer().unwrap();
    let file = root().join("datasets/olive-qa.jsonl");
    let template = "Question: {Question}\nAnswer: {Best Answer}<|end|>";
    // With the space after the colon, which belongs to the answer's first token.
    for marker in ["Answer:", "Answer: "] {
        let complete = TextGeneration {
            loss_on: Some(LossOn::Completion),
            response_template: Some(marker.into()),
            ..options(Era::New, Strategy::LineByLine, 256, template)
        };
        let data = prepare(load("json", &[file.to_str().unwrap()]), complete, &model).unwrap();
        let rows = std::fs::read_to_string(&file).unwrap();
        assert_eq!(data.samples.len(), rows.lines().count());
        for (sample, row) in data.samples.iter().zip(rows.lines()) {
            let row: serde_json::Value = serde_json::from_str(row).unwrap();
            let counted: Vec<u32> =
                sample.labels.iter().filter(|l| **l != X).map(|l| u32::try_from(*l).unwrap()).collect();
            let text = tokenizer.decode(&counted, false).unwrap();
            assert_eq!(text.trim(), format!("{}<|end|>", row["Best Answer"].as_str().unwrap()));
        }
    }
}

#[test]
fn rows_are_packed_into_the_fullest_block_with_room() {
    let dir = tempfile::tempdir().unwrap();
    let model = toy_model(dir.path());
    let texts = ["10 11 12 13", "20 21 22", "30 31", "40", "50 51 52 53 54 55 56 57 58", "60 61 62", "70"];
    let pack = options(Era::New, Strategy::Pack, 6, "{t}");
    let data = prepare(rows(dir.path(), &texts), pack.clone(), &model).unwrap();
    assert_eq!(
        ids(&data),
        [
            vec![10, 11, 12, 13, 30, 31],
            vec![20, 21, 22, 40, 70],
            vec![50, 51, 52, 53, 54, 55],
            vec![60, 61, 62]
        ]
    );
    let documents: Vec<_> = data.samples.iter().map(|s| s.documents.clone().unwrap()).collect();
    assert_eq!(documents, [vec![4, 2], vec![3, 1, 1], vec![6], vec![3]]);
    assert_eq!(data.samples[1].document_ranges(), [0..3, 3..4, 4..5]);
    let limited = TextGeneration { max_samples: Some(2), ..pack };
    assert_eq!(prepare(rows(dir.path(), &texts), limited, &model).unwrap().samples[..], data.samples[..2]);
    let marked = after("20 21", Strategy::Pack, 8);
    let data = prepare(rows(dir.path(), &["10 20 21 11", "20 21 12"]), marked, &model).unwrap();
    assert_eq!(labels(&data), [[X, X, X, 11, X, X, 12]]);
}
