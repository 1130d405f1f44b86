//! `report_to`: which trainings are logged to MLflow, and what is said of services that are not there.

use crate::mlflow_server::{Server, Trouble};
use crate::support::binary::{olive, text};
use crate::support::quickstart::Quickstart;
use olive_train::wandb::Record;
use prost::Message;
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Output;

const REPORT_TO: &str = "passes.lora.config.training_args.report_to";

/// A run whose training asks for these services, with this server.
fn run(quickstart: &Quickstart, services: &str, uri: &str, more: &[&str]) -> Output {
    let set = format!("{REPORT_TO}={services}");
    let mut command = quickstart.run(&[
        &set,
        r#"pass_flows=[["lora"]]"#,
        "passes.lora.config.training_args.logging_steps=1",
    ]);
    command
        .args(more)
        .env("MLFLOW_TRACKING_URI", uri)
        .env("MLFLOW_TRACKING_TOKEN", "Jd5-secret")
        .output()
        .unwrap()
}

fn validate(services: &str, more: &[&str]) -> String {
    let mut command = olive();
    command.args([
        "validate",
        "configs/quickstart/olive-config.json",
        "--set",
        &format!("{REPORT_TO}={services}"),
    ]);
    let output = command.args(more).env_remove("MLFLOW_TRACKING_URI").output().unwrap();
    text(&output.stderr)
}

#[test]
fn a_training_is_logged_once_and_its_result_does_not_depend_on_it() {
    let (server, quickstart) = (Server::start(), Quickstart::new(3));
    let output = run(&quickstart, "mlflow", &server.address(), &[]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let logged = server.run("run1");
    assert_eq!((logged.steps("loss"), logged.steps("eval_loss")), (vec![1, 2, 3], vec![0, 3]));
    assert_eq!(logged.steps("train_loss"), [3]);
    assert_eq!(logged.status, "FINISHED");
    assert!(
        logged.params.contains(&("max_steps".into(), "3".into()))
            && logged.params.contains(&("r".into(), "64".into()))
    );
    let said = text(&output.stderr);
    assert!(said.contains("logging to MLflow: http://127.0.0.1:") && !said.contains("Jd5"), "{said}");
    for services in ["none", "mlflow"] {
        assert!(
            text(&run(&quickstart, services, &server.address(), &[]).stdout).contains("cached"),
            "{services}"
        );
    }
    assert_eq!(server.requests().iter().filter(|request| request.path.ends_with("create")).count(), 1);
}

#[test]
fn a_server_that_fails_does_not_stop_a_training() {
    let (server, quickstart) = (Server::start(), Quickstart::new(2));
    server.has(Trouble::Fails { status: 500, requests: usize::MAX });
    let output = run(&quickstart, "all", &server.address(), &[]);
    let said = text(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("the training goes on") && said.contains("`metrics.jsonl` has them"), "{said}");
}

#[test]
fn what_cannot_be_logged_is_refused_before_anything_runs() {
    let quickstart = Quickstart::new(1);
    for (uri, more, reason) in [
        ("", &[][..], "`MLFLOW_TRACKING_URI` names no server"),
        ("sqlite:///mlflow.db", &[], "`sqlite:///mlflow.db`, a database"),
        ("file:///tmp/mlruns", &[], "`file:///tmp/mlruns`, which is not the http or https address"),
        ("databricks", &[], "Databricks"),
        ("http://127.0.0.1:9", &["--offline"], "the network is not to be used"),
    ] {
        let output = run(&quickstart, "mlflow", uri, more);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(reason) && said.contains("pass `lora` (LoRA)"), "{said}");
        // Nobody insists on it.
        let all = run(&quickstart, "all", uri, more);
        assert!(all.status.success(), "{}", text(&all.stderr));
    }
}

