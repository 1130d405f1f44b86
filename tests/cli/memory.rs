//! What does not fit into memory is refused before anything is computed.
#![cfg(target_os = "linux")]

use crate::support::binary::{root, text};
use crate::support::quickstart::Quickstart;
use std::process::{Command, Output};

/// `olive` with less memory than a training is predicted to need, and enough for this one.
fn limited(verb: &str, quickstart: &Quickstart) -> Output {
    let command = format!(
        "ulimit -d 120000; exec '{}' {verb} --config configs/quickstart/olive-config.json {}",
        assert_cmd::cargo::cargo_bin("olive").display(),
        quickstart.arguments(&[]).join(" "),
    );
    Command::new("sh").args(["-c", &command]).current_dir(root()).output().expect("`sh` starts")
}

/// The error and its hint, without the figure of what is available: it changes from one moment to the next.
fn error(output: &Output) -> String {
    let told = text(&output.stderr);
    let error = told.find("error: ").map_or("", |start| &told[start..]);
    let figure = |line: &str| line.split(", but ").next().unwrap_or_default().to_owned();
    error.lines().map(figure).collect()
}

#[test]
fn a_run_that_is_predicted_not_to_fit_does_not_begin() {
    let quickstart = Quickstart::new(1);
    let run = limited("run", &quickstart);
    assert_eq!(run.status.code(), Some(1), "{}", text(&run.stderr));
    let told = error(&run);
    for expected in [
        "pass `lora` (LoRA) does not fit into memory",
        " MB of memory",
        "lower `max_seq_len`",
        "--ignore-memory",
    ] {
        assert!(told.contains(expected), "{expected}: {told}");
    }
    assert!(!quickstart.cache().join("passes-v1").exists(), "nothing was begun");

    for looking in ["run --dry-run", "validate --strict"] {
        let output = limited(looking, &quickstart);
        assert_eq!(output.status.code(), Some(1), "{looking}");
        assert_eq!(error(&output), told, "{looking}");
    }
    let validate = limited("validate", &quickstart);
    assert_eq!(validate.status.code(), Some(0));
    assert!(text(&validate.stdout).contains("of memory, more than the "), "{}", text(&validate.stdout));
    assert!(text(&validate.stderr).contains("warning: pass `lora` (LoRA) does not fit into memory"));

    let run = limited("run --ignore-memory", &quickstart);
    assert!(run.status.success(), "{}", text(&run.stderr));
    // What is in the cache needs no memory.
    assert!(limited("run", &quickstart).status.success());
}
