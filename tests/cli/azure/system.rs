//! Systems and their clients: what is read, and which mistakes are named.

use super::{DATA, complete, edited, errors, load, system};
use olive_config::{EnvironmentVersion, ImageSource, JobEnvironment, LoadOptions};
use olive_engine::{REGISTRY, RunConfig};
use serde_json::{Value, json};
use std::path::Path;

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
