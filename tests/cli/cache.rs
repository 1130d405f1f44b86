//! `olive cache`: what a person and a program see of the artefacts.

use crate::support::binary::{olive, succeed, text};
use crate::support::quickstart::Quickstart;
use serde_json::Value;
use std::path::Path;

/// Trains with this rank; the artefacts of a sweep lie in one cache.
fn train(dir: &Path, rank: usize) {
    let mut config = Quickstart::configuration(&["lora"]);
    config["passes"]["lora"]["config"]["lora_r"] = rank.into();
    config["passes"]["lora"]["config"]["training_args"]["max_steps"] = 1.into();
    config["engine"]["cache_dir"] = dir.join("cache").to_str().into();
    config["engine"]["output_dir"] = dir.join("out").to_str().into();
    let file = dir.join("config.json");
    std::fs::write(&file, config.to_string()).expect("written");
    succeed(olive().args(["run", "--config"]).arg(file));
}

fn cache(dir: &Path, arguments: &[&str]) -> String {
    text(&succeed(olive().arg("cache").args(arguments).arg("--cache-dir").arg(dir.join("cache"))).stdout)
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("one JSON document")
}

#[test]
fn artefacts_of_a_sweep_are_told_apart_and_name_their_data() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    train(dir.path(), 4);
    let alone = cache(dir.path(), &["ls"]);
    assert_eq!(alone.lines().count(), 1, "nothing to tell it from: {alone}");
    train(dir.path(), 6);

    let lines = cache(dir.path(), &["ls"]);
    let lines: Vec<&str> = lines.lines().collect();
    assert_eq!(lines.len(), 4, "{lines:?}");
    let mut differences = [lines[1].trim(), lines[3].trim()];
    differences.sort_unstable();
    assert_eq!(differences, ["r=4", "r=6"]);

    let list = json(&cache(dir.path(), &["ls", "--json"]));
    let artefacts = list["artefacts"].as_array().expect("a list");
    assert_eq!((artefacts.len(), &list["errors"]), (2, &Value::Array(Vec::new())));
    for artefact in artefacts {
        let differs = artefact["differs"].as_object().expect("an object");
        assert_eq!(differs.keys().collect::<Vec<_>>(), ["r"]);

        let key = artefact["key"].as_str().expect("a text");
        let explained = json(&cache(dir.path(), &["explain", "--json", key]));
        assert_eq!(explained["path"], artefact["path"]);
        assert_eq!(explained["manifest"]["options"]["r"], differs["r"]);
        let data = &explained["manifest"]["data"][0];
        assert_eq!(data["purpose"], "training");
        assert!(data["rows"].as_u64().is_some_and(|rows| rows > 0), "{data}");
        let file = &data["files"][0];
        assert!(file["path"].as_str().expect("a text").ends_with("olive-qa.jsonl"));
        assert_eq!(file["hash"].as_str().expect("a text").len(), 64);
        assert!(cache(dir.path(), &["explain", &key[..12]]).contains("olive-qa.jsonl"));
    }
}

#[test]
fn what_is_not_there_is_an_error_in_the_document() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let list = json(&cache(dir.path(), &["ls", "--json"]));
    assert_eq!(list["artefacts"], Value::Array(Vec::new()));
    let mut command = olive();
    command.args(["cache", "explain", "--json", "abc", "--cache-dir"]).arg(dir.path());
    let output = command.output().expect("the program runs");
    assert_eq!(output.status.code(), Some(2));
    let error = &json(&text(&output.stdout))["errors"][0];
    assert!(error["message"].as_str().expect("a text").contains("abc") && error["line"].is_null(), "{error}");
}
