//! `olive download`, `olive login`, `olive logout`.

use crate::support::binary::{olive, succeed, text};
use crate::support::hub::{Behaviour, COMMIT, Hub, ID, model};
use assert_cmd::Command;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

fn at(hub: &Hub, dir: &Path) -> Command {
    let mut command = olive();
    command.current_dir(dir).env("HF_ENDPOINT", &hub.endpoint).env("HF_HOME", dir.join("hf"));
    command
}

#[test]
fn a_gated_model_comes_after_a_login_and_not_after_a_logout() {
    let hub = Hub::serve(model(), Behaviour { token: Some("hf_secret"), ..Default::default() });
    let dir = tempfile::tempdir().unwrap();
    let refused = at(&hub, dir.path()).args(["download", ID]).output().unwrap();
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("olive login"), "{}", text(&refused.stderr));

    let wrong = at(&hub, dir.path()).arg("login").write_stdin("hf_wrong\n").output().unwrap();
    assert_eq!(wrong.status.code(), Some(1), "{}", text(&wrong.stderr));
    let file = dir.path().join("hf/token");
    assert!(!file.exists(), "a token that the hub does not know was kept");

    let login = succeed(at(&hub, dir.path()).arg("login").write_stdin("hf_secret\n"));
    assert!(text(&login.stdout).contains("logged in as ada"), "{}", text(&login.stdout));
    assert!(!text(&login.stdout).contains("hf_secret") && !text(&login.stderr).contains("hf_secret"));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "hf_secret");
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);

    let fetched = succeed(at(&hub, dir.path()).args(["download", ID]));
    let said = text(&fetched.stdout);
    assert!(said.starts_with("model-cache/llama: ") && said.contains(COMMIT), "{said}");
    assert!(dir.path().join("model-cache/llama/model.safetensors").is_file());
    let again = succeed(at(&hub, dir.path()).args(["download", ID]));
    assert!(text(&again.stdout).contains("there already"), "{}", text(&again.stdout));

    succeed(at(&hub, dir.path()).arg("logout"));
    assert!(!file.exists());
    let gone = at(&hub, dir.path()).args(["download", ID, "--to", "elsewhere"]).output().unwrap();
    assert_eq!(gone.status.code(), Some(1));
}

#[test]
fn a_login_without_a_token_or_a_network_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let login = |arguments: &[&str], stdin: &'static str| {
        let mut command = olive();
        command.env("HF_HOME", dir.path()).arg("login").args(arguments).write_stdin(stdin);
        let output = command.output().unwrap();
        (output.status.code(), text(&output.stderr))
    };
    for (arguments, stdin, said) in [
        (&[][..], "\n", "there is no token"),
        (&[], "two words\n", "this is no token"),
        (&["--offline"], "x\n", "offline"),
    ] {
        let (code, stderr) = login(arguments, stdin);
        assert_eq!(code, Some(2), "{stderr}");
        assert!(stderr.contains(said) && stderr.contains("hint"), "{stderr}");
    }
}

#[test]
fn only_models_of_the_hub_are_downloaded() {
    let output = olive().args(["download", "model-cache/tiny-phi3/x"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("organisation/name"), "{}", text(&output.stderr));
}
