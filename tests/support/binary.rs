//! Running the binary.

use assert_cmd::Command;
use serde_json::Value;
use std::path::Path;
use std::process::Output;

/// Root of the project; the binary runs here, as paths in configurations are relative to it.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Variables of the machine that would decide what the program does. Those that say where ONNX Runtime is stay: there may be
/// no other.
const VARIABLES: [&str; 11] = [
    "CONDA_PREFIX",
    "HF_ENDPOINT",
    "HF_HOME",
    "HF_HUB_CACHE",
    "HF_HUB_DISABLE_IMPLICIT_TOKEN",
    "HF_HUB_OFFLINE",
    "HF_TOKEN",
    "HF_TOKEN_PATH",
    "HUGGINGFACE_HUB_CACHE",
    "MLFLOW_TRACKING_URI",
    "VIRTUAL_ENV",
];

/// `olive`, started in the project's root.
pub fn olive() -> Command {
    Command::from_std(olive_process())
}

/// The same for what must be watched or stopped while it runs.
pub fn olive_process() -> std::process::Command {
    let mut command = std::process::Command::new(assert_cmd::cargo::cargo_bin("olive"));
    command.current_dir(root());
    for variable in VARIABLES {
        command.env_remove(variable);
    }
    // The servers of tests are here, whatever stands between the machine and others.
    command.env("NO_PROXY", "127.0.0.1,localhost");
    command
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What a command gives that must succeed.
pub fn succeed(command: &mut Command) -> Output {
    let output = command.output().expect("the binary starts");
    assert!(output.status.success(), "{}", text(&output.stderr));
    output
}

/// Writes the configuration into this folder and runs it.
pub fn run_configuration(dir: &Path, config: &Value) -> Output {
    let path = dir.join("config.json");
    std::fs::write(&path, config.to_string()).expect("the configuration is written");
    olive().arg("run").arg("--config").arg(path).output().expect("the binary starts")
}

/// `olive generate` without sampling or a chat template, as JSON.
pub fn greedy(model: &Path, prompt: &str, tokens: usize) -> Command {
    let mut command = olive();
    command.args(["generate", "--json", "--quiet", "--raw", "--temperature", "0", "--prompt", prompt]);
    command.arg("--max-new-tokens").arg(tokens.to_string()).arg(model);
    command
}

/// Ids that the model generates after a prompt that every vocabulary with letters can write.
pub fn generated(model: &Path, more: &[&str]) -> Value {
    let output = succeed(greedy(model, "The olive tree", 16).args(more));
    serde_json::from_slice::<Value>(&output.stdout).expect("JSON")["ids"].clone()
}

/// What the binary answers with this model; it must answer.
pub fn answer(model: &Path) -> String {
    super::runtime::library();
    let arguments = ["generate", "--quiet", "--prompt", "What is Olive?", "--max-new-tokens", "4"];
    let answer = succeed(olive().args(arguments).arg(model));
    let answer = String::from_utf8(answer.stdout).expect("text");
    assert!(!answer.trim().is_empty());
    answer
}
