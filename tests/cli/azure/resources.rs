//! Models and data that lie in a workspace.

use super::{complete, errors, load};
use olive_config::{AzureMlPlace, InputModel};
use serde_json::{Value, json};

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
