//! `olive doctor`.

use crate::support::binary::olive;
use assert_cmd::Command;
use std::path::Path;

fn doctor(home: &Path) -> Command {
    let mut command = olive();
    command.env_clear().env("HOME", home).env("PATH", home).args(["doctor"]);
    command
}

#[test]
fn works_on_a_machine_with_nothing_and_changes_nothing() {
    let home = tempfile::tempdir().unwrap();
    let output = doctor(home.path()).output().unwrap();
    assert!(output.status.success());
    assert!(output.stderr.is_empty());
    let text = String::from_utf8(output.stdout).unwrap();
    for expected in
        [env!("CARGO_PKG_VERSION"), "ONNX Runtime", "ORT_DYLIB_PATH", "hub token", "none", "threads"]
    {
        assert!(text.contains(expected), "{expected} is missing in\n{text}");
    }
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0, "doctor wrote something");
}

#[test]
fn says_that_there_is_a_token_but_not_which() {
    let home = tempfile::tempdir().unwrap();
    let output = doctor(home.path())
        .args(["--json", "--offline"])
        .env("HF_TOKEN", "hf_very_secret")
        .env("HF_HOME", home.path().join("hf"))
        .env("ORT_DYLIB_PATH", "/no/such/library.so")
        .output()
        .unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(!text.contains("very_secret"));
    let found: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(found["hub_token"], "present");
    assert!(found["hub_cache"].as_str().unwrap().contains("offline"), "{text}");
    assert!(found["onnxruntime"].as_str().unwrap().starts_with("unusable"), "{text}");
    std::fs::create_dir(home.path().join("hf")).unwrap();
    std::fs::write(home.path().join("hf/token"), "hf_from_file\n").unwrap();
    let output = doctor(home.path()).arg("--json").env("HF_HOME", home.path().join("hf")).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains(r#""hub_token":"present""#) && !text.contains("from_file"), "{text}");
}

#[test]
fn the_python_environment_that_the_program_is_installed_in_is_looked_at() {
    let home = tempfile::tempdir().unwrap();
    let venv = home.path().join("venv");
    let (bin, capi) = (venv.join("bin"), venv.join("lib/python3.12/site-packages/onnxruntime/capi"));
    std::fs::create_dir_all(&bin).unwrap();
    std::fs::create_dir_all(&capi).unwrap();
    std::fs::write(capi.join("libonnxruntime.so.1.32.0"), "no library").unwrap();
    let program = bin.join("olive-rs");
    std::fs::copy(assert_cmd::cargo::cargo_bin("olive"), &program).unwrap();
    let look = || {
        let output = Command::new(&program).env_clear().env("HOME", home.path()).arg("doctor").output();
        String::from_utf8(output.unwrap().stdout).unwrap()
    };
    let passed_over = capi.display().to_string();
    assert!(!look().contains(&passed_over), "the folder is no environment");
    std::fs::write(venv.join("pyvenv.cfg"), "home = /usr/bin\n").unwrap();
    let found = look();
    assert!(found.contains(&passed_over), "{found}");
}
