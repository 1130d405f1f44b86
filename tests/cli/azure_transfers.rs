//! What goes to and from Azure ML while a run goes on: rights to it that end on the way, and what is damaged there.

use crate::azure_project::{Project, computes};
use crate::support::binary::{olive_process, text};
use async_trait::async_trait;
use olive_azureml_fake::faults::{Fault, FaultKind};
use olive_azureml_fake::job::RunningJob;
use olive_azureml_fake::place::BLOB_STORE;
use olive_azureml_fake::runner::{JobRunner, Outcome, STD_LOG};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// Lines that a job says before it works: more than is asked for of a log at a time, three times.
const LINES: usize = 1300;
const LINE: usize = 10_000;

#[derive(Debug)]
struct Talkative(Arc<dyn JobRunner>);

#[async_trait]
impl JobRunner for Talkative {
    async fn run(&self, job: &RunningJob) -> Outcome {
        job.set_status("Running");
        let filling = "-".repeat(LINE);
        let lines: Vec<String> = (0..LINES).map(|number| format!("said {number} {filling}\n")).collect();
        job.log(STD_LOG, &lines.concat());
        self.0.run(job).await
    }
}

/// An adapter of several pieces.
fn large_adapter(config: &mut Value) {
    config["passes"]["lora"]["config"]["lora_r"] = json!(640);
    config["passes"]["lora"]["config"]["training_args"]["max_steps"] = json!(1);
}

/// Every signature ends in the middle of a block list, of a log (twice) and of a file.
#[test]
fn signatures_that_end_on_the_way_are_renewed_and_nothing_is_lost() {
    let project = Project::new(&["lora"], Arc::new(Talkative(computes(None))));
    project.configure(large_adapter);
    let ends = |method, path: &str| Fault::new(method, path, FaultKind::SignaturesExpire);
    for fault in [
        ends("PUT", "/LocalUpload/").with_query("comp", "block").after(1),
        ends("PUT", "/LocalUpload/").with_query("comp", "blocklist"),
        ends("GET", "user_logs/").after(1),
        ends("GET", "user_logs/").after(1),
        ends("GET", "/output/adapter_model.safetensors").after(1),
    ] {
        project.fake.add_fault(fault);
    }
    let (_, told) = project.run_well(&[]);
    let world = project.fake.world();
    assert_eq!(world.faults.left(), 0, "all of it happened: {:?}", world.faults);

    let said = told.lines().filter_map(|line| line.split_once("said ")?.1.split_once(' '));
    let said: Vec<(usize, usize)> =
        said.map(|(number, rest)| (number.parse().unwrap(), rest.len())).collect();
    assert_eq!(said, (0..LINES).map(|number| (number, LINE)).collect::<Vec<_>>());
    let there = |end: &str| {
        let blobs = world.blobs.list(BLOB_STORE.1, "");
        let (_, blob) = blobs.into_iter().find(|(name, _)| name.ends_with(end)).unwrap();
        blob.content
    };
    assert!(there("/olive") == std::fs::read(olive_process().get_program()).unwrap());
    let adapter = std::fs::read(project.at("out/adapter/adapter_model.safetensors")).unwrap();
    assert!(adapter.len() > 16 << 20 && there("/output/adapter_model.safetensors") == adapter);
}

#[test]
fn what_is_on_its_way_is_listed_and_cleaned_away_unless_a_process_fetches_it() {
    let project = Project::new(&["lora"], computes(None));
    project.configure(large_adapter);
    let stuck = Fault::new("GET", "/output/adapter_model.safetensors", FaultKind::Throttled(600));
    project.fake.add_fault(stuck.after(2));
    let mut run = project.start(&[]);
    while project.fake.world().faults.left() > 0 {
        assert!(run.child.try_wait().unwrap().is_none());
        std::thread::sleep(Duration::from_millis(5));
    }
    let name = project.jobs().remove(0);
    let listed = || serde_json::from_str::<Value>(&project.cache(&["ls", "--json"]).0).unwrap();
    let (_, told) = project.cache(&["clean"]);
    assert!(told.contains(&name) && told.contains("another process"), "{told}");
    assert_eq!(listed()["incoming"][0]["name"], json!(name));
    assert!(listed()["incoming"][0]["bytes"].as_u64().unwrap() > 0);

    run.child.kill().unwrap();
    run.child.wait().unwrap();
    let (rows, _) = project.cache(&["ls"]);
    assert!(rows.contains("on its way from a job") && rows.contains(&name), "{rows}");
    let (_, told) = project.cache(&["clean"]);
    assert!(told.contains("what was on its way from 1 job,"), "{told}");
    assert!(listed()["incoming"].is_null() && !project.at("cache/jobs").exists());

    project.run_well(&[]);
    assert_eq!(std::fs::read_dir(project.at("cache/jobs")).unwrap().count(), 0, "all of it has come");
}

/// Changes a byte of the merged model that the last job left; gives what it was.
fn damage(project: &Project) -> Vec<u8> {
    let blobs = &project.fake.world().blobs;
    let merged = |(name, _): &(String, _)| name.contains("Merge") && name.ends_with("/model.safetensors");
    let all = blobs.list(BLOB_STORE.1, "olive/").into_iter().filter(merged);
    let (name, blob) = all.max_by_key(|(_, blob)| blob.modified).unwrap();
    let mut content = blob.content.to_vec();
    *content.last_mut().unwrap() ^= 1;
    blobs.put(BLOB_STORE.1, &name, content);
    blob.content.to_vec()
}

#[test]
fn what_is_changed_in_the_datastore_is_not_used_but_made_again() {
    let project = Project::new(&["lora", "merge_adapter_weights", "builder"], computes(None));
    assert!(project.run_with_limit(&[]).status.success());
    let made = damage(&project);
    let fp32 = ["--set", "passes.builder.config.precision=fp32"];
    let output = project.run_with_limit(&fp32);
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("model.safetensors` of the input `model` is not what the job wrote"), "{told}");
    assert!(told.contains("run the same command again"), "{told}");
    assert!(project.run_with_limit(&fp32).status.success());
    let last = project.fake.world().jobs().values().max_by_key(|job| job.created.clone()).unwrap().clone();
    assert_eq!(last.properties["tags"]["Pass"], "MergeAdapterWeights,ModelBuilder");

    // The same where it is fetched: all in one run.
    assert!(damage(&project) == made);
    let fetching = ["--set", "systems.aml.config.download_intermediate=true"];
    let output = project.run_with_limit(&[&fp32[..], &fetching].concat());
    let told = text(&output.stderr);
    assert!(output.status.success() && told.contains("is not in the datastore as it was made"), "{told}");
    assert!(std::fs::read(project.at("out/merged/model.safetensors")).unwrap() == made);
}
