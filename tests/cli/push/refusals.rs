//! What cannot be pushed, and what is said about it.

use super::http::Answer;
use super::hub::{Fault, Hub, READER, WRITER, Wrong};
use super::{count, failure, model, push, push_with};
use crate::support::binary::olive;

#[test]
fn the_hub_s_refusals_come_with_what_to_do() {
    let quota = Answer::error(403, "", "Private storage limit reached. Please upgrade your plan");
    let refused = |status, message| Answer::error(status, "", message);
    let moved = Answer { headers: vec![("Location", "/ada/small".to_owned())], ..Answer::empty(307) };
    let table = [
        ("GET /api/models", moved, "has another name now (307): /ada/small", "push to that name"),
        (
            "POST /api/models/ada/tiny/commit",
            refused(412, "A commit has happened since"),
            "somebody else",
            "push again",
        ),
        ("POST /api/models/ada/tiny/commit", refused(413, ""), "too large (413)", "--include"),
        (
            "POST /api/models/ada/tiny/commit",
            refused(400, "Invalid path"),
            "(400): Invalid path",
            "check the names",
        ),
        (
            "POST /api/models/ada/tiny/preupload",
            refused(404, "Repository not found"),
            "may not see it (404)",
            "check the name",
        ),
        ("POST /ada/tiny.git/info/lfs", quota, "no room for it (403): Private storage", "settings/billing"),
        ("GET /api/models", refused(501, ""), "the hub answers 501", "push again"),
    ];
    let model = model();
    for (request, answer, said, hint) in table {
        let hub = Hub::with([Fault { request, times: 100, wrong: Wrong::Answer(answer) }]);
        let (code, told) = failure(&mut push_with(WRITER, &hub, model.path(), &[]));
        assert!(code == Some(1) && told.contains("`ada/tiny` could not be pushed to"), "{told}");
        assert!(told.contains(said) && told.contains("hint: ") && told.contains(hint), "{said}: {told}");
    }
}

#[test]
fn a_hub_that_is_away_or_busy_is_given_up_in_the_end() {
    let model = model();
    let late = Answer { headers: vec![("Retry-After", "3600".to_owned())], ..Answer::empty(429) };
    let hub = Hub::with([Fault { request: "GET", times: 100, wrong: Wrong::Answer(late) }]);
    let (code, said) = failure(&mut push_with(WRITER, &hub, model.path(), &[]));
    assert!(code == Some(1) && said.contains("slow down (429)") && said.contains("again later"), "{said}");
    assert_eq!(count(&hub.requests(), "GET"), 1, "nobody waits for an hour");
    let mut away = push_with(WRITER, &hub, model.path(), &[]);
    let (code, said) = failure(away.env("HF_ENDPOINT", "http://127.0.0.1:9"));
    assert!(code == Some(1) && said.contains("cannot be reached") && said.contains("HF_ENDPOINT"), "{said}");
    let hub = Hub::with([Fault {
        request: "GET",
        times: 1,
        wrong: Wrong::Answer(Answer { body: "<html>".into(), ..Answer::empty(200) }),
    }]);
    let (code, said) = failure(&mut push_with(WRITER, &hub, model.path(), &[]));
    assert!(code == Some(1) && said.contains("not one of the hub"), "{said}");
}

#[test]
fn tokens_that_may_not_write_are_told_apart() {
    let (hub, model) = (Hub::serve(), model());
    let (code, said) = failure(&mut push_with("hf_nobody_knows", &hub, model.path(), &[]));
    assert!(
        code == Some(1) && said.contains("does not know the token (401)") && said.contains("olive login"),
        "{said}"
    );
    assert!(!said.contains("hf_nobody_knows"));
    let (code, said) = failure(&mut push_with(READER, &hub, model.path(), &[]));
    assert!(code == Some(1) && said.contains("may not write to it (403)"), "{said}");
    assert!(said.contains("write access to `ada`") && said.contains("--create-pr"), "{said}");
    let mut command = olive();
    command.env("HF_ENDPOINT", &hub.endpoint).env("HF_HOME", "/nonexistent").env("HF_TOKEN", WRITER);
    let (code, said) = failure(command.arg("push").arg(model.path()).arg("grace/tiny"));
    assert!(code == Some(1) && said.contains("(403)") && said.contains("write access to `grace`"), "{said}");
    assert!(hub.state().repos.is_empty());
}

#[test]
fn what_cannot_be_is_said_before_anything_is_sent() {
    let (hub, model) = (Hub::serve(), model());
    let push_to = |repo: &str, more: &[&str]| {
        let mut command = olive();
        command.env("HF_ENDPOINT", &hub.endpoint).env("HF_HOME", "/nonexistent").env("HF_TOKEN", WRITER);
        command.arg("push").arg(model.path()).arg(repo).args(more);
        failure(&mut command)
    };
    for (repo, more, said) in [
        ("tiny", &[][..], "its owner is missing"),
        ("ada/a--b", &[], "`--` and `..` are not allowed"),
        ("ada/tiny", &["--revision", "../main"], "is no name of a branch"),
        ("ada/tiny", &["--offline"], "this run is offline"),
    ] {
        let (code, told) = push_to(repo, more);
        assert!(code == Some(2) && told.contains(said) && told.contains("hint: "), "{told}");
    }
    let (code, told) = failure(push_with("", &hub, model.path(), &[]).env_remove("HF_TOKEN"));
    assert!(code == Some(2) && told.contains("no token") && told.contains("olive login"), "{told}");
    let (code, told) = failure(&mut push_with(WRITER, &hub, &model.path().join("gone"), &[]));
    assert!(code == Some(2) && told.contains("there is no folder or file"), "{told}");
    assert_eq!(hub.requests(), Vec::<String>::new());
}

#[test]
fn a_card_that_the_hub_does_not_take_is_told_before_the_weights_go() {
    let (hub, model) = (Hub::serve(), model());
    let card = model.path().join("README.md");
    std::fs::write(&card, "---\nlicense: [mit]\n---\n").unwrap();
    let (code, said) = failure(&mut push_with(WRITER, &hub, model.path(), &[]));
    assert!(code == Some(1) && said.contains("\"license\" must be a string"), "{said}");
    assert!(hub.state().repos.is_empty());
    std::fs::write(&card, "# Tiny\n").unwrap();
    let output = push_with(WRITER, &hub, model.path(), &[]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said.contains("empty or missing yaml metadata"), "{said}");
    std::fs::remove_file(&card).unwrap();
    let output = push_with(WRITER, &hub, model.path(), &[]).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("no model card"));
    assert!(push(&hub, model.path(), &[]).contains("there already"));
}
