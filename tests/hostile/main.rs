//! Files that somebody damaged, by chance or on purpose: whatever stands in them, the answer is a result or an error, never a
//! panic, a signal or a run without end.
//!
//! Files of every kind that the program reads are changed a little and read by it, under a limit of memory and time. A case
//! is a number, which decides what is changed and how, so that it can be run again:
//!
//! ```text
//! OLIVE_FUZZ_SEED=0 OLIVE_FUZZ_SECONDS=600 cargo test --release --test hostile -- --ignored    cases 0, 1, 2, …
//! OLIVE_FUZZ_SEED=7 OLIVE_FUZZ_SECONDS=0 cargo test --release --test hostile -- --ignored      case 7 alone
//! ```
#![cfg(target_os = "linux")]

mod mutation;
mod numbers;
mod subjects;
#[path = "../support/mod.rs"]
mod support;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use std::path::Path;
use std::time::{Duration, Instant};
use subjects::{Subject, Subjects};
use support::binary::text;

/// Address space of a run, in KB.
const MEMORY: u32 = 8_000_000;
/// A run of a small model that takes longer has no end, unless it trains: a number of steps may have become a large one.
const PATIENCE: Duration = Duration::from_secs(30);

/// What went wrong in a case.
fn fault(case: u64, subjects: &Subjects) -> Option<String> {
    let mut rng = ChaCha8Rng::seed_from_u64(case);
    let dir = tempfile::tempdir().expect("a temporary folder");
    let Subject { files, changed, arguments } = subjects.choose(&mut rng);
    subjects::write(&files, dir.path());
    let path = dir.path().join(&changed);
    let before = std::fs::read(&path).expect("a file of the subject");
    let (after, how) = mutation::mutate(&changed, &before, &mut rng);
    std::fs::write(&path, after).expect("the file is written");
    let started = Instant::now();
    let output = run(dir.path(), &arguments);
    let said = text(&output.stderr);
    let end = match output.status.code() {
        Some(0..=2) => return None,
        None if started.elapsed() >= PATIENCE && has_logged_steps(dir.path()) => return None,
        None if started.elapsed() >= PATIENCE => "has no end".to_owned(),
        None => "was killed by a signal".to_owned(),
        Some(code) => format!("ends with {code}"),
    };
    let end_of_text: String = said.lines().rev().take(4).collect::<Vec<_>>().join(" | ");
    Some(format!("case {case}: `olive {}`, {changed} with {how}: {end}: {end_of_text}", arguments.join(" ")))
}

/// Whether a training that is not at its end has finished steps.
fn has_logged_steps(dir: &Path) -> bool {
    let trainings = std::fs::read_dir(dir.join("cache/passes-v1/LoRA")).into_iter().flatten().flatten();
    let mut logs = trainings.map(|training| training.path().join("output/metrics.jsonl"));
    logs.any(|log| log.metadata().is_ok_and(|log| log.len() > 0))
}

fn run(dir: &Path, arguments: &[String]) -> std::process::Output {
    let mut command = assert_cmd::Command::new("sh");
    command.args(["-c", &format!("ulimit -v {MEMORY}; ulimit -c 0; exec \"$@\""), "sh"]);
    command.arg(assert_cmd::cargo::cargo_bin("olive")).args(arguments);
    command.env("ORT_DYLIB_PATH", support::runtime::library().path);
    command.current_dir(dir).env("HOME", dir).env("XDG_CACHE_HOME", dir.join("home")).timeout(PATIENCE);
    command.output().expect("the shell starts")
}

/// Runs cases from a number on, as long as there is time, and fails with all faults.
fn walk(first: u64, time: Duration) {
    let subjects = Subjects::make();
    let start = Instant::now();
    let mut faults = Vec::new();
    let mut case = first;
    loop {
        if let Some(fault) = fault(case, &subjects) {
            support::shared::say(&fault);
            faults.push(fault);
        }
        case += 1;
        if start.elapsed() >= time {
            break;
        }
    }
    let cases = case - first;
    support::shared::say(&format!("{cases} cases from {first} on"));
    assert!(faults.is_empty(), "{} of {cases} cases:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn damaged_files_are_answered() {
    walk(0, Duration::from_secs(2));
}

#[test]
#[ignore = "as long as OLIVE_FUZZ_SECONDS says"]
fn damaged_files_are_answered_for_long() {
    let number = |name: &str, default: u64| {
        std::env::var(name)
            .map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is {text}")))
    };
    walk(number("OLIVE_FUZZ_SEED", 1000), Duration::from_secs(number("OLIVE_FUZZ_SECONDS", 600)));
}
