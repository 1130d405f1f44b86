//! What the strategies do beyond the golden cases.

use super::setup::{complaint, ids, prepare, prepare_with, toy_model, write};
use crate::support::events::Recorder;
use crate::support::rows::{load, options};
use olive_config::canonical::{
    Era, EvalSize, LoadDataset, PaddingSide, Strategy, TextGeneration, TextSource,
};
use olive_core::cancel::CancelFlag;
use olive_core::event::{Event, Unit};
use olive_data as data;
use olive_data::IGNORED;
use olive_model::ModelFolder;

/// Numbered rows of one column `t`.
fn rows(dir: &std::path::Path, texts: &[&str]) -> LoadDataset {
    let lines: String = texts.iter().map(|t| serde_json::json!({"t": t}).to_string() + "\n").collect();
    load("json", &[&write(dir, "rows.jsonl", lines)])
}

struct Bench {
    dir: tempfile::TempDir,
    model: ModelFolder,
}

fn bench() -> Bench {
    let dir = tempfile::tempdir().unwrap();
    let model = toy_model(dir.path());
    Bench { dir, model }
}

impl Bench {
    fn prepare(&self, texts: &[&str], options: TextGeneration) -> olive_core::Result<data::Dataset> {
        prepare(rows(self.dir.path(), texts), options, &self.model)
    }
}

fn with(era: Era, strategy: Strategy, length: usize) -> TextGeneration {
    options(era, strategy, length, "{t}")
}

#[test]
fn a_token_without_an_embedding_is_named_with_its_row() {
    let mut bench = bench();
    for at_top in [true, false] {
        let size = serde_json::json!({"vocab_size": 50});
        bench.model.config = if at_top { size } else { serde_json::json!({"text_config": size}) };
        for strategy in [Strategy::LineByLine, Strategy::Join] {
            let error = complaint(bench.prepare(&["10 49", "11 50"], with(Era::New, strategy, 2)));
            assert!(error.contains("rows.jsonl`, line 2: the token `50` (50) is beyond"), "{error}");
            assert!(error.contains("vocabulary of 50") && error.contains("was not resized"), "{error}");
            assert!(bench.prepare(&["10 49", "11 48"], with(Era::New, strategy, 2)).is_ok());
        }
    }
}

#[test]
fn too_little_data_says_how_much_there_is() {
    let bench = bench();
    let error = complaint(bench.prepare(&["10 11", "12"], with(Era::Old, Strategy::Join, 64)));
    assert!(error.contains("2 rows give 3 tokens, which is less than one block of 64 tokens"), "{error}");
    assert!(error.contains("`max_seq_len` to at most 3"), "{error}");
    let short = TextGeneration { drop_short_sequences: true, ..with(Era::New, Strategy::LineByLine, 5) };
    let error = complaint(bench.prepare(&["10 11", "12"], short));
    assert!(error.contains("none of the 2 rows has 5 tokens, the longest has 2"), "{error}");
}

#[test]
fn empty_texts_are_left_out_today_and_kept_in_blocks_before() {
    let bench = bench();
    let texts = ["10 11", "", "12 13"];
    let join = |era| TextGeneration { joiner: Some("9".into()), ..with(era, Strategy::Join, 3) };
    assert_eq!(ids(&bench.prepare(&texts, join(Era::New)).unwrap()), [[10, 11, 9], [12, 13, 9]]);
    assert_eq!(ids(&bench.prepare(&texts, join(Era::Old)).unwrap()), [[10, 11, 9], [9, 12, 13]]);

    let recorder = Recorder::default();
    let rows = rows(bench.dir.path(), &texts);
    for era in [Era::New, Era::Old] {
        let lines = with(era, Strategy::LineByLine, 4);
        let dataset = prepare_with(rows.clone(), lines, &bench.model, &recorder).unwrap();
        assert_eq!(ids(&dataset), [[10, 11], [12, 13]]);
        assert_eq!(dataset.rows, 3);
    }
    let warnings = recorder.warnings();
    assert!(warnings[0].contains("1 of 3 rows have an empty text"), "{warnings:?}");
    assert!(warnings[1].contains("1 samples have not a single token"), "{warnings:?}");
    let error = complaint(bench.prepare(&["", ""], with(Era::New, Strategy::Join, 4)));
    assert!(error.contains("all 2 rows have an empty text"), "{error}");
    // With special tokens no text is empty.
    let specials = TextGeneration { add_special_tokens: true, ..with(Era::New, Strategy::LineByLine, 4) };
    assert_eq!(ids(&bench.prepare(&["", "10"], specials).unwrap()), [vec![1, 2], vec![1, 10, 2]]);
    let error = complaint(bench.prepare(&["", ""], with(Era::Old, Strategy::LineByLine, 4)));
    assert!(error.contains("all 2 rows have an empty text"), "{error}");
}

