//! Runs logged to a server that answers as MLflow does, or not at all.

mod server;

use olive_core::event::Event;
use olive_tracking::{MlflowSettings, RunLog, RunStart, Status, TrackingError};
use serde_json::{Value, json};
use server::{Server, Trouble};
use std::path::Path;
use std::time::{Duration, Instant};

fn settings(server: &Server, more: &[(&str, &str)]) -> MlflowSettings {
    let address = server.address();
    let variables = [&[("MLFLOW_TRACKING_URI", address.as_str())], more].concat();
    let value = |name: &str| variables.iter().find(|(other, _)| *other == name).map(|(_, v)| (*v).to_owned());
    MlflowSettings::of(value).unwrap()
}

fn start(note: &Path) -> RunStart {
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    RunStart {
        name: Some("a name".into()),
        params: (0..150).map(|n| pair(&format!("p{n:03}"), &"x".repeat(400 + n))).collect(),
        tags: vec![pair("from", "a test")],
        note: note.join("mlflow.json"),
    }
}

fn begin(server: &Server, note: &Path, more: &[(&str, &str)]) -> RunLog {
    RunLog::start(settings(server, more), start(note)).unwrap()
}

fn log(run: &RunLog, steps: std::ops::RangeInclusive<usize>) {
    steps.for_each(|step| run.log(step, &[("loss", step as f64), ("odd", f64::NAN)]));
}

fn warnings(events: &[Event]) -> Vec<&str> {
    events
        .iter()
        .filter_map(
            |event| if let Event::Warning { message } = event { Some(message.as_str()) } else { None },
        )
        .collect()
}

