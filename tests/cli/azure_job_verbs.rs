//! `olive jobs`: jobs of Azure ML, listed, followed and cancelled without a run.

use crate::azure_project::{Project, computes};
use crate::support::binary::{olive_process, root, text};
use crate::support::quickstart::Quickstart;
use olive_azureml_fake::place::WORKSPACE;
use olive_azureml_fake::router::CLOUD;
use olive_azureml_fake::runner::{JobRunner, Outcome, Script};
use serde_json::{Value, json};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

const ALL: [&str; 3] = ["lora", "merge_adapter_weights", "builder"];

fn project_with_jobs_by(runner: impl JobRunner + 'static) -> Project {
    Project::new(&ALL, Arc::new(runner))
}

const IN_WORKSPACE: [&str; 2] = ["--workspace", "00000000-1111-2222-3333-444444444444/rg1/ws1"];
const BY_CONFIGURATION: [&str; 2] = ["--config", "c.json"];
const OF_OUTPUT: [&str; 2] = ["--output-dir", "out"];

fn wait_for(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..2000 {
        if is_so() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("{what}");
}

#[test]
fn jobs_of_passes_are_listed_newest_first() {
    let project = project_with_jobs_by(Script::queueing_for_ever());
    let jobs = [
        project.submit("olive-first-1", json!({"Pass": "LoRA,MergeAdapterWeights", "olive": "0.1.0"})),
        project.submit("another", json!({"Pass": "LoRA"})),
        project.submit("renamed", json!({"olive": "0.1.0", "Pass": "LoRA"})),
        project.submit("olive-untagged", Value::Null),
    ];
    wait_for("all queue", || jobs.iter().all(|job| job.state().status == "Queued"));
    let expected = "\
job             passes                    status  compute      experiment  created (UTC)
olive-untagged                            Queued  gpu-cluster  olive-pass  2026-11-24 00:00:03
renamed         LoRA                      Queued  gpu-cluster  olive-pass  2026-11-24 00:00:02
olive-first-1   LoRA,MergeAdapterWeights  Queued  gpu-cluster  olive-pass  2026-11-24 00:00:00
";
    for place in [IN_WORKSPACE, BY_CONFIGURATION] {
        let (code, table, told) = project.look_after(&[&["list"], &place[..]].concat());
        assert_eq!((code, table.as_str()), (Some(0), expected), "{told}");
    }
    let (_, document, _) = project.look_after(&[&["list", "--json"], &IN_WORKSPACE[..]].concat());
    let document: Value = serde_json::from_str(&document).unwrap();
    assert_eq!(document["errors"], json!([]));
    let last = &document["jobs"][2];
    assert_eq!((&last["name"], &last["status"]), (&json!("olive-first-1"), &json!("Queued")));
    assert_eq!(last["passes"], json!(["LoRA", "MergeAdapterWeights"]));
    assert_eq!((&last["created"], &last["compute"]), (&json!("2026-11-24T00:00:00Z"), &json!("gpu-cluster")));
    assert_eq!(last["workspace"]["workspace_name"], WORKSPACE);
    assert!(last["page"].as_str().unwrap().contains("/studio/runs/olive-first-1"));
    // Nothing was sent from here.
    let (code, table, _) = project.look_after(&[&["list"], &OF_OUTPUT[..]].concat());
    assert_eq!((code, table.lines().count()), (Some(0), 1), "{table}");
}

#[test]
fn a_job_is_followed_to_its_end() {
    let line = |event: &str| format!(r#"{{"time":1.5,"event":{event}}}"#);
    let script = |outcome| {
        Script::ending(outcome)
            .line("pulling the image")
            .line(&line(r#""pass_started","pass":"lora","type":"LoRA","index":1,"total":2"#))
            .line(&line(r#""error","message":"the rows ran out","hint":"give more""#))
    };
    let follow = [&["follow", "job"], &IN_WORKSPACE[..]].concat();

    let project = project_with_jobs_by(script(Outcome::Completed));
    project.submit("job", Value::Null);
    let (code, _, told) = project.look_after(&follow);
    assert_eq!(code, Some(0), "{told}");
    let parts = ["the job is Running", "pulling the image", "[1/2] lora (LoRA)", "the job is Completed"];
    let places: Vec<_> = parts.iter().map(|part| told.find(part)).collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{told}");

    let project = project_with_jobs_by(script(Outcome::failed("exit code 1", &["UserError"])));
    project.submit("job", Value::Null);
    let (code, _, told) = project.look_after(&follow);
    assert_eq!(code, Some(1));
    assert!(told.contains("error: job job ended as Failed: the rows ran out\n  hint: give more"), "{told}");
}

#[test]
fn a_job_outlives_its_run_and_can_be_cancelled() {
    let project = project_with_jobs_by(Script::queueing_for_ever());
    let mut run = project.start(&[]);
    run.wait_for("the job is Queued");
    run.interrupt();
    let (code, told) = run.end();
    assert_eq!(code, Some(130), "{told}");
    assert!(told.contains("which needs glibc 2."), "{told}");
    let [name] = project.jobs().try_into().unwrap();
    let command = format!("`olive jobs cancel {name} --config c.json` ends it");
    assert!(told.contains(&command), "{told}");

    let (code, table, told) = project.look_after(&[&["list"], &OF_OUTPUT[..]].concat());
    assert!(code == Some(0) && table.contains(&name) && table.contains(" Queued "), "{table}{told}");
    let cancel = [&["cancel", name.as_str()], &BY_CONFIGURATION[..]].concat();
    let (code, said, told) = project.look_after(&cancel);
    assert_eq!((code, said), (Some(0), format!("job {name} is cancelled\n")), "{told}");
    assert_eq!(project.fake.world().jobs()[&name].state().status, "Canceled");
    // Again, and following it: it is over.
    assert_eq!(project.look_after(&cancel).0, Some(0));
    let (code, _, told) = project.look_after(&[&["follow", name.as_str()], &OF_OUTPUT[..]].concat());
    assert!(code == Some(1) && told.contains(&format!("job {name} ended as Canceled")), "{told}");
}

#[test]
fn what_cannot_be_looked_after_is_an_error_with_a_hint() {
    let project = project_with_jobs_by(Script::default());
    let job = project.submit("done", Value::Null);
    let follow = [&["follow", "done"], &IN_WORKSPACE[..]].concat();
    assert_eq!(project.look_after(&follow).0, Some(0));
    assert_eq!(job.state().status, "Completed");
    std::fs::write(project.at("local.json"), Quickstart::configuration(&["lora"]).to_string()).unwrap();
    let cases: [(&[&str], i32, &str, &str); 7] = [
        (
            &["cancel", "done", "--config", "c.json"],
            1,
            "ended as Completed before",
            "nothing is left to cancel",
        ),
        (
            &["follow", "nobody", "--config", "c.json"],
            1,
            "there is no job `nobody` in subscription",
            "jobs list",
        ),
        (
            &["cancel", "done", "--output-dir", "out"],
            1,
            "no job `done` in the records of runs in `out`",
            "jobs list",
        ),
        (&["list", "--config", "local.json"], 2, "`local.json` names no workspace", "azureml_client"),
        (&["list", "--workspace", "a/b"], 2, "`a/b` is no workspace", "portal"),
        (&["list", "--workspace", "a/b/c"], 1, "the subscription `a`: expected its id", ""),
        (&["list", "--offline"], 2, "the network is not to be used", "--offline"),
    ];
    for (arguments, expected, message, hint) in cases {
        let (code, _, told) = project.look_after(arguments);
        let told = told.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(code, Some(expected), "{arguments:?}: {told}");
        assert!(told.contains(message) && told.contains(hint), "{arguments:?}: {told}");
    }
}

#[test]
fn the_smoke_test_for_users_with_a_subscription_passes() {
    let project = Project::new(&ALL, computes(None));
    let mut script = project.leading_here(Command::new("sh"));
    script.arg(root().join("scripts/azure-smoke")).args([IN_WORKSPACE[1], "gpu-cluster"]);
    script.env("OLIVE", assert_cmd::cargo::cargo_bin("olive")).env("NO_PROXY", "127.0.0.1");
    let Output { status, stdout, stderr } = script.output().unwrap();
    let said = text(&stdout);
    assert!(status.success(), "{said}{}", text(&stderr));
    assert_eq!(said.lines().filter(|line| line.starts_with("ok ")).count(), 6, "{said}");
}

#[test]
fn a_cloud_that_describes_itself_is_asked_and_its_name_must_be_there() {
    let project = Project::new(&["lora"], Arc::new(Script::default()));
    let list = |cloud: &str| {
        let mut command = project.leading_here(olive_process());
        command.env("ARM_CLOUD_METADATA_URL", format!("{}/metadata/endpoints", project.fake.url()));
        command.env("AZUREML_CURRENT_CLOUD", cloud);
        command.current_dir(project.at("")).args(["jobs", "list", "--config", "c.json"]).output().unwrap()
    };
    let output = list(CLOUD);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(project.fake.requests()[0].path, "/metadata/endpoints");
    let told = text(&list("OtherCloud").stderr);
    assert!(told.contains("names a cloud that it describes: FakeCloud"), "{told}");
}