#[test]
fn a_dataset_without_labels_is_refused_a_sample_without_is_not() {
    let bench = bench();
    // In the old era the padding id does not count, wherever it stands.
    let lines = with(Era::Old, Strategy::LineByLine, 4);
    let dataset = bench.prepare(&["</s> </s>", "10 11"], lines.clone()).unwrap();
    assert_eq!(dataset.samples[0].labels, [IGNORED, IGNORED]);
    let error = complaint(bench.prepare(&["10 </s> </s>"], lines));
    assert!(error.contains("not one of the tokens of the 1 samples counts in the loss"), "{error}");
}

#[test]
fn special_tokens_that_a_tokenizer_lacks_are_skipped() {
    let bench = bench();
    write(bench.dir.path(), "tokenizer_config.json", "{\"bos_token\": null, \"eos_token\": \"</s>\"}");
    let lines = TextGeneration { add_special_tokens: true, ..with(Era::Old, Strategy::LineByLine, 8) };
    assert_eq!(ids(&bench.prepare(&["10 11"], lines.clone()).unwrap()), [[10, 11, 2]]);
    write(bench.dir.path(), "tokenizer_config.json", "{}");
    let today = TextGeneration { era: Era::New, ..lines.clone() };
    assert_eq!(ids(&bench.prepare(&["10 11"], today).unwrap()), [[10, 11]]);
    // Without any file that names them, config.json knows the ids.
    std::fs::remove_file(bench.dir.path().join("tokenizer_config.json")).unwrap();
    write(bench.dir.path(), "config.json", "{\"bos_token_id\": 1, \"eos_token_id\": [2, 5]}");
    let model = ModelFolder::open(bench.dir.path()).unwrap();
    let dataset = prepare(rows(bench.dir.path(), &["10"]), lines, &model).unwrap();
    assert_eq!(ids(&dataset), [[1, 10, 2]]);
}

#[test]
fn rows_are_cut_and_padded_on_the_side_asked_for() {
    let bench = bench();
    let padded = |side| TextGeneration {
        pad_to_max_len: true,
        padding_side: side,
        ..with(Era::New, Strategy::LineByLine, 3)
    };
    let texts = ["10 11", "12 13 14 15"];
    assert_eq!(ids(&bench.prepare(&texts, padded(None)).unwrap()), [[2, 10, 11], [12, 13, 14]]);
    let right = bench.prepare(&texts, padded(Some(PaddingSide::Right))).unwrap();
    assert_eq!(ids(&right), [[10, 11, 2], [12, 13, 14]]);
    assert_eq!(right.samples[0].labels, [10, 11, IGNORED]);
    assert_eq!(right.samples[0].attention_mask, Some(vec![1, 1, 0]));
    write(
        bench.dir.path(),
        "tokenizer_config.json",
        "{\"eos_token\": \"</s>\", \"truncation_side\": \"left\"}",
    );
    let left = bench.prepare(&texts, padded(Some(PaddingSide::Left))).unwrap();
    assert_eq!(ids(&left), [[2, 10, 11], [13, 14, 15]]);
    assert_eq!(left.samples[0].attention_mask, Some(vec![0, 1, 1]));
    write(bench.dir.path(), "tokenizer_config.json", "{}");
    let error = complaint(bench.prepare(&texts, padded(None)));
    assert!(error.contains("neither a padding token nor an end of text"), "{error}");
}

#[test]
fn random_strategies_are_repeatable() {
    let bench = bench();
    let texts = ["10 11", "12 13 14 15", "16", "17 18 19 20 21", "22 23"];
    let join = TextGeneration {
        max_samples: Some(6),
        random_seed: Some(7),
        joiner: Some("9".into()),
        ..with(Era::New, Strategy::JoinRandom, 6)
    };
    let lines = TextGeneration {
        strategy: Strategy::LineByLineRandom,
        drop_short_sequences: true,
        max_seq_len: 4,
        random_retries: 2,
        joiner: None,
        ..join.clone()
    };
    // A row that is short on the last draw, too, is taken all the same.
    assert_eq!(bench.prepare(&texts, lines).unwrap().samples.len(), 6);
    let recorder = Recorder::default();
    let once = TextGeneration { random_retries: 1, max_seq_len: 9, ..join.clone() };
    prepare_with(rows(bench.dir.path(), &texts), once, &bench.model, &recorder).unwrap();
    assert!(
        recorder.warnings()[0].contains("samples instead of `max_samples` 6"),
        "{:?}",
        recorder.warnings()
    );
    // Without a seed it is 0, so that the same configuration always gives the same blocks.
    let unseeded = TextGeneration { random_seed: None, ..join.clone() };
    let zero = TextGeneration { random_seed: Some(0), ..join };
    assert_eq!(bench.prepare(&texts, unseeded).unwrap(), bench.prepare(&texts, zero).unwrap());
}

