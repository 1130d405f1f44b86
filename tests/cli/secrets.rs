//! What nobody may read, and what may not reach a terminal as it is.

use crate::support::binary::{olive, text};
use serde_json::{Value, json};

const SECRET: &str = "hf_Zq81xxPwd";

/// Everything that is said about this configuration.
fn said(config: &str, arguments: &[&str]) -> String {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("c.json"), config).unwrap();
    let mut command = olive();
    command.current_dir(dir.path()).args(["validate", "c.json"]).args(arguments);
    let output = command.env("HF_TOKEN", SECRET).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stdout));
    text(&output.stdout) + &text(&output.stderr)
}

fn config(systems: &Value) -> Value {
    json!({
        "input_model": {"type": "HfModel", "model_path": "org/model"},
        "systems": systems,
        "passes": {"b": {"type": "ModelBuilder", "precision": "int3"}},
    })
}

#[test]
fn values_of_secret_options_are_not_repeated() {
    for value in [json!(SECRET), json!("short"), json!(123_456_789), json!([SECRET])] {
        let given = config(&json!({"s": {"type": "LocalSystem", "hf_token": value}}));
        let said = said(&given.to_string(), &[]);
        assert!(said.contains("systems.s.hf_token: expected true or false"), "{said}");
        assert!(["Zq81", "short", "3456"].iter().all(|part| !said.contains(part)), "{said}");
    }
    let sound = config(&json!({"s": {"type": "LocalSystem"}})).to_string();
    for set in ["systems.s.hf_token=", "input_model.type.token=", "passes.b.precision="] {
        let said = said(&sound, &["--set", &format!("{set}{SECRET}")]);
        assert!(said.contains("***") && !said.contains(SECRET), "{said}");
    }
    let broken =
        said(&sound.replace("\"LocalSystem\"", &format!("\"LocalSystem\", \"api_key\": {SECRET}")), &[]);
    assert!(broken.contains("not valid JSON") && !broken.contains("hf"), "{broken}");
}

#[test]
fn addresses_are_told_without_user_and_password() {
    let mut command = olive();
    command.args(["generate", "org/model", "--prompt", "x"]);
    command.env("HF_ENDPOINT", "http://somebody:Zq81xx@127.0.0.1:9").env("HF_HOME", "/nonexistent");
    let output = command.output().unwrap();
    let error = text(&output.stderr);
    assert!(error.contains("hub") && !error.contains("Zq81") && !error.contains("somebody"), "{error}");
    let doctor =
        text(&olive().arg("doctor").env("HF_ENDPOINT", "http://somebody:Zq81xx@h").output().unwrap().stdout);
    assert!(doctor.contains("endpoint http://h") && !doctor.contains("Zq81"), "{doctor}");
}

#[test]
fn control_characters_are_written_out() {
    let given = config(&json!({})).to_string().replace("\"b\"", r#""\u001b]0;title\u0007""#);
    let said = said(&given, &[]);
    assert!(said.contains(r"\u{1b}]0;title\u{7}") && !said.contains('\u{1b}'), "{said}");
}
