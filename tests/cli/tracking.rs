//! `report_to`: which trainings are logged to MLflow, and what is said of services that are not there.

use crate::mlflow_server::{Server, Trouble};
use crate::support::binary::{olive, text};
use crate::support::quickstart::Quickstart;
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
    let told = "passes.lora.config.training_args.report_to: nothing is logged to `comet_ml`: there are `mlflow` and `tensorboard`";
    assert!(said.contains(told) && !said.contains("error"), "{said}");
    let said = validate("wandb", &[]);
    assert!(
        said.contains("there is no client of Weights & Biases here")
            && said.contains("wandb sync --sync-tensorboard"),
        "{said}"
    );
    // The configuration is sound; this machine lacks the server.
    let said = validate("mlflow", &[]);
    assert!(
        said.contains("warning: ") && said.contains("names no server") && !said.contains("error"),
        "{said}"
    );
    assert!(!validate("none", &[]).contains("report_to"));
}
