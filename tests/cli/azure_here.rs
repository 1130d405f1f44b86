//! Models and data in Azure ML that passes on this machine work on: brought here once, and found again.

use crate::azure_project::{Project, computes, content, lasting, rows_file};
use crate::support::binary::{olive_process, text};
use crate::support::quickstart::base_model;
use olive_azureml_fake::faults::{Fault, FaultKind};
use olive_azureml_fake::place::{BLOB_STORE, REGISTRY};
use olive_azureml_fake::world::RegistryAccess;
use serde_json::{Value, json};

const LORA: [&str; 1] = ["lora"];
const BUILDER: [&str; 1] = ["builder"];

/// A project whose passes run on this machine.
fn here(passes: &[&str]) -> Project {
    let project = Project::new(passes, computes(None));
    on_this_machine(&project);
    project
}

fn on_this_machine(project: &Project) {
    project.configure(|config| {
        let engine = config["engine"].as_object_mut().unwrap();
        engine.retain(|option, _| !["host", "target"].contains(&option.as_str()));
    });
}

fn with_model(project: &Project, place: Value) {
    project.configure(|config| config["input_model"]["config"]["model_path"] = place);
}

fn with_files(project: &Project, files: Value) {
    project.configure(|config| {
        config["data_configs"][0]["load_dataset_config"]["params"]["data_files"] = files;
    });
}

fn store(path: &str) -> Value {
    json!({"type": "azureml_datastore", "config": {"datastore_name": BLOB_STORE.0, "relative_path": path}})
}

/// Puts the files of the small model below a path.
fn put_model(project: &Project, container: &str, path: &str) {
    for entry in std::fs::read_dir(base_model()).unwrap() {
        let file = entry.unwrap().path();
        let name = file.file_name().unwrap().to_str().unwrap();
        project.fake.world().blobs.put(container, &format!("{path}/{name}"), std::fs::read(&file).unwrap());
    }
}

/// The blobs that were read since, by the last part of their names; lists do not count.
fn read(project: &Project, since: usize) -> Vec<String> {
    let requests = project.fake.requests();
    let reads = requests.iter().skip(since).filter(|request| {
        request.method == "GET" && request.path.starts_with("/blob/") && request.query("comp").is_empty()
    });
    reads.map(|request| request.path.rsplit('/').next().unwrap().to_owned()).collect()
}

fn requests(project: &Project) -> usize {
    project.fake.requests().len()
}

