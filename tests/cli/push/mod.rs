//! `olive push`, against a server that takes models as the hub does.

mod answers;
mod faults;
mod files;
mod http;
mod hub;
mod refusals;

use crate::support::binary::{olive, root, succeed, text};
use assert_cmd::Command;
use hub::{Hub, PART, WRITER};
use std::collections::BTreeMap;
use std::path::Path;
use tempfile::TempDir;

const REPO: &str = "ada/tiny";

/// A model folder: weights in three parts, the rest in the commit.
fn model() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(root().join("model-cache/tiny-phi3")).unwrap().flatten() {
        std::fs::copy(entry.path(), dir.path().join(entry.file_name())).unwrap();
    }
    assert!(dir.path().join("model.safetensors").metadata().unwrap().len() > 2 * PART as u64);
    dir
}

fn push_with(token: &str, hub: &Hub, model: &Path, more: &[&str]) -> Command {
    let mut command = olive();
    command.env("HF_ENDPOINT", &hub.endpoint).env("HF_HOME", "/nonexistent").env("HF_TOKEN", token);
    command.arg("push").arg(model).arg(REPO).args(more);
    command
}

fn push(hub: &Hub, model: &Path, more: &[&str]) -> String {
    text(&succeed(&mut push_with(WRITER, hub, model, more)).stdout)
}

/// What a push says that must fail, with its exit code.
fn failure(command: &mut Command) -> (Option<i32>, String) {
    let output = command.output().unwrap();
    let said = text(&output.stdout) + &text(&output.stderr);
    assert!(!output.status.success() && !said.contains(WRITER), "{said}");
    (output.status.code(), said)
}

/// The files of a folder.
fn content(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(dir).unwrap().flatten().filter(|entry| entry.path().is_file());
    entries.map(|e| (e.file_name().into_string().unwrap(), std::fs::read(e.path()).unwrap())).collect()
}

/// Those of a branch that were pushed.
fn pushed(hub: &Hub, branch: &str) -> BTreeMap<String, Vec<u8>> {
    let mut files = hub.files(REPO, branch);
    files.remove(".gitattributes").expect("what the hub makes itself stays");
    files
}

fn count(requests: &[String], beginning: &str) -> usize {
    requests.iter().filter(|request| request.starts_with(beginning)).count()
}

#[test]
fn a_model_comes_to_the_hub_and_nothing_of_it_twice() {
    let (hub, model) = (Hub::serve(), model());
    let said = push(&hub, model.path(), &["--message", "First"]);
    assert!(said.starts_with(&format!("{}/{REPO}: 7 files, 2.7 MB", hub.endpoint)), "{said}");
    assert!(said.trim_end().ends_with(&format!("commit {:040x}", 2)), "{said}");
    assert_eq!(pushed(&hub, "main"), content(model.path()));
    let requests = hub.requests();
    assert_eq!((count(&requests, "PUT /storage/part"), count(&requests, "PUT /storage/whole")), (3, 0));
    assert_eq!(count(&requests, "POST /verify"), 1, "with the token, as the hub's own");

    let said = push(&hub, model.path(), &[]);
    assert!(said.contains("all 7 files are there already"), "{said}");
    let requests = hub.requests();
    assert_eq!(
        count(&requests, "PUT") + count(&requests, "POST /api/models/ada/tiny/commit"),
        0,
        "{requests:?}"
    );

    std::fs::write(model.path().join("generation_config.json"), "{}").unwrap();
    std::fs::write(model.path().join("small.safetensors"), [7; 100]).unwrap();
    let said = push(&hub, model.path(), &[]);
    assert!(said.contains(": 2 files, 102 B, 6 unchanged"), "{said}");
    let requests = hub.requests();
    assert_eq!((count(&requests, "PUT"), count(&requests, "PUT /storage/whole")), (1, 1));
    assert_eq!(pushed(&hub, "main"), content(model.path()));
    assert_eq!(hub.state().repos[REPO].commits, ["initial commit", "First", "Push from olive"]);
}

