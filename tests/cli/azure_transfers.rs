//! What goes to and from Azure ML while a run goes on: rights to it that end on the way, and what is damaged there.

use crate::azure_project::{Project, computes};
use crate::support::binary::olive_process;
use async_trait::async_trait;
use olive_azureml_fake::faults::{Fault, FaultKind};
use olive_azureml_fake::job::RunningJob;
use olive_azureml_fake::place::BLOB_STORE;
use olive_azureml_fake::runner::{JobRunner, Outcome, STD_LOG};
use serde_json::{Value, json};
use std::sync::Arc;

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
