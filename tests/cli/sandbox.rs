//! `--sandbox`: files outside the working folder and the network are out of reach, whatever names them.

use crate::support::binary::{olive, olive_process, text};
use crate::support::quickstart::base_model;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

/// A working folder with a model, and a folder beside it that is nobody's business.
fn folders() -> (tempfile::TempDir, tempfile::TempDir) {
    let (inside, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for dir in [inside.path().join("model"), outside.path().join("model")] {
        std::fs::create_dir(&dir).unwrap();
        for entry in std::fs::read_dir(base_model()).unwrap() {
            let path = entry.unwrap().path();
            std::fs::copy(&path, dir.join(path.file_name().unwrap())).unwrap();
        }
    }
    let config = serde_json::json!({
        "input_model": {"type": "HfModel", "model_path": "model"},
        "passes": {"b": {"type": "ModelBuilder", "precision": "int4"}},
        "cache_dir": "cache", "output_dir": "result",
    });
    std::fs::write(inside.path().join("c.json"), config.to_string()).unwrap();
    (inside, outside)
}

/// Runs in the sandbox of `dir`. `None` where the kernel has none, which must be refused.
fn run(dir: &Path, arguments: &[&str]) -> Option<Output> {
    let output = olive().current_dir(dir).arg("--sandbox").args(arguments).output().unwrap();
    if text(&output.stderr).contains("cannot enforce") {
        assert_eq!(output.status.code(), Some(1));
        return None;
    }
    Some(output)
}

#[test]
fn a_run_below_the_working_folder_works() {
    let (inside, _outside) = folders();
    let Some(output) = run(inside.path(), &["run", "c.json"]) else { return };
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(inside.path().join("result/model.onnx").exists());
}

#[test]
fn files_elsewhere_are_out_of_reach() {
    let (inside, outside) = folders();
    let (secret, target) = (outside.path().join("model"), outside.path().join("result"));
    let refused = |arguments: &[&str]| {
        let Some(output) = run(inside.path(), arguments) else { return };
        let said = text(&output.stderr);
        assert!(!output.status.success(), "{arguments:?}");
        assert!(
            said.contains("`--sandbox` allows files below the working folder only"),
            "{arguments:?}: {said}"
        );
    };
    let secret = secret.to_str().unwrap();
    refused(&["run", "c.json", "--set", &format!("input_model.model_path={secret}")]);
    refused(&["run", "c.json", "--set", &format!("output_dir={}", target.display())]);
    refused(&["generate", secret, "--prompt", "Hello"]);
    assert!(!target.exists());
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(secret, inside.path().join("link")).unwrap();
        refused(&["generate", "link", "--prompt", "Hello"]);
    }
}

/// A configuration could name `/proc/self/environ` as data.
#[test]
#[cfg(target_os = "linux")]
fn secrets_of_the_environment_are_forgotten() {
    let (inside, _outside) = folders();
    if run(inside.path(), &["schema"]).is_none() {
        return;
    }
    let mut command = olive_process();
    command.current_dir(inside.path()).args(["--sandbox", "chat", "model"]).env("MY_API_KEY", "do-not-tell");
    let mut chat = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let environment = || text(&std::fs::read(format!("/proc/{}/environ", chat.id())).unwrap());
    // Empty while one program takes the place of the other.
    let forgotten = || environment().contains("PATH=") && !environment().contains("do-not-tell");
    let soon = Instant::now() + Duration::from_secs(20);
    while !forgotten() && Instant::now() < soon {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(forgotten());
    chat.kill().unwrap();
    chat.wait().unwrap();
}
