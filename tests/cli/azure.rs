//! Configurations whose passes run on AzureML: what is read, planned and refused, all of it without a network.

use crate::support::binary::{olive as program, root, text};
use crate::support::shared::shared;
use olive_config::{
    AzureMlPlace, AzureMlSystem, EnvironmentVersion, ImageSource, InputModel, JobEnvironment, LoadOptions,
};
use olive_engine::{REGISTRY, RunConfig};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;

/// All three passes on one compute, with data in its workspace.
pub const COMPLETE: &str = r#"{
  "azureml_client": {
    "subscription_id": "5e0a1c7e-0b1d-4c1e-9b57-3f5c9f2f7a10", "resource_group": "rg-ml",
    "workspace_name": "ml-west", "keyvault_name": "ml-vault"
  },
  "input_model": {"type": "HfModel", "model_path": "org/model"},
  "systems": {
    "aml": {"type": "AzureML", "config": {
      "accelerators": [{"device": "gpu", "execution_providers": ["CUDAExecutionProvider"]}],
      "aml_compute": "gpu-cluster",
      "aml_docker_config": {"base_image": "registry.example/cuda:12"},
      "binary": "olive-linux"
    }},
    "other": {"type": "AzureML", "config": {
      "aml_compute": "other-cluster", "aml_environment_config": {"name": "env", "label": "latest"}
    }}
  },
  "data_configs": [{
    "name": "rows", "type": "HuggingfaceContainer",
    "load_dataset_config": {"data_name": "json", "split": "train", "data_files": {
      "type": "azureml_datastore", "config": {"datastore_name": "store", "relative_path": "rows.jsonl"}
    }},
    "pre_process_data_config": {"text_template": "{q}"}
  }],
  "passes": {
    "lora": {"type": "LoRA", "train_data_config": "rows"},
    "merge": {"type": "MergeAdapterWeights"},
    "builder": {"type": "ModelBuilder", "precision": "int4"}
  },
  "host": "aml", "target": "aml", "output_dir": "out"
}"#;

const DATA: &str = r#"{
      "type": "azureml_datastore", "config": {"datastore_name": "store", "relative_path": "rows.jsonl"}
    }"#;

fn complete() -> Value {
    serde_json::from_str(COMPLETE).expect("JSON")
}

/// The complete file with `from` replaced, which must be in it.
fn edited(edits: &[(&str, &str)]) -> String {
    edits.iter().fold(COMPLETE.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from}");
        text.replacen(from, to, 1)
    })
}

struct Outcome {
    code: Option<i32>,
    out: String,
    err: String,
}

/// Runs the program on a configuration, in a folder that has what jobs are given.
fn run(arguments: &[&str], config: &str) -> Outcome {
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(folder.path().join("c.json"), config).expect("written");
    std::fs::write(folder.path().join("olive-linux"), "").expect("written");
    let outcome = run_in(folder.path(), arguments);
    let left: Vec<_> =
        std::fs::read_dir(folder.path()).expect("read").map(|e| e.expect("e").file_name()).collect();
    assert_eq!(left.len(), 2, "nothing is written: {left:?}");
    outcome
}