#[test]
fn batches_do_not_change_blocks_and_max_samples_stops_early() {
    let bench = bench();
    let texts: Vec<String> = (0..57).map(|i| format!("{} {} 5", 10 + i % 80, 11 + i % 70)).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let join = |batch, max| TextGeneration {
        processing_batch_size: batch,
        max_samples: max,
        ..with(Era::New, Strategy::Join, 7)
    };
    let whole = bench.prepare(&texts, join(1024, None)).unwrap();
    assert_eq!(whole.samples.len(), 57 * 3 / 7);
    for batch in [1, 2, 5, 57] {
        assert_eq!(bench.prepare(&texts, join(batch, None)).unwrap(), whole, "batch {batch}");
    }
    let recorder = Recorder::default();
    let some =
        prepare_with(rows(bench.dir.path(), &texts), join(4, Some(2)), &bench.model, &recorder).unwrap();
    assert_eq!(some.samples, whole.samples[..2]);
    let events = recorder.events();
    let started = Event::PhaseStarted { phase: "tokenise".into(), total: Some(57), unit: Unit::Rows };
    assert_eq!(events.first(), Some(&started));
    assert_eq!(events[events.len() - 2], Event::PhaseProgress { done: 8 });
}

#[test]
fn columns_must_hold_text() {
    let bench = bench();
    let path = write(bench.dir.path(), "rows.csv", "a,b\nx,1\ny,2\n");
    let columns = |names: &[&str]| TextGeneration {
        source: TextSource::Columns(names.iter().map(|n| (*n).to_owned()).collect()),
        ..with(Era::New, Strategy::Join, 2)
    };
    let error = complaint(prepare(load("csv", &[&path]), columns(&["a", "b"]), &bench.model));
    assert!(
        error.contains("rows.csv`, line 2: the column `b` holds a number where text is needed"),
        "{error}"
    );
    assert!(error.contains("`{b}` prints any value"), "{error}");
    let error = complaint(prepare(load("csv", &[&path]), columns(&["text"]), &bench.model));
    assert!(error.contains("no column `text`, which `text_cols` needs; there is `a`, `b`"), "{error}");
}

#[test]
fn cancelling_stops() {
    let bench = bench();
    let cancel = CancelFlag::default();
    cancel.raise();
    let config = olive_config::canonical::DataConfig {
        name: "d".into(),
        load: rows(bench.dir.path(), &["10 11"]),
        pre_process: with(Era::New, Strategy::Join, 2),
        mix: Vec::new(),
    };
    let result = data::prepare(&config, &bench.model, &(), &cancel);
    assert!(result.as_ref().is_err_and(olive_core::Error::is_interruption), "{result:?}");
}

#[test]
fn options_that_contradict_each_other_are_refused_before_reading() {
    let refuse = |options: TextGeneration| data::check(&options).unwrap_err().to_string();
    let sliding = |stride| TextGeneration { stride, ..with(Era::New, Strategy::JoinSlidingWindow, 4) };
    assert!(refuse(sliding(None)).contains("needs `stride`"));
    assert!(refuse(sliding(Some(5))).contains("between 1 and `max_seq_len`"));
    assert!(refuse(sliding(Some(0))).contains("between 1 and `max_seq_len`"));
    assert!(data::check(&sliding(Some(4))).is_ok());
    assert!(refuse(with(Era::New, Strategy::Join, 0)).contains("`max_seq_len` is 0"));
    assert!(refuse(with(Era::New, Strategy::LineByLineRandom, 4)).contains("`max_samples`"));
    assert!(refuse(options(Era::New, Strategy::Join, 4, "{")).contains("not valid at character 1"));
}

#[test]
fn held_out_samples_are_those_of_numpy() {
    let bench = bench();
    let texts: Vec<String> = (10..20).map(|i| i.to_string()).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let one = TextGeneration { add_special_tokens: true, ..with(Era::New, Strategy::LineByLine, 3) };
    let dataset = bench.prepare(&texts, one).unwrap();
    let (train, eval) = data::hold_out(dataset, EvalSize::Fraction(0.3), 42).unwrap();
    let middle = |d: &data::Dataset| d.samples.iter().map(|s| s.input_ids[1] - 10).collect::<Vec<_>>();
    assert_eq!(middle(&eval), [5, 6, 0]);
    assert_eq!(middle(&train), [7, 3, 2, 4, 9, 1, 8]);
}
