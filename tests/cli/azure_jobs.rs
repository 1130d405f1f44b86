//! Passes that run as jobs of Azure ML: against its services on this machine, which really run the jobs.

use crate::support::binary::{olive_process, root, text};
use crate::support::quickstart::{Quickstart, base_model};
use olive_azureml_fake::FakeAzure;
use olive_azureml_fake::command_runner::CommandRunner;
use olive_azureml_fake::identity::MachineIdentity;
use olive_azureml_fake::place::{BLOB_STORE, RESOURCE_GROUP, SUBSCRIPTION, WORKSPACE};
use olive_azureml_fake::world::FakeOptions;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;
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
        let runtime = Runtime::new().unwrap();
        let variables = vec![(ALLOW_HTTP.0.to_owned(), ALLOW_HTTP.1.to_owned())];
        let options = FakeOptions {
            runner: Arc::new(CommandRunner { variables }),
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

    fn run(&self, more: &[&str]) -> Output {
        let mut command = olive_process();
        command.current_dir(self.dir.path()).args(["run", "--config", "c.json"]).args(more);
        command.envs(self.fake.variables()).env(ALLOW_HTTP.0, ALLOW_HTTP.1);
        command.env("AZUREML_RUN_POLLING_INTERVAL_MIN", "0").env("AZUREML_RUN_POLLING_INTERVAL_MAX", "0");
        command.output().unwrap()
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