fn run_in(folder: &Path, arguments: &[&str]) -> Outcome {
    let mut program = program();
    let program = program.current_dir(folder).env("HF_HOME", folder.join("hub")).env("HF_HUB_OFFLINE", "1");
    let output = program.args(arguments).output().expect("the program runs");
    Outcome { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
}

fn load(config: &Value) -> RunConfig {
    let name = Path::new("c");
    RunConfig::from_value(config, name, &LoadOptions::default(), &REGISTRY).unwrap_or_else(|e| panic!("{e}"))
}

/// What is wrong with it, one line each, without hints.
fn errors(config: &str) -> Vec<String> {
    let config = serde_json::from_str(config).expect("JSON");
    let options = LoadOptions::default();
    let error = RunConfig::from_value(&config, Path::new("c"), &options, &REGISTRY).expect_err("mistakes");
    let text = error.to_string();
    let lines = text.lines().filter(|line| line.starts_with("c:"));
    lines.map(|line| line.splitn(4, ':').nth(3).unwrap_or_default().trim().to_owned()).collect()
}

fn system(config: &RunConfig, name: &str) -> Arc<AzureMlSystem> {
    config.systems[name].azure_ml.clone().unwrap_or_else(|| panic!("{name} runs passes"))
}

#[test]
fn the_plan_says_what_runs_where_and_in_how_many_jobs() {
    for verb in [&["validate", "--strict", "c.json"][..], &["run", "--dry-run", "c.json"]] {
        let outcome = run(verb, COMPLETE);
        assert_eq!(outcome.code, Some(0), "{}", outcome.err);
        let lines: Vec<&str> = outcome.out.lines().map(str::trim).collect();
        let hosts =
            lines.iter().filter(|line| **line == "host    aml (AzureML, compute gpu-cluster)").count();
        assert_eq!(hosts, 3, "every step says where it runs: {}", outcome.out);
        assert!(lines.contains(&"jobs    1: lora, merge, builder on aml"), "{}", outcome.out);
        assert!(lines.contains(&"cache   to run"), "{}", outcome.out);
        assert!(outcome.out.contains("from azureml://datastores/store/paths/rows.jsonl"), "{}", outcome.out);
    }
    let document: Value =
        serde_json::from_str(&run(&["validate", "--json", "c.json"], COMPLETE).out).expect("JSON");
    let job =
        json!({"host": "aml", "compute": "gpu-cluster", "flow": 0, "passes": ["lora", "merge", "builder"]});
    assert_eq!((&document["jobs"], &document["errors"]), (&json!([job]), &json!([])));
    assert_eq!(document["flows"][0]["steps"][1]["host"], "aml");
}

#[test]
fn consecutive_passes_with_one_host_are_one_job() {
    let jobs = |edits: &[(&str, &str)]| -> Vec<Value> {
        let outcome = run(&["validate", "--json", "c.json"], &edited(edits));
        let document: Value = serde_json::from_str(&outcome.out).expect("JSON");
        assert_eq!((outcome.code, &document["errors"]), (Some(0), &json!([])), "{}", outcome.err);
        let jobs = document["jobs"].as_array().expect("a list");
        jobs.iter().map(|job| json!([job["host"], job["flow"], job["passes"]])).collect()
    };
    let merge = r#""MergeAdapterWeights""#;
    let on = |host: &str| format!(r#"{merge}, "host": {host}"#);
    let other = jobs(&[(merge, &on("\"other\""))]);
    assert_eq!(
        other,
        [json!(["aml", 0, ["lora"]]), json!(["other", 0, ["merge"]]), json!(["aml", 0, ["builder"]])]
    );
    let here = jobs(&[(merge, &on(r#"{"type": "LocalSystem"}"#))]);
    assert_eq!(here, [json!(["aml", 0, ["lora"]]), json!(["aml", 0, ["builder"]])]);
    let flows = [(
        r#""host": "aml", "#,
        r#""host": "aml", "pass_flows": [["lora", "merge"], ["lora", "builder"]], "#,
    )];
    assert_eq!(jobs(&flows), [json!(["aml", 0, ["lora", "merge"]]), json!(["aml", 1, ["lora", "builder"]])]);
    assert_eq!(jobs(&[(r#""host": "aml", "#, ""), (DATA, "\"rows.jsonl\"")]), [] as [Value; 0]);

    let outcome = run(&["validate", "c.json"], &edited(&[(merge, &on(r#"{"type": "LocalSystem"}"#))]));
    assert!(outcome.out.contains("jobs    2: lora on aml; builder on aml"), "{}", outcome.out);
    assert!(outcome.out.contains("host    passes.merge.host (LocalSystem)"), "{}", outcome.out);
}

/// There is no client yet: a run must say so before it fetches or writes anything.
#[test]
fn a_run_without_a_network_is_refused_with_the_way_out() {
    let outcome = run(&["run", "--offline", "c.json"], COMPLETE);
    assert_eq!(outcome.code, Some(2));
    let lines: Vec<&str> = outcome.err.lines().skip_while(|line| !line.starts_with("error")).collect();
    assert_eq!(
        lines,
        [
            "error: nothing here runs passes on `aml` (AzureML, compute gpu-cluster)",
            "  hint: run every pass on this machine with --local"
        ]
    );
}

#[test]
fn other_systems_stay_refused() {
    let outcome =
        run(&["validate", "c.json"], &edited(&[(r#""host": "aml""#, r#""host": {"type": "Docker"}"#)]));
    assert_eq!(outcome.code, Some(2));
    assert!(outcome.err.contains("passes cannot run on remote systems yet"), "{}", outcome.err);
}

/// What the options of a system and of its client come to.
#[test]
fn a_system_is_read_with_all_that_its_jobs_need() {
    let plain = load(&complete());
    let aml = system(&plain, "aml");
    assert_eq!((aml.compute.as_str(), aml.datastore.as_str()), ("gpu-cluster", "workspaceblobstore"));
    assert_eq!((aml.hf_token_vault.as_deref(), aml.timeout, aml.download_intermediate), (None, None, false));
    let mut spelt_out = complete();
    spelt_out["systems"]["aml"]["config"]["aml_compute"] = "azureml:gpu-cluster".into();
    assert_eq!(system(&load(&spelt_out), "aml"), aml, "as the SDK names a compute");
    let client = &aml.client;
    assert_eq!(client.workspace.workspace_name, "ml-west");
    assert_eq!(
        (client.read_timeout, client.max_operation_retries, client.operation_retry_interval),
        (60, 3, 5)
    );
    assert_eq!((client.credentials.process_timeout, client.credentials.exclude_cli_credential), (10, false));
    assert_eq!(plain.azureml_client.as_ref(), Some(client));
    assert!(plain.systems["other"].azure_ml.is_none(), "nothing runs there");

    let id = "00000000-0000-4000-8000-000000000002";
    let mut config = complete();
    config["systems"]["aml"]["config"] = json!({
        "accelerators": [{"device": "gpu", "execution_providers": ["CUDAExecutionProvider"]}],
        "aml_compute": "c", "hf_token": true, "instance_count": 1, "download_intermediate": true, "timeout": "PT1H",
        "tags": {"team": "nlp", "run": 7}, "datastores": "mine", "binary": "olive-linux", "build_conda_env": true,
        "resources": {"instance_type": "gpu", "shm_size": "16g", "docker_args": "--ipc=host", "properties": {"a": [1]}},
        "aml_environment_config": {"name": "env", "version": 3},
        "aml_docker_config": {"base_image": "i:1", "conda_file_path": "conda.yaml", "name": "n", "version": "2"},
        "azureml_client_config": {
            "subscription_id": "00000000-0000-4000-8000-000000000001", "resource_group": "g",
            "workspace_name": "own", "keyvault_name": "vault", "read_timeout": 9,
            "default_auth_params": {"exclude_cli_credential": true, "managed_identity_client_id": id},
        },
    });
    let config = load(&config);
    let aml = system(&config, "aml");
    assert_eq!((aml.client.workspace.workspace_name.as_str(), aml.client.read_timeout), ("own", 9));
    let credentials = &aml.client.credentials;
    assert!(
        credentials.exclude_cli_credential && credentials.managed_identity_client_id.as_deref() == Some(id)
    );
    assert_eq!((aml.hf_token_vault.as_deref(), aml.datastore.as_str()), (Some("vault"), "mine"));
    assert_eq!(aml.timeout.map(|timeout| timeout.seconds), Some(3600));
    assert_eq!(aml.tags, [("team", "nlp"), ("run", "7")].map(|(k, v)| (k.into(), v.into())).into());
    assert_eq!(
        (aml.resources.shm_size.as_deref(), aml.resources.instance_type.as_deref()),
        (Some("16g"), Some("gpu"))
    );
    let JobEnvironment::Registered { name, version, otherwise: Some(image) } = &aml.environment else {
        panic!("{:?}", aml.environment)
    };
    assert_eq!((name.as_str(), version), ("env", &EnvironmentVersion::Exact("3".into())));
    let ImageSource::Registry { conda_file, .. } = &image.source else { panic!("{image:?}") };
    assert_eq!(conda_file.as_deref(), Some(Path::new("conda.yaml")));
}

/// One change, and the one error that it makes, at the path that it names.
#[test]
fn each_mistake_is_named_where_it_stands() {
    let environment = r#""aml_docker_config": {"base_image": "registry.example/cuda:12"}"#;
    let in_system = |text: &str| format!("{environment}, {text}");
    let accelerators =
        r#""accelerators": [{"device": "gpu", "execution_providers": ["CUDAExecutionProvider"]}],"#;
    let aml = "systems.aml.config";
    let cases: Vec<(&str, String, String, &str)> = vec![
        (
            r#""workspace_name": "ml-west", "#,
            String::new(),
            "azureml_client".into(),
            "needs `workspace_name`",
        ),
        ("ml-west", "a".into(), "azureml_client.workspace_name".into(), "expected a workspace"),
        ("ml-west", "<your-workspace>".into(), "azureml_client.workspace_name".into(), "is a placeholder"),
        ("rg-ml", " ".into(), "azureml_client.resource_group".into(), "the name is empty"),
        (
            "5e0a1c7e-0b1d-4c1e-9b57-3f5c9f2f7a10",
            "Contoso".into(),
            "azureml_client.subscription_id".into(),
            "expected the id of a subscription, a UUID",
        ),
        (
            r#""keyvault_name": "ml-vault""#,
            r#""default_auth_params": {"exclude_cli_credentials": true}"#.into(),
            "azureml_client.default_auth_params.exclude_cli_credentials".into(),
            "has no option",
        ),
        (
            r#""keyvault_name": "ml-vault""#,
            r#""default_auth_params": {"managed_identity_client_id": "<client id>"}"#.into(),
            "azureml_client.default_auth_params.managed_identity_client_id".into(),
            "is a placeholder",
        ),
        ("\"gpu-cluster\"", "\"xxxx\"".into(), format!("{aml}.aml_compute"), "is a placeholder"),
        ("\"gpu-cluster\"", "\"azureml:a/b\"".into(), format!("{aml}.aml_compute"), "expected a compute"),
        (
            environment,
            in_system(r#""build_conda_env": true"#),
            format!("{aml}.build_conda_env"),
            "there is no conda file to build the environment with",
        ),
        (
            environment,
            r#""aml_environment_config": {"name": "env", "version": 1}, "build_conda_env": true"#.into(),
            format!("{aml}.build_conda_env"),
            "there is no conda file to build the environment with",
        ),
        (
            environment,
            r#""aml_docker_config": {"build_context_path": "c", "dockerfile": "D", "conda_file_path": "y"}, "build_conda_env": true"#
                .into(),
            format!("{aml}.build_conda_env"),
            "an image that a Dockerfile describes is not built with a conda file",
        ),
        (
            DATA,
            r#"{"train": "azureml://datastores/store/paths/a", "test": "b.jsonl"}"#.into(),
            "data_configs[0].load_dataset_config.data_files".into(),
            "some files lie in AzureML and some do not",
        ),
        (
            DATA,
            r#"{"train": "azureml://datastores/<store>/paths/a"}"#.into(),
            "data_configs[0].load_dataset_config.data_files.train".into(),
            "is a placeholder",
        ),
        (
            r#""data_name": "json""#,
            r#""data_name": "azureml://datastores/store/paths/a""#.into(),
            "data_configs[0].load_dataset_config.data_files".into(),
            "a job cannot choose files of a folder in AzureML",
        ),
        (r#""aml_compute": "gpu-cluster","#, String::new(), "systems.aml".into(), "needs `aml_compute`"),
        (
            environment,
            r#""tags": {}"#.into(),
            "systems.aml".into(),
            "either aml_docker_config or aml_environment_config should be provided",
        ),
        (
            environment,
            r#""aml_docker_config": {"dockerfile": "Dockerfile"}"#.into(),
            format!("{aml}.aml_docker_config.base_image"),
            "One of build_context_path/dockerfile or base_image must be provided",
        ),
        (
            environment,
            r#""aml_environment_config": {"name": "env"}"#.into(),
            format!("{aml}.aml_environment_config.version"),
            "needs `version`",
        ),
        (
            environment,
            in_system(r#""instance_count": 2"#),
            format!("{aml}.instance_count"),
            "several machines",
        ),
        (
            environment,
            in_system(r#""resources": {"instance_count": 2}"#),
            format!("{aml}.resources.instance_count"),
            "several machines",
        ),
        (
            environment,
            in_system(r#""resources": {"shm_size": "16"}"#),
            format!("{aml}.resources.shm_size"),
            "`16g`",
        ),
        (environment, in_system(r#""tags": {"a": []}"#), format!("{aml}.tags"), "a text as the tag `a`"),
        (environment, in_system(r#""timeout": "12h""#), format!("{aml}.timeout"), "ISO 8601"),
        (
            environment,
            in_system(r#""shm_size": "16g""#),
            format!("{aml}.shm_size"),
            "has no option `shm_size`",
        ),
        (
            accelerators,
            String::new(),
            "systems.aml".into(),
            "AzureML and Docker system requires accelerators to be specified",
        ),
        (
            accelerators,
            r#""accelerators": [{"device": "gpu"}],"#.into(),
            format!("{aml}.accelerators[0]"),
            "requires device and execution providers to be specified explicitly",
        ),
        (
            accelerators,
            r#""accelerators": [{"execution_providers": ["CUDAExecutionProvider"]}],"#.into(),
            format!("{aml}.accelerators[0]"),
            "requires device and execution providers to be specified explicitly",
        ),
        (
            r#""type": "AzureML""#,
            r#""type": "AzureND99System""#.into(),
            "systems.aml.type".into(),
            "a system",
        ),
    ];
    for (from, to, path, expected) in cases {
        let told = errors(&edited(&[(from, &to)]));
        assert_eq!(told.len(), 1, "{to}: {told:?}");
        assert!(told[0].starts_with(&format!("{path}: ")) && told[0].contains(expected), "{to}: {told:?}");
    }
}

#[test]
fn what_is_needed_depends_on_what_is_used() {
    // Without a client nothing runs there.
    let mut config = complete();
    config["azureml_client"] = Value::Null;
    let told = errors(&config.to_string());
    assert_eq!(told, ["systems.aml: azureml_client is required for AzureML system"]);
    // The token of the hub is in a vault.
    config = complete();
    config["systems"]["aml"]["config"]["hf_token"] = true.into();
    assert_eq!(system(&load(&config), "aml").hf_token_vault.as_deref(), Some("ml-vault"));
    config["azureml_client"]["keyvault_name"] = "Your Azure Key Vault".into();
    assert_eq!(
        errors(&config.to_string()),
        ["azureml_client.keyvault_name: `Your Azure Key Vault` is a placeholder"]
    );
    config["azureml_client"]["keyvault_name"] = Value::Null;
    let told = errors(&config.to_string());
    assert_eq!(
        told,
        ["systems.aml.config.hf_token: hf_token is set to True but keyvault name is not provided"]
    );
    // Olive makes an environment where it is told to, and so does this.
    config = complete();
    let options = config["systems"]["aml"]["config"].as_object_mut().expect("an object");
    options.remove("aml_docker_config");
    options.insert("olive_managed_env".into(), true.into());
    assert!(system(&load(&config), "aml").environment.image().is_some());
    // A machine's name takes the GPUs among the accelerators, and asks for some.
    config = complete();
    config["systems"]["aml"]["type"] = "AzureND96ASystem".into();
    config["systems"]["aml"]["config"]["accelerators"] = json!([{"device": "cpu"}, {"device": "gpu",
        "execution_providers": ["CUDAExecutionProvider"]}]);
    assert_eq!(load(&config).systems["aml"].accelerators.len(), 1);
    config["systems"]["aml"]["config"]["accelerators"] = Value::Null;
    assert_eq!(errors(&config.to_string()), ["systems.aml: accelerators is required for AzureML system"]);
    // Only a target has to say its hardware.
    config = complete();
    config["target"] = Value::Null;
    config["systems"]["aml"]["config"]["accelerators"] = Value::Null;
    load(&config);
    // Placeholders matter for what is used: not on another system, nor on this machine.
    config = complete();
    config["systems"]["other"]["config"]["aml_compute"] = "<compute>".into();
    load(&config);
    config["azureml_client"]["workspace_name"] = "<workspace>".into();
    config["systems"]["aml"]["config"]["aml_compute"] = "<compute>".into();
    config["data_configs"][0]["load_dataset_config"]["data_files"]["config"]["relative_path"] =
        "<path>".into();
    assert_eq!(errors(&config.to_string()).len(), 3);
    let local = LoadOptions { local: true, ..LoadOptions::default() };
    let read = RunConfig::from_value(&config, Path::new("c"), &local, &REGISTRY).expect("--local");
    assert!(read.systems["aml"].azure_ml.is_none());
    config["host"] = Value::Null;
    assert!(load(&config).systems.values().all(|system| system.azure_ml.is_none()));
}

#[test]
fn a_workspace_can_stand_in_a_file_of_its_own() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("config.json");
    let read = |content: Option<&str>| {
        match content {
            Some(content) => std::fs::write(&path, content).expect("written"),
            None => std::fs::remove_file(&path).unwrap_or_default(),
        }
        let mut config = complete();
        config["azureml_client"] = json!({"aml_config_path": path});
        let read = RunConfig::from_value(&config, Path::new("c"), &LoadOptions::default(), &REGISTRY);
        read.map(|config| system(&config, "aml").client.workspace.to_string())
            .map_err(|error| error.to_string())
    };
    let sound = r#"{"subscription_id": "5e0a1c7e-0b1d-4c1e-9b57-3f5c9f2f7a10", "resource_group": "g",
        "workspace_name": "of-the-file", "tenant": "any"}"#;
    assert!(read(Some(sound)).is_ok_and(|workspace| workspace.ends_with("workspace of-the-file")));
    for (content, expected) in [
        (None, "the file does not exist"),
        (Some("{"), "line 1, column 1: not valid JSON"),
        (Some("{}"), "the text `subscription_id` is missing"),
        (
            Some(&*sound.replace("of-the-file", "<workspace>")),
            "`workspace_name`: `<workspace>` is a placeholder",
        ),
    ] {
        let told = read(content).expect_err(expected);
        assert!(told.contains("azureml_client.aml_config_path: `") && told.contains(expected), "{told}");
    }
}

#[test]
fn models_and_data_may_lie_in_the_workspace() {
    let workspace = |name: &str| {
        json!({"subscription_id": "5E0A1C7E-0b1d-4c1e-9b57-3f5c9f2f7a10", "resource_group": "RG-ml",
            "workspace_name": name})
    };
    let address = |name: &str, rest: &str| {
        let id = "5e0a1c7e-0b1d-4c1e-9b57-3f5c9f2f7a10";
        format!("azureml://subscriptions/{id}/resourcegroups/rg-ml/workspaces/{name}/{rest}")
    };
    let of = |kind: &str, config: Value| json!({"type": kind, "config": config});
    let store = "datastores/store/paths/m";
    for (model, expected) in [
        (json!("azureml:phi:3"), "models/phi/versions/3"),
        (json!(address("ml-west", store)), store),
        (of("azureml_model", json!({"name": "phi", "version": 3})), "models/phi/versions/3"),
        (json!({"type": "azureml_model", "name": "phi", "version": "3"}), "models/phi/versions/3"),
        (
            of("azureml_registry_model", json!({"registry_name": "r", "name": "Phi-3.5", "version": 1})),
            "registries/r/models/Phi-3.5/versions/1",
        ),
        (
            of("azureml_job_output", json!({"job_name": "j", "output_name": "o", "relative_path": "m"})),
            "jobs/j/outputs/o/paths/m",
        ),
        (of("azureml_datastore", json!({"datastore_url": address("ML-west", store)})), store),
        (
            of(
                "azureml_datastore",
                json!({"azureml_client": workspace("ml-west"), "datastore_name": "store", "relative_path": "m"}),
            ),
            store,
        ),
    ] {
        let mut config = complete();
        config["input_model"] = json!({"type": "HfModel", "model_path": model, "adapter_path": model});
        config["passes"] = json!({"merge": {"type": "MergeAdapterWeights"}});
        config["data_configs"] = Value::Null;
        let config = load(&config);
        let InputModel::HuggingFace { model_path, adapter_path: Some(adapter), .. } = &config.input_model
        else {
            panic!("{:?}", config.input_model)
        };
        assert_eq!(model_path.azureml().expect("in AzureML").place.to_string(), expected);
        assert_eq!(model_path, adapter);
    }
    let other = json!(address("ml-east", store));
    let named = of(
        "azureml_datastore",
        json!({"azureml_client": workspace("ml-east"), "datastore_name": "store", "relative_path": "m"}),
    );
    for place in [other, named] {
        for key in ["input_model", "data"] {
            let mut config = complete();
            match key {
                "data" => config["data_configs"][0]["load_dataset_config"]["data_files"] = json!([place]),
                _ => config["input_model"]["model_path"] = place.clone(),
            }
            let told = errors(&config.to_string());
            let both =
                ["workspace ml-east", "workspace ml-west", "compute `gpu-cluster`", "resource group rg-ml"];
            assert!(
                told.len() == 1 && both.iter().all(|part| told[0].to_lowercase().contains(part)),
                "{told:?}"
            );
        }
    }
    for (path, expected) in [
        (
            json!("azureml://locations/west/workspaces/w/models/m/versions/1"),
            "names no datastore, model or output",
        ),
        (json!("azureml:<model>:1"), "is a placeholder"),
        (json!({"type": "azureml_datastor", "config": {}}), "there is no kind of resource"),
        (
            of("azureml_datastore", json!({"datastore_name": "store"})),
            "needs `datastore_name` and `relative_path`",
        ),
        (of("azureml_model", json!({"name": "m"})), "azureml_model needs `version`"),
        (of("azureml_model", json!({"name": "m", "version": 1, "path": "p"})), "has no option `path`"),
    ] {
        let mut config = complete();
        config["input_model"]["model_path"] = path;
        let told = errors(&config.to_string());
        assert!(told.len() == 1 && told[0].contains(expected), "{told:?}");
    }
}

#[test]
fn data_files_may_be_several_or_below_a_root() {
    let files = |edit: &dyn Fn(&mut Value)| {
        let mut config = complete();
        edit(&mut config);
        let pass = load(&config).passes[0].pass.clone();
        let data = pass.data()[0].config.clone();
        data.load.azureml().map(ToString::to_string).collect::<Vec<String>>()
    };
    let load_config = |config: &mut Value, key: &str, value: Value| {
        config["data_configs"][0]["load_dataset_config"][key] = value;
    };
    let place = json!({"type": "azureml_datastore", "datastore_name": "s", "relative_path": "b"});
    let both =
        files(&|config| load_config(config, "data_files", json!(["azureml://datastores/s/paths/a", place])));
    assert_eq!(both, ["azureml://datastores/s/paths/a", "azureml://datastores/s/paths/b"]);
    let root = files(&|config| {
        load_config(config, "data_files", json!("rows/*.jsonl"));
        config["data_root"] = "azureml://datastores/s/paths/base/".into();
    });
    assert_eq!(root, ["azureml://datastores/s/paths/base/rows/*.jsonl"]);
    let dir = files(&|config| {
        load_config(config, "data_files", Value::Null);
        load_config(config, "data_dir", place.clone());
    });
    assert_eq!(dir, ["azureml://datastores/s/paths/b"]);
    let splits = files(&|config| {
        load_config(config, "data_files", json!({"train": ["a.jsonl", "b.jsonl"], "test": "c.jsonl"}));
        config["data_root"] = "azureml://datastores/s/paths/base".into();
    });
    let below = ["c", "a", "b"].map(|name| format!("azureml://datastores/s/paths/base/{name}.jsonl"));
    assert_eq!(splits, below);
    let named = files(&|config| {
        load_config(config, "data_files", Value::Null);
        load_config(config, "data_name", json!("azureml://datastores/s/paths/b"));
    });
    assert_eq!(named, ["azureml://datastores/s/paths/b"]);
    let mut mixed = complete();
    load_config(&mut mixed, "data_files", json!(["rows.jsonl", place]));
    assert!(errors(&mixed.to_string())[0].contains("some files lie in AzureML and some do not"));
}

/// A model in AzureML is read by jobs and on this machine, whatever name it has on the hub; jobs need it in their workspace.
#[test]
fn a_model_in_azureml_may_be_used_by_jobs_and_here() {
    let mut config = complete();
    config["passes"]["merge"]["host"] = json!({"type": "LocalSystem"});
    config["data_configs"][0]["pre_process_data_config"]["max_seq_len"] = 64.into();
    config["input_model"] = json!({"type": "PyTorchModel", "config": {
        "model_path": {"type": "azureml_model", "config": {"name": "phi", "version": 3}},
        "hf_config": {"model_name": "org/model"},
    }});
    let read = load(&config);
    let InputModel::HuggingFace { model_path, .. } = &read.input_model else {
        panic!("{:?}", read.input_model)
    };
    let place = &model_path.azureml().expect("it stays there").place;
    assert_eq!(place, &AzureMlPlace::Model { name: "phi".into(), version: "3".into() });
    config["input_model"]["config"]["model_path"]["config"]["version"] = "<version>".into();
    assert_eq!(
        errors(&config.to_string()),
        ["input_model.config.model_path.config.version: `<version>` is a placeholder"]
    );
    config["host"] = Value::Null;
    config["target"] = Value::Null;
    load(&config);
}

#[test]
fn files_that_jobs_are_given_must_be_there_for_a_run() {
    let docker = r#""aml_docker_config": {"base_image": "registry.example/cuda:12"}"#;
    let conda = r#""aml_docker_config": {"base_image": "i", "conda_file_path": "conda.yaml"}"#;
    let build = r#""aml_docker_config": {"build_context_path": "context", "dockerfile": "Dockerfile"}"#;
    for (to, expected) in [
        (r#""aml_docker_config": {"base_image": "i"}"#.to_owned(), None),
        (conda.to_owned(), None),
        (
            format!(r#"{conda}, "build_conda_env": true"#),
            Some("`conda_file_path` of the system `aml` is `conda.yaml`"),
        ),
        (build.to_owned(), Some("`dockerfile` of the system `aml` is `context/Dockerfile`")),
    ] {
        let lenient = run(&["validate", "c.json"], &edited(&[(docker, &to)]));
        assert_eq!(lenient.code, Some(0), "{}", lenient.err);
        let strict = run(&["validate", "--strict", "c.json"], &edited(&[(docker, &to)]));
        assert_eq!(strict.code, Some(if expected.is_some() { 2 } else { 0 }), "{to}: {}", strict.err);
        assert!(
            expected.is_none_or(|text| lenient.err.contains(text) && strict.err.contains(text)),
            "{}",
            strict.err
        );
    }
}

/// The documented files, and those of others, as they are and with names in the place of placeholders.
#[test]
fn documented_files_list_their_placeholders_and_are_planned_once_these_are_filled_in() {
    let own = ["configs/phi3-lora.json", "configs/phi3-qlora.json"].map(|file| root().join(file));
    let shared = [shared("seed"), shared("configs")].into_iter().flatten().flat_map(|folder| {
        let files = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
        files.filter(|file| file.extension().is_some_and(|extension| extension == "json")).collect::<Vec<_>>()
    });
    let fill = |text: &str| {
        let keys = [
            ("subscription_id", "5e0a1c7e-0b1d-4c1e-9b57-3f5c9f2f7a10"),
            ("resource_group", "rg-ml"),
            ("workspace_name", "ml-west"),
            ("keyvault_name", "ml-vault"),
            ("aml_compute", "gpu-cluster"),
            ("relative_path", "train/rows.jsonl"),
        ];
        let line = |line: &str| {
            let key = line.trim().split('"').nth(1).unwrap_or_default().to_owned();
            match keys.iter().find(|(name, _)| *name == key) {
                Some((_, value)) => {
                    let comma = if line.trim_end().ends_with(',') { "," } else { "" };
                    format!("\"{key}\": \"{value}\"{comma}")
                }
                None => line.to_owned(),
            }
        };
        text.lines().map(line).collect::<Vec<_>>().join("\n")
    };
    let mut seen = 0;
    for file in own.into_iter().chain(shared) {
        let text = std::fs::read_to_string(&file).expect("the configuration is read");
        if !text.contains("AzureML") {
            continue;
        }
        seen += 1;
        let told = errors(&text);
        let placeholders = told.iter().filter(|line| line.ends_with("is a placeholder")).count();
        let foreign = told.iter().filter(|line| line.contains("are not implemented")).count();
        assert!(placeholders > 4 && placeholders + foreign == told.len(), "{}: {told:?}", file.display());
        if foreign > 0 {
            assert_eq!(errors(&fill(&text)).len(), foreign, "{}", file.display());
            continue;
        }
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(folder.path().join("c.json"), fill(&text)).expect("written");
        let outcome = run_in(folder.path(), &["validate", "--strict", "c.json"]);
        assert_eq!(outcome.code, Some(0), "{}: {}", file.display(), outcome.err);
        assert!(outcome.out.contains("  jobs    1: "), "{}", outcome.out);
    }
    assert!(seen >= 2, "{seen} files");
}