#[test]
fn a_run_has_its_parameters_tags_values_and_end() {
    let (server, folder) = (Server::start(), tempfile::tempdir().unwrap());
    let more = [
        ("MLFLOW_EXPERIMENT_NAME", "mine"),
        ("MLFLOW_TAGS", r#"{"team": "t"}"#),
        ("MLFLOW_TRACKING_TOKEN", "Kq8-secret"),
    ];
    let run = begin(&server, folder.path(), &more);
    log(&run, 1..=700);
    let told = run.finish(Status::Finished);
    let page = format!("logging to MLflow: {}/#/experiments/7/runs/run1", server.address());
    assert_eq!(told, [Event::Info { message: page }]);

    let run = server.run("run1");
    assert_eq!((run.status.as_str(), run.body["run_name"].as_str()), ("FINISHED", Some("a name")));
    assert_eq!(run.body["experiment_id"], "7");
    assert_eq!(run.tags, [("from".to_owned(), "a test".to_owned()), ("team".to_owned(), "t".to_owned())]);
    assert_eq!(run.params.len(), 150);
    assert!(run.params[0].1.len() == 400 && run.params[149].1 == "x".repeat(499) + "…");
    assert_eq!(run.steps("loss"), (1..=700).collect::<Vec<_>>());
    assert_eq!((&run.metrics[0]["value"], &run.metrics[1]["value"]), (&json!(1.0), &json!("NaN")));
    // The limits of `runs/log-batch`.
    let sizes = |what: &str| {
        server.batches().iter().filter_map(|batch| Some(batch[what].as_array()?.len())).collect::<Vec<_>>()
    };
    assert_eq!(sizes("params"), [100, 50]);
    assert!(
        sizes("metrics").iter().all(|size| *size <= 1000) && sizes("metrics").iter().sum::<usize>() == 1400
    );
    assert!(
        server.requests().iter().all(|request| request.authorization.as_deref() == Some("Bearer Kq8-secret"))
    );
}

#[test]
fn what_fails_is_told_once_and_sent_again() {
    let (server, folder) = (Server::start(), tempfile::tempdir().unwrap());
    server.has(Trouble::Fails { status: 500, requests: 2 });
    let run = begin(
        &server,
        folder.path(),
        &[("MLFLOW_TRACKING_USERNAME", "me"), ("MLFLOW_TRACKING_PASSWORD", "Kq8-word")],
    );
    log(&run, 1..=3);
    server.until(|server| server.requests().len() >= 3);
    let told = run.finish(Status::Finished);
    let warned = warnings(&told);
    assert_eq!(warned.len(), 1, "{warned:?}");
    assert!(
        warned[0].contains("the server answers 500: broken") && warned[0].contains("the training goes on"),
        "{warned:?}"
    );
    assert_eq!(server.run("run1").steps("loss"), [1, 2, 3]);
    assert_eq!(server.requests()[0].authorization.as_deref(), Some("Basic bWU6S3E4LXdvcmQ="));
}

#[test]
fn what_is_refused_for_good_does_not_keep_the_rest() {
    let (server, folder) = (Server::start(), tempfile::tempdir().unwrap());
    server.has(Trouble::RefusesParameters);
    let run = begin(&server, folder.path(), &[]);
    log(&run, 1..=2);
    let told = run.finish(Status::Failed);
    assert!(
        warnings(&told)[0].contains("does not take the parameters of the training: the server answers 400"),
        "{told:?}"
    );
    let run = server.run("run1");
    assert_eq!((run.steps("loss"), run.status.as_str()), (vec![1, 2], "FAILED"));
}

#[test]
fn a_run_that_is_deleted_meanwhile_is_told_once() {
    let (server, folder) = (Server::start(), tempfile::tempdir().unwrap());
    let run = begin(&server, folder.path(), &[]);
    let sent = |server: &Server, batches| server.until(|server| server.batches().len() >= batches);
    // Two batches of parameters and one of tags.
    sent(&server, 3);
    server.delete("run1");
    for (step, batches) in [(1, 4), (2, 5)] {
        log(&run, step..=step);
        sent(&server, batches);
    }
    let told = run.finish(Status::Finished);
    let warned = warnings(&told);
    assert_eq!(warned.len(), 1, "{warned:?}");
    assert!(
        warned[0].contains("does not take some values") && warned[0].contains("it was deleted"),
        "{warned:?}"
    );
}

#[test]
fn a_training_that_goes_on_is_the_same_run_without_a_step_twice() {
    let (server, folder) = (Server::start(), tempfile::tempdir().unwrap());
    let run = begin(&server, folder.path(), &[]);
    log(&run, 1..=5);
    run.finish(Status::Killed);
    assert_eq!(server.run("run1").status, "KILLED");
    // From a checkpoint after step 3.
    let run = begin(&server, folder.path(), &[]);
    log(&run, 4..=8);
    assert_eq!(warnings(&run.finish(Status::Finished)), Vec::<&str>::new());
    let logged = server.run("run1");
    assert_eq!((logged.steps("loss"), logged.status.as_str()), ((1..=8).collect(), "FINISHED"));
    assert_eq!(
        server.batches().iter().filter(|batch| batch["params"].is_array()).count(),
        2,
        "only at first"
    );

    // Another server knows nothing of it, and a run that was deleted is none.
    let other = Server::start();
    begin(&other, folder.path(), &[]).finish(Status::Killed);
    assert_eq!(other.run("run1").status, "KILLED");
    other.delete("run1");
    begin(&other, folder.path(), &[]).finish(Status::Finished);
    assert_eq!(other.run("run2").status, "FINISHED");
}

#[test]
fn the_run_of_the_variable_is_gone_on_with_whatever_it_has() {
    let (server, folder) = (Server::start(), tempfile::tempdir().unwrap());
    begin(&server, folder.path(), &[]).finish(Status::Finished);
    let (given, elsewhere) = ([("MLFLOW_RUN_ID", "run1")], tempfile::tempdir().unwrap());
    let run = begin(&server, elsewhere.path(), &given);
    log(&run, 1..=2);
    run.finish(Status::Finished);
    let run = begin(&server, tempfile::tempdir().unwrap().path(), &given);
    log(&run, 1..=2);
    run.finish(Status::Finished);
    assert_eq!(server.run("run1").steps("loss"), [1, 2, 1, 2], "two trainings");
}

#[test]
fn values_wait_where_nobody_answers_until_the_training_goes_on() {
    let (server, folder) = (Server::start(), tempfile::tempdir().unwrap());
    server.has(Trouble::Fails { status: 503, requests: usize::MAX });
    let run = begin(&server, folder.path(), &[]);
    log(&run, 1..=4);
    let told = run.finish(Status::Killed);
    let last = warnings(&told).pop().unwrap().to_owned();
    assert!(last.contains("8 values were not sent, they are sent when the training goes on"), "{told:?}");
    server.has(Trouble::None);
    let run = begin(&server, folder.path(), &[]);
    log(&run, 3..=6);
    run.finish(Status::Finished);
    assert_eq!(server.run("run1").steps("loss"), (1..=6).collect::<Vec<_>>());
}

#[test]
fn a_server_that_is_slow_or_not_there_slows_nothing_but_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let slow = Server::start();
    slow.has(Trouble::Silent);
    for (address, reason) in [(format!("http://{nobody}"), "refused"), (slow.address(), "no answer in time")]
    {
        let settings = MlflowSettings::of(|name| match name {
            "MLFLOW_TRACKING_URI" => Some(address.clone()),
            "MLFLOW_HTTP_REQUEST_TIMEOUT" => Some("1".into()),
            _ => None,
        })
        .unwrap();
        let run = RunLog::start(settings, start(folder.path())).unwrap();
        let clock = Instant::now();
        log(&run, 1..=1000);
        assert!(clock.elapsed() < Duration::from_secs(2), "nothing waits for the server");
        let told = run.finish(Status::Killed);
        assert!(warnings(&told).iter().any(|message| message.contains(reason)), "{told:?}");
    }
}

#[test]
fn addresses_of_answers_are_not_followed() {
    let (server, folder) = (Server::start(), tempfile::tempdir().unwrap());
    let other = Server::start();
    server.has(Trouble::Redirects { to: other.address() });
    let run = begin(&server, folder.path(), &[("MLFLOW_TRACKING_TOKEN", "Kq8-secret")]);
    let told = run.finish(Status::Killed);
    assert!(warnings(&told)[0].contains("the server answers 307"), "{told:?}");
    assert!(other.requests().is_empty());
}

#[test]
fn a_note_that_is_damaged_is_none() {
    let (server, folder) = (Server::start(), tempfile::tempdir().unwrap());
    std::fs::write(folder.path().join("mlflow.json"), "{").unwrap();
    begin(&server, folder.path(), &[]).finish(Status::Finished);
    assert_eq!(server.run("run1").status, "FINISHED");
    let note: Value =
        serde_json::from_slice(&std::fs::read(folder.path().join("mlflow.json")).unwrap()).unwrap();
    assert_eq!(note["run_id"], "run1");
    let none = MlflowSettings::of(|_| None).unwrap_err();
    assert_eq!(none, TrackingError::NoServer);
}