#[test]
fn services_that_are_not_there_are_named() {
    let said = validate(r#"["comet_ml","tensorboard"]"#, &[]);
    let told = "passes.lora.config.training_args.report_to: nothing is logged to `comet_ml`: there are `mlflow`, `wandb` and `tensorboard`";
    assert!(said.contains(told) && !said.contains("error"), "{said}");
    // The configuration is sound; this machine lacks the server.
    let said = validate("mlflow", &[]);
    assert!(
        said.contains("warning: ") && said.contains("names no server") && !said.contains("error"),
        "{said}"
    );
    assert!(!validate("none", &[]).contains("report_to"));
}

/// The records of the only offline run in a folder, and its id.
fn records(adapter: &Path) -> (Vec<Record>, String) {
    let folders: Vec<_> =
        std::fs::read_dir(adapter.join("wandb")).unwrap().map(|e| e.unwrap().path()).collect();
    assert_eq!(folders.len(), 1, "{folders:?}");
    let name = folders[0].file_name().unwrap().to_str().unwrap().to_owned();
    let id = name.rsplit('-').next().unwrap().to_owned();
    assert!(name.starts_with("offline-run-20") && id.len() == 8, "{name}");
    let bytes = std::fs::read(folders[0].join(format!("run-{id}.wandb"))).unwrap();
    assert_eq!(bytes[..7], *b":W&B\xe1\xbe\0");
    let (mut records, mut record, mut at) = (Vec::new(), Vec::new(), 7);
    while at < bytes.len() {
        let room = 32_768 - at % 32_768;
        if room < 7 {
            at += room;
            continue;
        }
        let length = usize::from(u16::from_le_bytes([bytes[at + 4], bytes[at + 5]]));
        record.extend_from_slice(&bytes[at + 7..at + 7 + length]);
        if matches!(bytes[at + 6], 1 | 4) {
            records.push(Record::decode(&*std::mem::take(&mut record)).unwrap());
        }
        at += 7 + length;
    }
    (records, id)
}

/// A value of a row of a history.
fn value(record: &Record, name: &str) -> Option<Value> {
    let items = &record.history.as_ref()?.item;
    let item = items.iter().find(|item| item.nested_key == [name])?;
    Some(serde_json::from_str(&item.value_json).unwrap())
}

#[test]
fn an_offline_run_of_wandb_has_every_row_and_goes_on_after_an_interruption() {
    let quickstart = Quickstart::new(300);
    let set = format!("{REPORT_TO}=wandb");
    let more = [set.as_str(), r#"pass_flows=[["lora"]]"#, "passes.lora.config.training_args.run_name=mine"];
    let mut first = quickstart.start(&more);
    let lines = BufReader::new(first.stderr.take().unwrap()).lines();
    lines.map_while(Result::ok).find(|line| line.contains("\"step\":5,")).expect("five steps");
    first.kill().unwrap();
    first.wait().unwrap();
    let (_, killed) = records(&partial(&quickstart));

    let mut again = quickstart.run(&more);
    let output = again.env("WANDB_PROJECT", "olives").env("WANDB_TAGS", "a, b").output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let adapter = quickstart.output().join("adapter");
    let (records, id) = records(&adapter);
    assert_eq!(id, killed, "the same run");
    assert!(records.iter().enumerate().all(|(place, record)| record.num == place as i64 + 1));
    let run = records[1].run.as_ref().unwrap();
    assert_eq!(
        (run.run_id.as_str(), run.project.as_str(), run.display_name.as_str()),
        (id.as_str(), "olives", "mine")
    );
    assert_eq!(run.tags, ["a", "b"]);
    let config = &run.config.as_ref().unwrap().item;
    assert!(config.iter().any(|item| item.key == "max_steps" && item.value_json == "300"));
    assert_eq!(records[3].metric.as_ref().unwrap().step_metric, "train/global_step");

    let written = std::fs::read_to_string(adapter.join("metrics.jsonl")).unwrap();
    let rows: Vec<&Record> = records.iter().filter(|record| record.history.is_some()).collect();
    assert_eq!(rows.len(), written.lines().count());
    for (place, (row, line)) in rows.iter().zip(written.lines()).enumerate() {
        let line: Value = serde_json::from_str(line).unwrap();
        let name = if line["kind"] == "train" { "train/loss" } else { "eval/loss" };
        assert_eq!(value(row, name), Some(line["loss"].clone()));
        assert_eq!(value(row, "train/global_step"), Some(line["step"].clone()));
        assert_eq!(value(row, "_step"), Some(place.into()));
    }
    let last = records.last().unwrap();
    assert_eq!(last.exit.as_ref().map(|exit| exit.exit_code), Some(0));
}

/// What the training has written so far.
fn partial(quickstart: &Quickstart) -> PathBuf {
    let mut artefacts =
        std::fs::read_dir(quickstart.cache().join("passes-v1/LoRA")).unwrap().map(|e| e.unwrap().path());
    artefacts
        .find(|path| path.extension().is_some_and(|end| end == "partial"))
        .expect("work in progress")
        .join("output")
}
