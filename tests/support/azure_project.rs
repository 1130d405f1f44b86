//! A folder with a configuration whose passes run on Azure ML, and its services on this machine.

use crate::support::binary::{olive_process, root, text};
use crate::support::quickstart::{Quickstart, base_model};
use olive_azureml_fake::FakeAzure;
use olive_azureml_fake::command_runner::CommandRunner;
use olive_azureml_fake::identity::MachineIdentity;
use olive_azureml_fake::job::Job;
use olive_azureml_fake::place::{BLOB_STORE, RESOURCE_GROUP, SUBSCRIPTION, WORKSPACE, workspace_path};
use olive_azureml_fake::runner::JobRunner;
use olive_azureml_fake::world::FakeOptions;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::sync::Arc;
use tempfile::TempDir;
use tokio::runtime::Runtime;

const ALLOW_HTTP: (&str, &str) = ("OLIVE_AZUREML_ALLOW_HTTP", "1");

pub fn rows_file() -> PathBuf {
    root().join("datasets/olive-qa.jsonl")
}

/// Runs the commands of jobs. `limit`, if there is one, is what the shell does before a job's command becomes the program.
pub fn computes(limit: Option<&Path>) -> Arc<CommandRunner> {
    let mut variables = vec![(ALLOW_HTTP.0.to_owned(), ALLOW_HTTP.1.to_owned())];
    variables.extend(limit.map(|script| ("BASH_ENV".to_owned(), script.display().to_string())));
    Arc::new(CommandRunner { variables })
}

/// A project, and the cloud that it uses.
pub struct Project {
    dir: TempDir,
    pub fake: FakeAzure,
    /// The services answer as long as it lives.
    runtime: Runtime,
}

impl Project {
    /// These of the quickstart's passes on a compute, with the model here and the data in the datastore.
    pub fn new(passes: &[&str], runner: Arc<dyn JobRunner>) -> Project {
        Project::with(passes, runner, |_| {})
    }

    /// The same on services that are otherwise than usual.
    pub fn with(
        passes: &[&str],
        runner: Arc<dyn JobRunner>,
        change: impl FnOnce(&mut FakeOptions),
    ) -> Project {
        let runtime = Runtime::new().unwrap();
        let mut options = FakeOptions { runner, machine: MachineIdentity::Present, ..FakeOptions::default() };
        change(&mut options);
        let fake = runtime.block_on(FakeAzure::start(options)).unwrap();
        fake.world().blobs.put(BLOB_STORE.1, "data/rows.jsonl", std::fs::read(rows_file()).unwrap());
        let project = Project { dir: tempfile::tempdir().unwrap(), fake, runtime };
        project.write(&configuration(passes));
        project
    }

    /// Changes the configuration.
    pub fn configure(&self, change: impl FnOnce(&mut Value)) {
        let mut config = serde_json::from_slice(&std::fs::read(self.at("c.json")).unwrap()).unwrap();
        change(&mut config);
        self.write(&config);
    }

    fn write(&self, config: &Value) {
        std::fs::write(self.at("c.json"), config.to_string()).unwrap();
    }

