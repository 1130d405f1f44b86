//! Olive's verbs: the configurations they write, and what comes of running them.

mod goldens;
mod refusals;
mod runs;
mod written;

use crate::support::binary::{olive, text};
use serde_json::Value;
use std::path::Path;

/// What a command line came to.
struct Outcome {
    code: Option<i32>,
    out: String,
    err: String,
}

/// Runs `olive` with these arguments in a folder, without the hub.
fn run<S: AsRef<std::ffi::OsStr>>(dir: &Path, arguments: &[S]) -> Outcome {
    let output = olive().current_dir(dir).env("HF_HUB_OFFLINE", "1").args(arguments).output().unwrap();
    Outcome { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
}

/// The same for a line whose arguments hold no spaces.
fn line(dir: &Path, line: &str) -> Outcome {
    run(dir, &line.split_whitespace().collect::<Vec<_>>())
}

/// The same for a line that must succeed.
fn well(dir: &Path, arguments: &str) -> Outcome {
    let outcome = line(dir, arguments);
    assert_eq!(outcome.code, Some(0), "{arguments}: {}", outcome.err);
    outcome
}

/// The configuration that a dry run of this line writes into `out`.
fn written(dir: &Path, arguments: &str) -> Value {
    well(dir, &format!("{arguments} -o out --dry_run"));
    config(&dir.join("out/config.json"))
}

fn config(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// A folder with the small model, a few rows and no more.
fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let model = dir.path().join("model");
    std::fs::create_dir(&model).unwrap();
    for entry in std::fs::read_dir(crate::support::quickstart::base_model()).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, model.join(path.file_name().unwrap())).unwrap();
    }
    let rows: String = (0..8)
        .map(|i| format!("{{\"text\": \"Olives are picked in month {i}.\", \"more\": \"{i}\"}}\n"))
        .collect();
    std::fs::write(dir.path().join("rows.jsonl"), rows).unwrap();
    dir
}
