//! Passes that run as jobs of Azure ML: against its services on this machine, which really run the jobs.

use crate::support::binary::{olive_process, root, text};
use crate::support::quickstart::{Quickstart, base_model};
use olive_azureml_fake::FakeAzure;
use olive_azureml_fake::command_runner::CommandRunner;
use olive_azureml_fake::identity::MachineIdentity;
use olive_azureml_fake::job::Job;
use olive_azureml_fake::place::{BLOB_STORE, RESOURCE_GROUP, SUBSCRIPTION, WORKSPACE, workspace_path};
use olive_azureml_fake::runner::{JobRunner, Outcome, Script};
use olive_azureml_fake::world::FakeOptions;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::runtime::Runtime;

const ALLOW_HTTP: (&str, &str) = ("OLIVE_AZUREML_ALLOW_HTTP", "1");

fn rows_file() -> PathBuf {
    root().join("datasets/olive-qa.jsonl")
}

/// A project, and the cloud that it uses.
struct Project {
    dir: TempDir,
    fake: FakeAzure,
    runtime: Runtime,
}

impl Project {
    /// The quickstart's passes on a compute, with the model here and the data in the datastore.
    fn new() -> Project {
        let variables = vec![(ALLOW_HTTP.0.to_owned(), ALLOW_HTTP.1.to_owned())];
        Project::with_jobs_by(CommandRunner { variables })
    }

    fn with_jobs_by(runner: impl JobRunner + 'static) -> Project {
        let runtime = Runtime::new().unwrap();
        let options = FakeOptions {
            runner: Arc::new(runner),
            machine: MachineIdentity::Present,
            ..FakeOptions::default()
        };
        let fake = runtime.block_on(FakeAzure::start(options)).unwrap();
        fake.world().blobs.put(BLOB_STORE.1, "data/rows.jsonl", std::fs::read(rows_file()).unwrap());
        let project = Project { dir: tempfile::tempdir().unwrap(), fake, runtime };
        std::fs::write(project.at("c.json"), project.configuration().to_string()).unwrap();
        project
    }

    fn configuration(&self) -> Value {
        let mut config = Quickstart::configuration(&["lora", "merge_adapter_weights", "builder"]);
        config["azureml_client"] = json!({
            "subscription_id": SUBSCRIPTION, "resource_group": RESOURCE_GROUP, "workspace_name": WORKSPACE,
        });
        config["systems"] = json!({"aml": {"type": "AzureML", "config": {
            "accelerators": [{"device": "gpu", "execution_providers": ["CUDAExecutionProvider"]}],
            "aml_compute": "gpu-cluster",
            "aml_docker_config": {"base_image": "mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu22.04"},
        }}});
        config["input_model"]["config"]["hf_config"]["model_name"] = json!(base_model());
        config["engine"] = json!({"host": "aml", "target": "aml", "cache_dir": "cache", "output_dir": "out"});
        config["data_configs"][0]["load_dataset_config"]["params"]["data_files"] = json!({
            "type": "azureml_datastore",
            "config": {"datastore_name": BLOB_STORE.0, "relative_path": "data/rows.jsonl"},
        });
        config["passes"]["lora"]["config"]["training_args"]["max_steps"] = json!(6);
        config
    }

