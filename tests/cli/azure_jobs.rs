//! Passes that run as jobs of Azure ML: against its services on this machine, which really run the jobs.

use crate::azure_project::{Project, computes, lasting, rows_file};
use crate::support::binary::{olive_process, text};
use olive_azureml_fake::place::BLOB_STORE;
use std::process::Output;

const ALL: [&str; 3] = ["lora", "merge_adapter_weights", "builder"];

/// The passes of every job.
fn passes(project: &Project) -> Vec<String> {
    let jobs = project.fake.world().jobs();
    jobs.values().map(|job| job.properties["tags"]["Pass"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_run_on_azure_ml_gives_what_a_run_here_gives() {
    let project = Project::new(&ALL, computes(None));
    let (_, told) = project.run_well(&[]);
    assert!(told.contains("is Completed") || told.contains("the job is Completed"), "{told}");
    let rows = format!(
        "data_configs.dataset_default_train.load_dataset_config.params.data_files={}",
        rows_file().display()
    );
    let local =
        ["--local", "--set", &rows, "--set", "engine.output_dir=here", "--set", "engine.cache_dir=other"];
    project.run_well(&local);
    let (there, here) = (lasting(&project.at("out")), lasting(&project.at("here")));
    assert!(there.contains_key("model.onnx.data") && there.contains_key("adapter/adapter_model.safetensors"));
    assert_eq!(there, here);

    // Again: nothing is sent.
    let sent = project.fake.requests().len();
    let (table, _) = project.run_well(&[]);
    assert_eq!((project.fake.requests().len(), table.matches("cached").count()), (sent, 3), "{table}");
    // Another builder: one job with one pass.
    project.run_well(&["--set", "passes.builder.config.precision=fp32"]);
    assert_eq!(project.jobs().len(), 2);
    assert!(passes(&project).contains(&"ModelBuilder".to_owned()));
}

fn run_with_limit(project: &Project, more: &[&str]) -> Output {
    let output = project.run_with_limit(more);
    assert!(output.status.success(), "{}", text(&output.stderr));
    output
}

fn listing(project: &Project) -> String {
    let mut command = olive_process();
    command.current_dir(project.at("")).args(["cache", "ls"]);
    text(&command.output().unwrap().stdout)
}

#[test]
fn a_large_model_between_two_passes_stays_in_the_datastore() {
    let project = Project::new(&ALL, computes(None));
    let table = text(&run_with_limit(&project, &[]).stdout);
    assert_eq!(table.matches("left in the datastore").count(), 1, "{table}");
    let out = |name: &str| project.at("out").join(name).exists();
    assert!(out("model.onnx") && out("adapter") && !out("merged"));
    let (plan, _) = project.run_well(&["--dry-run"]);
    assert!(plan.contains("left in the datastore, azureml://subscriptions/"), "{plan}");
    assert!(listing(&project).contains("elsewhere: azureml://subscriptions/"), "{}", listing(&project));

    // Again: nothing is sent, and the result is as it was.
    let sent = project.fake.requests().len();
    let table = text(&run_with_limit(&project, &[]).stdout);
    assert_eq!((project.fake.requests().len(), table.matches("cached").count()), (sent, 2), "{table}");

    // Another builder: one job with one pass, which finds the model where the first job left it.
    let fp32 = ["--set", "passes.builder.config.precision=fp32"];
    let first = project.jobs();
    run_with_limit(&project, &fp32);
    let second = project.jobs().into_iter().find(|job| !first.contains(job)).unwrap();
    let job = project.job(&second);
    assert_eq!(job["tags"]["Pass"], "ModelBuilder");
    let model = job["inputs"]["model"]["uri"].as_str().unwrap();
    let (_, place) = model.split_once("/paths/").unwrap();
    assert!(place.starts_with(&format!("olive/{}/result/", first[0])), "{model}");
    let is_sent = |name: &str| name.contains("model.safetensors") && name.starts_with("LocalUpload");
    let blobs = project.fake.world().blobs.list(BLOB_STORE.1, "");
    assert_eq!(blobs.iter().filter(|(name, _)| is_sent(name)).count(), 1, "the base model, once");

    // It is made again when it is not there any more.
    for (name, _) in project.fake.world().blobs.list(BLOB_STORE.1, place) {
        project.fake.world().blobs.delete(BLOB_STORE.1, &name);
    }
    run_with_limit(&project, &["--set", "passes.builder.config.precision=int8"]);
    assert!(passes(&project).contains(&"MergeAdapterWeights,ModelBuilder".to_owned()));
    assert_eq!(project.jobs().len(), 3);

    // Who wants it here gets it, without a job.
    run_with_limit(&project, &["--set", "systems.aml.config.download_intermediate=true"]);
    assert!(out("merged/model.safetensors") && !listing(&project).contains("elsewhere"));
    assert_eq!(project.jobs().len(), 3);
}
