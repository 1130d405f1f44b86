//! What goes wrong on the way.

use super::http::Answer;
use super::hub::{Fault, Hub, PART, WRITER, Wrong, sha256};
use super::{REPO, content, count, failure, model, push, push_with, pushed};
use crate::support::binary::{olive_process, succeed, text};
use std::process::Stdio;
use std::time::{Duration, Instant};

const COMMIT: &str = "POST /api/models/ada/tiny/commit";

fn fault(request: &'static str, times: usize, wrong: Wrong) -> Fault {
    Fault { request, times, wrong }
}

fn status(status: u16) -> Wrong {
    Wrong::Answer(Answer::empty(status))
}

#[test]
fn what_passes_is_tried_again() {
    let slow = Answer { headers: vec![("Retry-After", "1".to_owned())], ..Answer::empty(429) };
    let faults = [
        fault("GET /api/models/ada/tiny", 1, status(503)),
        fault("POST /api/validate-yaml", 1, Wrong::CutOff),
        fault("POST /api/repos/create", 1, Wrong::Forget),
        fault("POST /api/models/ada/tiny/preupload", 1, Wrong::Answer(slow)),
        fault("POST /ada/tiny.git/info/lfs", 1, status(500)),
        fault("PUT /storage/part", 2, Wrong::CutOff),
        fault("PUT /storage/part", 1, status(500)),
        fault("POST /storage/complete", 1, status(503)),
        fault("POST /verify", 1, status(502)),
        fault(COMMIT, 1, status(429)),
    ];
    let (hub, model) = (Hub::with(faults), model());
    push(&hub, model.path(), &[]);
    assert!(hub.state().faults.iter().all(|fault| fault.times == 0), "all of it happened");
    assert_eq!(pushed(&hub, "main"), content(model.path()));
    assert_eq!(hub.state().repos[REPO].commits.len(), 2);
}

#[test]
fn a_commit_whose_answer_is_lost_is_made_once() {
    for wrong in [Wrong::Forget, Wrong::CutOff, status(504)] {
        let is_made = matches!(wrong, Wrong::Forget);
        let (hub, model) = (Hub::with([fault(COMMIT, 1, wrong)]), model());
        let said = push(&hub, model.path(), &[]);
        assert!(said.contains(&format!("commit {:040x}", 2)), "{said}");
        assert_eq!(pushed(&hub, "main"), content(model.path()));
        assert_eq!(hub.state().repos[REPO].commits.len(), 2);
        assert_eq!(count(&hub.requests(), COMMIT), if is_made { 1 } else { 2 });
    }
    let (hub, model) = (Hub::with([fault(COMMIT, 1, Wrong::Forget)]), model());
    let (code, said) = failure(&mut push_with(WRITER, &hub, model.path(), &["--create-pr"]));
    assert!(code == Some(1) && said.contains("cannot be reached"), "a second one is not opened: {said}");
    assert_eq!(hub.state().repos[REPO].commits.len(), 2);
}

#[test]
fn addresses_that_expired_are_asked_for_anew() {
    let faults = [
        fault("PUT /storage/part", 1, status(403)),
        fault("POST /storage/complete", 1, Wrong::Forget),
        fault("PUT /storage/whole", 1, status(403)),
    ];
    let (hub, model) = (Hub::with(faults), model());
    std::fs::write(model.path().join("small.safetensors"), [7; 100]).unwrap();
    push(&hub, model.path(), &[]);
    assert_eq!(pushed(&hub, "main"), content(model.path()));
    assert!(hub.state().faults.iter().all(|fault| fault.times == 0));
}

#[test]
fn a_push_that_broke_off_goes_on_file_by_file() {
    let (hub, model) = (Hub::with([fault("PUT /storage/part", 1000, status(500))]), model());
    let small = [7; 100];
    std::fs::write(model.path().join("small.safetensors"), small).unwrap();
    // One after another, so that the small file is certainly there.
    hub.state().faults.insert(0, fault("PUT /storage/part", 1, Wrong::Wait(300)));
    let (code, said) = failure(&mut push_with(WRITER, &hub, model.path(), &[]));
    assert!(
        code == Some(1) && said.contains("model.safetensors` (500)") && said.contains("push again"),
        "{said}"
    );
    assert_eq!(hub.state().repos[REPO].commits.len(), 1, "nothing is committed by halves");
    assert!(hub.state().objects.contains_key(&sha256(&small)));
    hub.state().faults.clear();
    hub.requests();
    push(&hub, model.path(), &[]);
    let requests = hub.requests();
    assert_eq!((count(&requests, "PUT /storage/whole"), count(&requests, "PUT /storage/part")), (0, 3));
    assert_eq!(pushed(&hub, "main"), content(model.path()));
}

#[test]
fn an_interrupted_push_says_so_and_goes_on() {
    let (hub, model) = (Hub::with([fault("PUT /storage/part", 1000, Wrong::Wait(60_000))]), model());
    let mut command = olive_process();
    command.env("HF_ENDPOINT", &hub.endpoint).env("HF_HOME", "/nonexistent").env("HF_TOKEN", WRITER);
    command.arg("push").arg(model.path()).arg(REPO).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while !hub.state().requests.iter().any(|request| request.starts_with("PUT /storage/part")) {
        assert!(Instant::now() < deadline, "the upload begins");
        std::thread::sleep(Duration::from_millis(20));
    }
    let pid = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert!(said.contains("interrupted; what was finished is kept"), "{said}");
    hub.state().faults.clear();
    push(&hub, model.path(), &[]);
    assert_eq!(pushed(&hub, "main"), content(model.path()));
}

#[test]
fn a_file_that_changes_meanwhile_is_not_committed() {
    let model = model();
    let (weights, config) = (model.path().join("model.safetensors"), model.path().join("config.json"));
    for (request, path) in [("PUT /storage/part", weights), ("POST /ada/tiny.git/info/lfs", config)] {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let hub = Hub::with([fault(request, 1, Wrong::Touch(path))]);
        let (code, said) = failure(&mut push_with(WRITER, &hub, model.path(), &[]));
        assert!(code == Some(1) && said.contains(&format!("{name}` changed while")), "{said}");
        assert_eq!(hub.state().repos[REPO].commits.len(), 1);
    }
}

#[test]
fn memory_does_not_grow_with_the_files() {
    let (hub, dir) = (Hub::serve(), tempfile::tempdir().unwrap());
    let length = 200 * PART as u64;
    std::fs::File::create(dir.path().join("model.safetensors")).unwrap().set_len(length).unwrap();
    let mut command = olive_process();
    command.env("HF_ENDPOINT", &hub.endpoint).env("HF_HOME", "/nonexistent").env("HF_TOKEN", WRITER);
    let limited = "ulimit -v 120000; exec \"$0\" \"$@\"";
    let mut shell = std::process::Command::new("sh");
    shell.arg("-c").arg(limited).arg(command.get_program());
    shell.arg("push").arg(dir.path()).arg(REPO);
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    let mut shell = assert_cmd::Command::from_std(shell);
    succeed(&mut shell);
    assert_eq!(hub.state().objects.values().map(Vec::len).max(), Some(length as usize));
}