    fn at(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    /// With the variables that lead to the services of the project.
    fn leading_here(&self, mut command: Command) -> Command {
        command.envs(self.fake.variables()).env(ALLOW_HTTP.0, ALLOW_HTTP.1);
        command.env("AZUREML_RUN_POLLING_INTERVAL_MIN", "0").env("AZUREML_RUN_POLLING_INTERVAL_MAX", "0");
        command
    }

    fn olive(&self, arguments: &[&str]) -> Command {
        let mut command = self.leading_here(olive_process());
        command.current_dir(self.dir.path()).args(arguments);
        command
    }

    fn run(&self, more: &[&str]) -> Output {
        self.olive(&[&["run", "--config", "c.json"], more].concat()).output().unwrap()
    }

    /// `olive jobs`: exit code, stdout, stderr.
    fn look_after(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let Output { status, stdout, stderr } =
            self.olive(&[&["jobs"], arguments].concat()).output().unwrap();
        (status.code(), text(&stdout), text(&stderr))
    }

    /// A job that somebody else sent.
    fn submit(&self, name: &str, tags: Value) -> Arc<Job> {
        let _entered = self.runtime.enter();
        let compute = format!("{}/computes/gpu-cluster", workspace_path());
        let properties = json!({"jobType": "Command", "command": "true", "computeId": compute, "tags": tags,
            "experimentName": "olive-pass"});
        self.fake.submit(name, properties)
    }

    fn run_well(&self, more: &[&str]) -> (String, String) {
        let output = self.run(more);
        assert!(output.status.success(), "{}", text(&output.stderr));
        (text(&output.stdout), text(&output.stderr))
    }

    /// The jobs, by name.
    fn jobs(&self) -> Vec<String> {
        self.fake.world().jobs().keys().cloned().collect()
    }
}

/// The content of files that do not say when or where they were made.
fn lasting(dir: &Path) -> BTreeMap<String, blake3::Hash> {
    let mut found = BTreeMap::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(dir).unwrap().to_string_lossy().into_owned();
            let of_the_run =
                ["run_history.json", "metrics.jsonl", "adapter_config.json", ".olive", "events.out"];
            if of_the_run.iter().any(|part| name.contains(part)) {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(name, blake3::hash(&std::fs::read(path).unwrap()));
            }
        }
    }
    found
}

#[test]
fn a_run_on_azure_ml_gives_what_a_run_here_gives() {
    let project = Project::new();
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
    let jobs = project.jobs();
    assert_eq!(jobs.len(), 2, "{jobs:?}");
    let passes: Vec<String> =
        project.fake.world().jobs().values().map(|job| job.properties["tags"]["Pass"].to_string()).collect();
    assert!(passes.contains(&"\"ModelBuilder\"".to_owned()), "{passes:?}");
    drop(project.runtime);
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
    let project = Project::with_jobs_by(Script::queueing_for_ever());
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

    let project = Project::with_jobs_by(script(Outcome::Completed));
    project.submit("job", Value::Null);
    let (code, _, told) = project.look_after(&follow);
    assert_eq!(code, Some(0), "{told}");
    let parts = ["the job is Running", "pulling the image", "[1/2] lora (LoRA)", "the job is Completed"];
    let places: Vec<_> = parts.iter().map(|part| told.find(part)).collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{told}");

    let project = Project::with_jobs_by(script(Outcome::failed("exit code 1", &["UserError"])));
    project.submit("job", Value::Null);
    let (code, _, told) = project.look_after(&follow);
    assert_eq!(code, Some(1));
    assert!(told.contains("error: job job ended as Failed: the rows ran out\n  hint: give more"), "{told}");
}

#[test]
fn a_job_outlives_its_run_and_can_be_cancelled() {
    let project = Project::with_jobs_by(Script::queueing_for_ever());
    let mut run = project.olive(&["run", "--config", "c.json"]).stderr(Stdio::piped()).spawn().unwrap();
    let mut told = String::new();
    for line in BufReader::new(run.stderr.take().unwrap()).lines().map(Result::unwrap) {
        if line.contains("the job is Queued") {
            let interrupted = Command::new("kill").args(["-INT", &run.id().to_string()]).status();
            assert!(interrupted.unwrap().success());
        }
        told.push_str(&line);
        told.push('\n');
    }
    assert_eq!(run.wait().unwrap().code(), Some(130), "{told}");
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
    let project = Project::with_jobs_by(Script::default());
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
    let project = Project::new();
    let mut script = project.leading_here(Command::new("sh"));
    script.arg(root().join("scripts/azure-smoke")).args([IN_WORKSPACE[1], "gpu-cluster"]);
    script.env("OLIVE", assert_cmd::cargo::cargo_bin("olive")).env("NO_PROXY", "127.0.0.1");
    let Output { status, stdout, stderr } = script.output().unwrap();
    let said = text(&stdout);
    assert!(status.success(), "{said}{}", text(&stderr));
    assert_eq!(said.lines().filter(|line| line.starts_with("ok ")).count(), 6, "{said}");
}
