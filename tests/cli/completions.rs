//! `olive completions`: what shells make of the scripts.

use crate::support::binary::{olive, succeed, text};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

fn script(shell: &str) -> String {
    text(&succeed(olive().args(["completions", shell])).stdout)
}

/// The verbs that help shows.
fn verbs() -> Vec<String> {
    let help = text(&succeed(olive().arg("--help")).stdout);
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let rows = listed.take_while(|line| !line.is_empty()).filter(|line| !line.starts_with("   "));
    let names: Vec<String> = rows.map(|row| row.split_whitespace().next().unwrap().to_owned()).collect();
    assert!(names.len() > 10 && names.contains(&"run".into()), "{help}");
    names
}

/// Whether a shell that is on this machine takes the file as a script of its own.
fn parses(shell: &str, file: &Path) {
    let Ok(output) = Command::new(shell).arg("-n").arg(file).stdin(Stdio::null()).output() else {
        assert_ne!(shell, "bash", "it is on every machine that tests run on");
        return;
    };
    assert!(output.status.success() && output.stderr.is_empty(), "{shell}: {}", text(&output.stderr));
}

#[test]
fn every_shell_gets_a_script_with_every_verb_that_help_shows() {
    let dir = tempfile::tempdir().unwrap();
    let verbs = verbs();
    for shell in ["bash", "zsh", "fish"] {
        let script = script(shell);
        for verb in &verbs {
            assert!(script.contains(verb.as_str()), "{shell}: {verb}");
        }
        assert!(
            script.contains("dry-run") && !script.contains("run-job") && !script.contains("markdown"),
            "{shell}"
        );
        let file = dir.path().join(shell);
        std::fs::write(&file, script).unwrap();
        parses(shell, &file);
    }
}

/// What bash offers for the last of these words.
fn offered(script: &Path, words: &[&str]) -> Vec<String> {
    let ask = r#"
        source "$1"; shift
        COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}
        complete -p "$1" >&2 || exit 1
        function_of=$(complete -p "$1"); function_of=${function_of#*-F }; function_of=${function_of%% *}
        compopt() { :; }
        "$function_of" "$1" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
        printf '%s\n' "${COMPREPLY[@]}""#;
    let mut bash = Command::new("bash");
    let output = bash.args(["--norc", "-c", ask, "bash"]).arg(script).args(words).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout).lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_verbs_options_values_and_files() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("olive.bash");
    std::fs::write(&file, script("bash")).unwrap();
    let some = dir.path().join("some-model").display().to_string();
    std::fs::create_dir(&some).unwrap();
    let start = &some[..some.len() - 3];
    assert_eq!(offered(&file, &["olive", "benc"]), ["benchmark"]);
    assert_eq!(offered(&file, &["olive", "run", "--dry"]), ["--dry-run"]);
    assert_eq!(offered(&file, &["olive", "cache", "expl"]), ["explain"]);
    assert_eq!(offered(&file, &["olive", "run", "--log-format", ""]), ["text", "json"]);
    assert_eq!(offered(&file, &["olive", "validate", "--config", start]), [some.as_str()]);
}

#[test]
fn a_program_of_another_name_is_completed_and_named_so() {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("olive-rs");
    symlink(assert_cmd::cargo::cargo_bin("olive"), &program).unwrap();
    let run = |arguments: &[&str]| Command::new(&program).args(arguments).output().unwrap();
    let file = dir.path().join("olive-rs.bash");
    std::fs::write(&file, run(&["completions", "bash"]).stdout).unwrap();
    assert_eq!(offered(&file, &["olive-rs", "docto"]), ["doctor"]);
    let help = text(&run(&["--help"]).stdout);
    assert!(help.contains("Usage: olive-rs ") && help.contains("`olive-rs run`"), "{help}");
    assert!(!help.contains("`olive run`"), "{help}");
    let cache = dir.path().join("cache").display().to_string();
    let error = text(&run(&["cache", "explain", "0", "--cache-dir", &cache]).stderr);
    assert!(error.contains("hint: `olive-rs cache ls` lists the keys"), "{error}");
}