fn olive(project: &Project, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = project.leading_here(olive_process());
    let output = command.current_dir(project.at("")).args(arguments).output().unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn adapter(project: &Project, dir: &str) -> blake3::Hash {
    content(&project.at(dir).join("adapter/adapter_model.safetensors"))
}

fn cached(table: &str) -> usize {
    table.matches("cached").count()
}

#[test]
fn data_and_a_model_are_brought_once_and_give_what_local_ones_give() {
    let project = here(&LORA);
    put_model(&project, BLOB_STORE.1, "models/tiny");
    with_model(&project, store("models/tiny"));
    let (_, told) = project.run_well(&[]);
    assert!(told.contains("bringing azureml://subscriptions/"), "{told}");
    let brought = read(&project, 0);
    assert!(brought.contains(&"rows.jsonl".to_owned()) && brought.contains(&"model.safetensors".to_owned()));

    // The service is asked whether it is still the same; nothing moves.
    let since = requests(&project);
    let (table, _) = project.run_well(&[]);
    assert_eq!((read(&project, since), cached(&table)), (vec![], 1), "{table}");
    assert!(requests(&project) > since);
    // Without the network what is there is taken.
    let since = requests(&project);
    let (table, _) = project.run_well(&["--offline"]);
    assert_eq!((requests(&project), cached(&table)), (since, 1), "{table}");

    let local = [
        format!(
            "data_configs.dataset_default_train.load_dataset_config.params.data_files={}",
            rows_file().display()
        ),
        format!("input_model.config.model_path={}", base_model().display()),
    ];
    let [rows, model] = local.each_ref().map(String::as_str);
    let (table, _) = project.run_well(&["--set", rows, "--set", model, "--set", "engine.output_dir=local"]);
    assert_eq!(cached(&table), 1, "the key is that of the content: {table}");
    assert_eq!(adapter(&project, "out"), adapter(&project, "local"));

    // Other rows are other data: only they come, and the pass runs again.
    let rows = std::fs::read_to_string(rows_file()).unwrap();
    let fewer: Vec<&str> = rows.lines().skip(1).collect();
    project.fake.world().blobs.put(BLOB_STORE.1, "data/rows.jsonl", fewer.join("\n").into_bytes());
    let since = requests(&project);
    let (table, _) = project.run_well(&[]);
    assert_eq!((read(&project, since), cached(&table)), (vec!["rows.jsonl".to_owned()], 0), "{table}");

    let (_, listing, _) = olive(&project, &["cache", "ls"]);
    assert_eq!(listing.matches("  AzureMLResource  ").count(), 3, "{listing}");
    assert!(
        listing.contains("/paths/data/rows.jsonl") && listing.contains("/paths/models/tiny"),
        "{listing}"
    );
    let (_, _, told) = olive(&project, &["cache", "clean"]);
    assert!(told.contains("removed 5 artefacts"), "{told}");
    let code = project.command(&["--offline"]).output().unwrap().status.code();
    assert_eq!(code, Some(2), "nothing is there any more");
}

#[test]
fn what_will_be_brought_is_planned_without_a_network() {
    let project = here(&LORA);
    let (_, plan, _) = olive(&project, &["validate", "c.json"]);
    assert!(plan.contains("cache   unknown: the data lie in a datastore of AzureML, `azureml://"), "{plan}");
    put_model(&project, BLOB_STORE.1, "models/tiny");
    with_model(&project, store("models/tiny"));
    for arguments in
        [&["validate", "c.json"][..], &["validate", "--strict", "c.json"], &["run", "--dry-run", "c.json"]]
    {
        let (code, plan, told) = olive(&project, arguments);
        assert!(code == Some(0) && !told.contains("AzureML"), "{told}");
        assert!(
            plan.contains("from azureml://datastores/workspaceblobstore/paths/data/rows.jsonl"),
            "{plan}"
        );
        assert!(plan.contains("cache   unknown: the input model is not on this machine yet"), "{plan}");
    }
    for flag in ["--offline", "--sandbox"] {
        let (code, _, told) = olive(&project, &["validate", flag, "c.json"]);
        assert!(code == Some(0) && told.matches(" in a datastore of AzureML, ").count() == 2, "{told}");
        assert!(told.contains("warning: the data of `dataset_default_train` lie in "), "{told}");
        let (code, _, told) = olive(&project, &["run", flag, "c.json"]);
        assert_eq!(code, Some(2));
        for part in [
            "error: the input model lies in a datastore of AzureML, `azureml://subscriptions/",
            "/paths/models/tiny`: it is not in the cache, and the network is not to be used",
            "hint: leave out --offline and --sandbox; or put something of this machine in its place: --set input_model.",
        ] {
            assert!(told.contains(part), "{told}");
        }
    }
    assert!(!project.at("cache").exists());
    assert_eq!(requests(&project), 0);
    project.run_well(&[]);
    let since = requests(&project);
    let (_, plan, _) = olive(&project, &["validate", "c.json"]);
    assert!(plan.contains("cache   cached, "), "{plan}");
    assert_eq!(requests(&project), since);
}

#[test]
fn names_that_are_still_to_be_filled_in_are_told_when_something_is_needed_here() {
    let project = here(&LORA);
    with_files(&project, store("<path of the rows>"));
    let (code, _, told) = olive(&project, &["validate", "c.json"]);
    assert!(code == Some(0) && told.contains("`<path of the rows>` is a placeholder"), "{told}");
    let output = project.run(&[]);
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(
        told.contains("is a placeholder") && told.contains("hint: give the path below the datastore"),
        "{told}"
    );
    with_files(&project, store("data/rows.jsonl"));
    project.configure(|config| drop(config.as_object_mut().unwrap().remove("azureml_client")));
    let output = project.run(&[]);
    let told = text(&output.stderr);
    assert!(told.contains("no workspace is named that has it") && output.status.code() == Some(2), "{told}");
    assert_eq!(requests(&project), 0);
}

#[test]
fn registered_models_models_of_registries_and_outputs_of_jobs_are_read() {
    let project = here(&BUILDER);
    let registered = json!({"properties": {"modelType": "custom_model",
        "modelUri": format!("azureml://datastores/{}/paths/models/tiny/", BLOB_STORE.0)}});
    project.fake.world().assets().insert("models/tiny/versions/3".into(), registered);
    put_model(&project, BLOB_STORE.1, "models/tiny");
    project.submit("made-it", json!({}));
    put_model(&project, BLOB_STORE.1, "azureml/made-it/model/best");
    put_model(&project, REGISTRY.1, "tiny/1");
    let of = |kind: &str, config: Value| json!({"type": kind, "config": config});
    let places = [
        json!("azureml:tiny:3"),
        of("azureml_registry_model", json!({"registry_name": REGISTRY.0, "name": "tiny", "version": 1})),
        of(
            "azureml_job_output",
            json!({"job_name": "made-it", "output_name": "model", "relative_path": "best"}),
        ),
    ];
    for (number, place) in places.into_iter().enumerate() {
        with_model(&project, place);
        let since = requests(&project);
        let (table, told) = project.run_well(&[]);
        assert_eq!(cached(&table), usize::from(number > 0), "all of them are the same model: {table}");
        assert!(
            read(&project, since).contains(&"model.safetensors".to_owned()) && told.contains("bringing ")
        );
        let since = requests(&project);
        project.run_well(&[]);
        assert_eq!(read(&project, since), [""; 0]);
    }
    with_model(&project, json!("azureml:tiny:4"));
    let told = project.run_badly(&[]);
    assert!(told.contains("models/tiny/versions/4` cannot be brought here"), "{told}");
    assert!(told.contains("there is no model `tiny` of version `4`"), "{told}");
    let other = format!("azureml://registries/{}/models/tiny/versions/2", REGISTRY.0);
    with_model(&project, json!(other));
    let told = project.run_badly(&[]);
    assert!(
        told.contains("there is no model `tiny` of version `2` in the registry `models-of-all`"),
        "{told}"
    );
}

#[test]
fn a_public_registry_is_read_without_a_workspace() {
    let project =
        Project::with(&BUILDER, computes(None), |options| options.registry = RegistryAccess::Everybody);
    on_this_machine(&project);
    put_model(&project, REGISTRY.1, "tiny/1");
    with_model(&project, json!(format!("azureml://registries/{}/models/tiny/versions/1", REGISTRY.0)));
    project.configure(|config| {
        for key in ["azureml_client", "systems", "data_configs"] {
            config.as_object_mut().unwrap().remove(key);
        }
    });
    project.run_well(&[]);
    assert!(project.at("out/model.onnx").is_file());
    let requests = project.fake.requests();
    let blobs = requests.iter().filter(|request| request.path.starts_with("/blob/"));
    assert!(blobs.into_iter().all(|request| request.query("sig").is_empty() && request.bearer().is_none()));
}

#[test]
fn a_download_that_fails_goes_on_where_it_stopped() {
    let project = here(&BUILDER);
    put_model(&project, BLOB_STORE.1, "models/tiny");
    with_model(&project, store("models/tiny"));
    project.fake.add_fault(Fault::new("GET", "model.safetensors", FaultKind::Refused(403)));
    let told = project.run_badly(&[]);
    assert!(told.contains("model.safetensors"), "{told}");
    let since = requests(&project);
    project.run_well(&[]);
    let again = read(&project, since);
    assert!(again.contains(&"model.safetensors".to_owned()), "{again:?}");
    assert!(!again.contains(&"config.json".to_owned()), "{again:?}");
}

#[test]
fn an_interrupted_download_is_left_for_the_next_run() {
    let project = here(&BUILDER);
    put_model(&project, BLOB_STORE.1, "models/tiny");
    with_model(&project, store("models/tiny"));
    project.fake.add_fault(Fault::new("GET", "model.safetensors", FaultKind::Throttled(600)));
    let mut run = project.start(&[]);
    run.wait_for("bringing azureml://");
    run.interrupt();
    let (code, told) = run.end();
    assert_eq!(code, Some(130), "{told}");
    let since = requests(&project);
    project.run_well(&[]);
    let again = read(&project, since);
    assert!(again.contains(&"model.safetensors".to_owned()), "{again:?}");
    assert!(!again.contains(&"config.json".to_owned()), "{again:?}");
}

#[test]
fn of_two_runs_that_want_the_same_one_downloads_it() {
    let project = here(&BUILDER);
    put_model(&project, BLOB_STORE.1, "models/tiny");
    with_model(&project, store("models/tiny"));
    project.fake.add_fault(Fault::new("GET", "model.safetensors", FaultKind::Throttled(2)));
    let mut first = project.start(&[]);
    first.wait_for("bringing azureml://");
    let second = project.start(&["--set", "engine.output_dir=second"]);
    for run in [first, second] {
        let (code, told) = run.end();
        assert_eq!(code, Some(0), "{told}");
    }
    let reads = read(&project, 0);
    assert_eq!(
        reads.iter().filter(|name| *name == "model.safetensors").count(),
        2,
        "one refused, one answered"
    );
    assert_eq!(reads.iter().filter(|name| *name == "config.json").count(), 1);
}

#[test]
fn files_by_split_are_read_by_jobs_and_here_alike() {
    let project = Project::new(&LORA, computes(None));
    let rows = std::fs::read_to_string(rows_file()).unwrap();
    let lines: Vec<&str> = rows.lines().collect();
    let (first, second) = lines.split_at(lines.len() / 2);
    for (name, part) in [("first", first), ("second", second)] {
        let blob = format!("data/{name}.jsonl");
        project.fake.world().blobs.put(BLOB_STORE.1, &blob, part.join("\n").into_bytes());
    }
    let address = |name: &str| format!("azureml://datastores/{}/paths/data/{name}.jsonl", BLOB_STORE.0);
    with_files(
        &project,
        json!({"train": store("data/first.jsonl"), "validation": [address("second")], "test": address("none")}),
    );
    let split = |split: &str| {
        project.configure(|config| {
            config["data_configs"][0]["load_dataset_config"]["params"]["split"] = json!(split);
        });
    };
    split("train+validation");
    project.run_well(&[]);
    let job = project.job(&project.jobs()[0]);
    assert_eq!(
        (&job["inputs"]["data0_0"]["uri"], &job["inputs"]["data0_2"]),
        (&json!(address("first")), &Value::Null)
    );
    on_this_machine(&project);
    project.run_well(&["--set", "engine.output_dir=here"]);
    assert_eq!(adapter(&project, "out"), adapter(&project, "here"));
    assert!(!read(&project, 0).contains(&"none.jsonl".to_owned()));
    split("dev");
    let (_, document, _) = olive(&project, &["validate", "--json", "c.json"]);
    let document: Value = serde_json::from_str(&document).unwrap();
    assert_eq!(document["errors"].as_array().unwrap().len(), 1, "{document}");
    let (code, _, told) = olive(&project, &["validate", "c.json"]);
    assert!(
        code == Some(2) && told.contains("there is no split `dev`; there is `test`, `train`, `validation`"),
        "{told}"
    );
}

#[test]
fn a_folder_may_stand_for_the_dataset() {
    let project = Project::new(&LORA, computes(None));
    project.configure(|config| {
        let load = &mut config["data_configs"][0]["load_dataset_config"];
        load["params"]["data_name"] = json!(format!("azureml://datastores/{}/paths/data", BLOB_STORE.0));
        load["params"].as_object_mut().unwrap().remove("data_files");
    });
    project.run_well(&[]);
    on_this_machine(&project);
    project.run_well(&["--set", "engine.output_dir=here"]);
    assert_eq!(adapter(&project, "out"), adapter(&project, "here"));
}

#[test]
fn the_base_of_an_adapter_that_a_job_made_comes_when_a_pass_here_needs_it() {
    let project = Project::new(&["lora", "merge_adapter_weights"], computes(None));
    put_model(&project, REGISTRY.1, "tiny/1");
    let address = format!("azureml://registries/{}/models/tiny/versions/1", REGISTRY.0);
    with_model(&project, json!(address));
    project.configure(|config| {
        config["passes"]["merge_adapter_weights"]["host"] = json!({"type": "LocalSystem"});
    });
    project.run_well(&[]);
    let job = project.job(&project.jobs()[0]);
    let model = json!({"jobInputType": "custom_model", "uri": address, "mode": "Download"});
    assert_eq!(job["inputs"]["model"], model);
    let requests_so_far = project.fake.requests();
    let position = |method: &str, part: &str| {
        requests_so_far.iter().position(|request| request.method == method && request.path.contains(part))
    };
    assert!(position("GET", "tiny/1/model.safetensors") > position("PUT", "/jobs/"));
    let there = lasting(&project.at("out"));
    assert!(there.keys().any(|name| name.ends_with("model.safetensors")), "{there:?}");
    let since = requests(&project);
    let (table, _) = project.run_well(&[]);
    assert_eq!((requests(&project), cached(&table)), (since, 2), "nobody needs the base: {table}");
    // The merged model is that of the same passes on this machine.
    on_this_machine(&project);
    project.run_well(&["--set", "engine.output_dir=here"]);
    assert_eq!(lasting(&project.at("here")), there);
}

#[test]
fn a_second_compute_takes_the_base_from_where_it_lies() {
    let project = Project::new(&["lora", "merge_adapter_weights"], computes(None));
    put_model(&project, BLOB_STORE.1, "models/tiny");
    with_model(&project, store("models/tiny"));
    project.configure(|config| {
        config["systems"]["other"] = config["systems"]["aml"].clone();
        config["passes"]["merge_adapter_weights"]["host"] = json!("other");
    });
    project.run_well(&[]);
    let jobs = project.jobs();
    let merge =
        jobs.iter().map(|name| project.job(name)).find(|job| job["tags"]["Pass"] == "MergeAdapterWeights");
    let inputs = &merge.unwrap()["inputs"];
    let base = format!("azureml://datastores/{}/paths/models/tiny", BLOB_STORE.0);
    assert_eq!((jobs.len(), &inputs["model"]["uri"]), (2, &json!(base)));
    assert!(inputs["adapter"]["uri"].is_string());
    let is_of_base = |path: &str| path.contains("models/tiny/");
    assert!(!project.fake.requests().iter().any(|request| is_of_base(&request.path)), "nobody needs it here");
}