    pub fn at(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    /// With the variables that lead to the services of the project.
    pub fn leading_here(&self, mut command: Command) -> Command {
        command.envs(self.fake.variables()).env(ALLOW_HTTP.0, ALLOW_HTTP.1);
        command.env("AZUREML_RUN_POLLING_INTERVAL_MIN", "0").env("AZUREML_RUN_POLLING_INTERVAL_MAX", "0");
        command
    }

    /// `olive run`, with these arguments besides.
    pub fn command(&self, more: &[&str]) -> Command {
        let mut command = self.leading_here(olive_process());
        command.current_dir(self.dir.path()).args(["run", "--config", "c.json"]).args(more);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// `olive jobs`: exit code, stdout, stderr.
    pub fn look_after(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let mut command = self.leading_here(olive_process());
        command.current_dir(self.dir.path()).arg("jobs").args(arguments);
        let Output { status, stdout, stderr } = command.output().unwrap();
        (status.code(), text(&stdout), text(&stderr))
    }

    /// A job that somebody else sent.
    pub fn submit(&self, name: &str, tags: Value) -> Arc<Job> {
        let _entered = self.runtime.enter();
        let compute = format!("{}/computes/gpu-cluster", workspace_path());
        let properties = json!({"jobType": "Command", "command": "true", "computeId": compute, "tags": tags,
            "experimentName": "olive-pass"});
        self.fake.submit(name, properties)
    }

    pub fn run(&self, more: &[&str]) -> Output {
        let output = self.command(more).output().unwrap();
        assert_eq!(self.fake.violations(), Vec::<String>::new());
        output
    }

    /// Runs to a good end; gives what it prints, and what it tells.
    pub fn run_well(&self, more: &[&str]) -> (String, String) {
        let output = self.run(more);
        assert!(output.status.success(), "{}", text(&output.stderr));
        (text(&output.stdout), text(&output.stderr))
    }

    /// Runs to an error, which it tells.
    pub fn run_badly(&self, more: &[&str]) -> String {
        let output = self.run(more);
        assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
        text(&output.stderr)
    }

    /// A run for which the merged model is too large to be fetched for nothing, and nothing else is.
    pub fn run_with_limit(&self, more: &[&str]) -> Output {
        self.command(more).env("OLIVE_AZUREML_LARGEST_FETCHED", "2400000").output().unwrap()
    }

    /// `olive cache`, in the project's folder: what it prints, and what it tells.
    pub fn cache(&self, arguments: &[&str]) -> (String, String) {
        let mut command = olive_process();
        let output = command.current_dir(self.dir.path()).arg("cache").args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        (text(&output.stdout), text(&output.stderr))
    }

    pub fn start(&self, more: &[&str]) -> Started {
        let mut child = self.command(more).spawn().unwrap();
        let told = BufReader::new(child.stderr.take().unwrap());
        Started { child, told, said: String::new() }
    }

    /// The jobs, by name.
    pub fn jobs(&self) -> Vec<String> {
        self.fake.world().jobs().keys().cloned().collect()
    }

    /// What a job was sent with.
    pub fn job(&self, name: &str) -> Value {
        self.fake.world().jobs()[name].properties.clone()
    }
}

fn configuration(passes: &[&str]) -> Value {
    let mut config = Quickstart::configuration(passes);
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
    if let Some(lora) = config["passes"].get_mut("lora") {
        lora["config"]["training_args"]["max_steps"] = json!(6);
    }
    config
}

/// A run that goes on by itself.
pub struct Started {
    pub child: Child,
    told: BufReader<ChildStderr>,
    said: String,
}

impl Started {
    /// Reads what it tells until this comes.
    pub fn wait_for(&mut self, part: &str) {
        while !self.said.contains(part) {
            let read = self.told.read_line(&mut self.said).unwrap();
            assert!(read > 0, "{}", self.said);
        }
    }

    /// As Ctrl-C does.
    pub fn interrupt(&self) {
        let sent = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Its exit status, and all that it told.
    pub fn end(mut self) -> (Option<i32>, String) {
        self.told.read_to_string(&mut self.said).unwrap();
        (self.child.wait().unwrap().code(), self.said)
    }
}

/// The content of files that do not say when or where they were made.
pub fn lasting(dir: &Path) -> BTreeMap<String, blake3::Hash> {
    let mut found = BTreeMap::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(dir).unwrap().to_string_lossy().into_owned();
            let of_the_run = [
                "run_history.json",
                "report.html",
                "README.md",
                "metrics.jsonl",
                "adapter_config.json",
                ".olive",
                "events.out",
            ];
            if of_the_run.iter().any(|part| name.contains(part)) {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(name, content(&path));
            }
        }
    }
    found
}

/// A hash of what is in a file.
pub fn content(path: &Path) -> blake3::Hash {
    blake3::hash(&std::fs::read(path).unwrap())
}