#[test]
fn what_would_be_sent_is_told_and_nothing_done() {
    let (hub, model) = (Hub::serve(), model());
    std::fs::write(model.path().join("train.log"), "loss").unwrap();
    let document = |more: &[&str]| -> serde_json::Value {
        let more = [&["--dry-run", "--json"], more].concat();
        serde_json::from_str(&push(&hub, model.path(), &more)).unwrap()
    };
    let states = |document: &serde_json::Value| -> Vec<String> {
        let files = document["files"].as_array().unwrap();
        files
            .iter()
            .map(|file| format!("{} {}", file["name"].as_str().unwrap(), file["state"].as_str().unwrap()))
            .collect()
    };
    let before = document(&[]);
    assert_eq!((&before["is_new"], states(&before).len()), (&true.into(), 8));
    assert!(states(&before).iter().all(|state| state.ends_with(" new")));
    let requests = hub.requests();
    assert!(requests.iter().all(|request| request.starts_with("GET ")), "{requests:?}");

    push(&hub, model.path(), &[]);
    std::fs::write(model.path().join("config.json"), "{}").unwrap();
    std::fs::write(model.path().join("notes.txt"), "new").unwrap();
    hub.requests();
    let after = states(&document(&[]));
    for state in ["config.json changed", "notes.txt new", "model.safetensors unchanged", "train.log ignored"]
    {
        assert!(after.iter().any(|found| found == state), "{state}: {after:?}");
    }
    let requests = hub.requests();
    let asks = |request: &String| request.starts_with("GET ") || request.contains("/preupload/");
    assert!(requests.iter().all(asks), "{requests:?}");

    let mut command = push_with("", &hub, model.path(), &["--dry-run"]);
    let said = text(&succeed(command.env_remove("HF_TOKEN")).stdout);
    assert!(said.contains("9 of 9 files") && said.contains("the hub was not asked"), "{said}");
    assert_eq!(hub.requests(), Vec::<String>::new());
}

#[test]
fn branches_are_made_and_pull_requests_opened() {
    let (hub, model) = (Hub::serve(), model());
    let said = push(&hub, model.path(), &["--create-pr"]);
    assert!(said.starts_with("https://hub/ada/tiny/discussions/1: 7 files"), "{said}");
    assert_eq!((pushed(&hub, "main").len(), pushed(&hub, "refs/pr/1").len()), (0, 7));
    hub.requests();
    push(&hub, model.path(), &["--revision", "trials/v1"]);
    let requests = hub.requests();
    assert_eq!(count(&requests, "POST /api/models/ada/tiny/branch/trials%2Fv1"), 1);
    assert_eq!(count(&requests, "PUT"), 0, "the storage has the weights already");
    assert_eq!((pushed(&hub, "main").len(), pushed(&hub, "trials/v1")), (0, content(model.path())));
    let said = push(&hub, model.path(), &["--revision", "trials/v1"]);
    assert!(said.contains("there already"), "{said}");
    assert_eq!(count(&hub.requests(), "POST /api/models/ada/tiny/branch"), 0);
}

#[test]
fn a_repository_that_is_to_be_private_is() {
    let (hub, model) = (Hub::serve(), model());
    push(&hub, model.path(), &["--private"]);
    assert!(hub.state().repos[REPO].private);
    push(&hub, model.path(), &["--private"]);
    hub.state().repos.get_mut(REPO).unwrap().private = false;
    std::fs::write(model.path().join("notes.txt"), "for me").unwrap();
    for more in [&["--private"][..], &["--private", "--dry-run"]] {
        let (code, said) = failure(&mut push_with(WRITER, &hub, model.path(), more));
        assert!(
            code == Some(1) && said.contains("is public") && said.contains("hint: make it private"),
            "{said}"
        );
    }
    assert!(!pushed(&hub, "main").contains_key("notes.txt"));

    let hub = Hub::serve();
    hub.state().always_public = true;
    let (_, said) = failure(&mut push_with(WRITER, &hub, model.path(), &["--private"]));
    assert!(said.contains("is public"), "a hub that does not know what private is: {said}");
    assert!(hub.state().objects.is_empty() && pushed(&hub, "main").is_empty());
}

#[test]
fn more_files_than_one_request_takes_are_pushed_by_several() {
    let (hub, dir) = (Hub::serve(), tempfile::tempdir().unwrap());
    for n in 0..300 {
        std::fs::write(dir.path().join(format!("{n:03}.safetensors")), n.to_string()).unwrap();
    }
    push(&hub, dir.path(), &[]);
    let requests = hub.requests();
    assert_eq!(count(&requests, "POST /api/models/ada/tiny/preupload"), 2);
    assert_eq!(count(&requests, "POST /ada/tiny.git/info/lfs"), 2);
    assert_eq!((count(&requests, "PUT"), count(&requests, "POST /api/models/ada/tiny/commit")), (300, 1));
    assert_eq!(pushed(&hub, "main"), content(dir.path()));
}
