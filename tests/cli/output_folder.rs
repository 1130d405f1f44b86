//! What `olive run` does to the output folder, and what it leaves alone.

use crate::support::binary::{generated, olive, root, succeed, text};
use crate::support::models::read_json;
use crate::support::quickstart::{Quickstart, base_model};
use olive_core::handle::ModelHandle;
use olive_model::SourceOptions;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Output;

/// A small rank, so that training is quick.
const RANK: &str = "passes.lora.config.lora_r=4";

/// Runs the quickstart with these of its passes only, from this model.
fn run(quickstart: &Quickstart, passes: &[&str], model: &Path) -> Output {
    command(quickstart, passes, model).output().unwrap()
}

fn command(quickstart: &Quickstart, passes: &[&str], model: &Path) -> assert_cmd::Command {
    let mut config = Quickstart::configuration(passes);
    config["input_model"]["config"]["hf_config"]["model_name"] = json!(model);
    let path = quickstart.dir.path().join("config.json");
    std::fs::write(&path, config.to_string()).unwrap();
    let mut command = olive();
    command.arg("run").arg("--config").arg(path);
    if passes.contains(&"lora") {
        command.args(quickstart.arguments(&[RANK]));
    } else {
        command.arg("--set").arg(format!("engine.output_dir={}", quickstart.output().display()));
        command.arg("--set").arg(format!("engine.cache_dir={}", quickstart.cache().display()));
    }
    command
}

fn run_well(quickstart: &Quickstart, passes: &[&str], model: &Path) -> String {
    text(&succeed(&mut command(quickstart, passes, model)).stdout)
}

fn copy_model(to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(base_model()).unwrap().flatten() {
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

#[test]
fn the_result_never_takes_the_place_of_the_input_model() {
    let quickstart = Quickstart::new(1);
    let model = quickstart.output().join("model");
    copy_model(&model);
    let weights = std::fs::read(model.join("model.safetensors")).unwrap();
    let refused = run(&quickstart, &["lora", "merge_adapter_weights"], &model);
    assert_eq!(refused.status.code(), Some(2));
    let message = text(&refused.stderr);
    assert!(message.contains("overwrite the input model") && message.contains("output_dir"), "{message}");
    assert!(!quickstart.cache().join("passes-v1").exists(), "it is said before anything runs");
    assert_eq!(std::fs::read(model.join("model.safetensors")).unwrap(), weights);
}

#[test]
fn an_output_folder_that_cannot_be_is_said_before_the_work() {
    let quickstart = Quickstart::new(1);
    std::fs::write(quickstart.output(), "a file").unwrap();
    let refused = run(&quickstart, &["lora"], &base_model());
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("failed to create"), "{}", text(&refused.stderr));
    assert!(!quickstart.cache().join("passes-v1").exists());
}

#[test]
fn files_of_an_earlier_run_go_unless_they_are_the_input_and_others_stay() {
    let quickstart = Quickstart::new(1);
    let output = quickstart.output();
    run_well(&quickstart, &["lora"], &base_model());
    assert!(output.join("adapter/adapter_model.safetensors").is_file());
    std::fs::write(output.join("notes.txt"), "mine").unwrap();
    let outside = quickstart.dir.path().join("outside.txt");
    std::fs::write(&outside, "mine").unwrap();
    let history = output.join("run_history.json");
    let mut listed = read_json(&history);
    listed["files"].as_array_mut().unwrap().push(json!({"path": "../outside.txt", "bytes": 4}));
    std::fs::write(&history, listed.to_string()).unwrap();

    run_well(&quickstart, &["lora", "merge_adapter_weights"], &base_model());
    assert!(output.join("model/model.safetensors").is_file());
    assert!(output.join("notes.txt").is_file() && outside.is_file());

    // The merged model of the last run is now the input: it must outlive the run.
    let merged = output.join("model");
    run_well(&quickstart, &["builder"], &merged);
    assert!(output.join("model.onnx").is_file());
    assert!(merged.join("model.safetensors").is_file());
    assert!(!output.join("adapter").exists(), "what this run has not made goes with its folders");
}

#[test]
fn what_every_step_made_lies_beside_the_result() {
    let quickstart = Quickstart::new(1);
    let (output, passes) = (quickstart.output(), ["lora", "merge_adapter_weights", "builder"]);
    run_well(&quickstart, &passes, &base_model());
    for file in
        ["model.onnx", "adapter/adapter_model.safetensors", "adapter/metrics.jsonl", "merged/config.json"]
    {
        assert!(output.join(file).is_file(), "{file}");
    }
    assert_eq!(std::fs::read_dir(output.join("adapter/runs")).unwrap().count(), 1, "the curves");
    let inode = |path: &Path| std::os::unix::fs::MetadataExt::ino(&path.metadata().unwrap());
    let cached = quickstart.artefact("MergeAdapterWeights").join("model.safetensors");
    assert_eq!(inode(&output.join("merged/model.safetensors")), inode(&cached), "weights are not copied");
    let again = run(&quickstart, &passes, &base_model());
    assert!(text(&again.stderr).contains("is up to date"), "{}", text(&again.stderr));

    // An output folder of an older version has no stages yet, and one without artefacts has none.
    let history = output.join("run_history.json");
    let mut listed = read_json(&history);
    let files = listed["files"].as_array_mut().unwrap();
    files.retain(|file| !file["path"].as_str().unwrap().contains('/'));
    std::fs::write(&history, listed.to_string()).unwrap();
    for folder in ["adapter", "merged"] {
        std::fs::remove_dir_all(output.join(folder)).unwrap();
    }
    run_well(&quickstart, &passes, &base_model());
    assert!(output.join("merged/config.json").is_file() && output.join("adapter/runs").is_dir());
    let mut bare = command(&quickstart, &passes, &base_model());
    succeed(bare.args(["--set", "engine.no_artifacts=true"]));
    assert!(output.join("model.onnx").is_file() && !history.exists());
    assert!(!output.join("adapter").exists() && !output.join("merged").exists());
}

#[test]
fn an_adapter_beside_a_merged_result_is_not_applied_again() {
    let quickstart = Quickstart::new(1);
    run_well(&quickstart, &["lora", "merge_adapter_weights"], &base_model());
    let (output, model) = (quickstart.output(), quickstart.output().join("model"));
    assert!(output.join("adapter/adapter_config.json").is_file());
    assert_eq!(generated(&output, &[]), generated(&model, &[]));
    let found = olive_model::detect(&output, None, &SourceOptions::default(), &()).unwrap();
    assert_eq!(found, ModelHandle::Hf { dir: model });
}

#[test]
fn stages_of_one_kind_are_named_for_their_passes() {
    let quickstart = Quickstart::new(1);
    let mut config = Quickstart::configuration(&["lora", "merge_adapter_weights"]);
    let passes = config["passes"].as_object_mut().unwrap();
    for name in ["lora", "merge_adapter_weights"] {
        let mut again = passes[name].clone();
        if name == "lora" {
            again["config"]["training_args"]["max_steps"] = json!(1);
        }
        passes.insert(format!("{name}_2"), again);
    }
    let path = quickstart.dir.path().join("config.json");
    std::fs::write(&path, config.to_string()).unwrap();
    succeed(olive().args(["run", "--config"]).arg(&path).args(quickstart.arguments(&[RANK])));
    let folders = || {
        let entries = std::fs::read_dir(quickstart.output()).unwrap().flatten();
        let folders = entries.filter(|entry| entry.path().is_dir() && entry.file_name() != ".olive");
        let mut names: Vec<_> = folders.map(|entry| entry.file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    assert_eq!(folders(), ["adapter-lora", "adapter-lora_2", "merged", "model"]);
    config["passes"].as_object_mut().unwrap().remove("merge_adapter_weights_2");
    std::fs::write(&path, config.to_string()).unwrap();
    succeed(olive().args(["run", "--config"]).arg(&path).args(quickstart.arguments(&[RANK])));
    assert_eq!(folders(), ["adapter", "adapter-lora", "merged"]);
}

#[test]
fn a_stage_takes_the_place_of_nothing() {
    let quickstart = Quickstart::new(1);
    let (output, passes) = (quickstart.output(), ["lora", "merge_adapter_weights", "builder"]);
    std::fs::create_dir_all(output.join("adapter")).unwrap();
    std::fs::write(output.join("adapter/adapter_config.json"), "mine").unwrap();
    let first = run(&quickstart, &passes, &base_model());
    let told = text(&first.stderr);
    let line = told.lines().find(|line| line.contains("stays as it is")).unwrap_or_else(|| panic!("{told}"));
    assert!(line.contains("output/adapter") && line.contains("/passes-v1/LoRA/"), "{line}");
    assert_eq!(std::fs::read_to_string(output.join("adapter/adapter_config.json")).unwrap(), "mine");

    // The merged model of one run as the input of the next.
    let merged = output.join("merged");
    let weights = std::fs::read(merged.join("model.safetensors")).unwrap();
    run_well(&quickstart, &passes, &merged);
    assert!(std::fs::read(merged.join("model.safetensors")).unwrap() == weights);
}

#[test]
fn weights_that_were_edited_in_place_are_made_again() {
    let quickstart = Quickstart::new(1);
    let passes = ["lora", "merge_adapter_weights"];
    run_well(&quickstart, &passes, &base_model());
    let weights = quickstart.output().join("model/model.safetensors");
    let right = std::fs::read(&weights).unwrap();
    // The time stamps of files are as coarse as the kernel's clock.
    std::thread::sleep(std::time::Duration::from_millis(50));
    std::fs::write(&weights, vec![7; right.len()]).unwrap();
    run_well(&quickstart, &passes, &base_model());
    assert!(std::fs::read(&weights).unwrap() == right, "neither the cache nor the folder keeps the edit");
}

#[test]
fn an_adapter_names_its_base_where_it_lies_now() {
    let quickstart = Quickstart::new(1);
    let base = || {
        let config = read_json(&quickstart.output().join("adapter/adapter_config.json"));
        config["base_model_name_or_path"].clone()
    };
    run_well(&quickstart, &["lora"], Path::new("model-cache/tiny-phi3"));
    assert_eq!(base(), json!(base_model().canonicalize().unwrap()));

    let moved = quickstart.dir.path().join("moved");
    copy_model(&moved);
    std::fs::remove_dir_all(quickstart.output()).unwrap();
    assert!(run_well(&quickstart, &["lora"], &moved).contains(" cached "));
    assert_eq!(base(), json!(moved.canonicalize().unwrap()));
}

/// A model in the hub's cache, as `huggingface_hub` lays it out.
fn cached_model(cache: &Path, id: &str, reference: &str) {
    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
    let repo = cache.join(format!("models--{}", id.replace('/', "--")));
    copy_model(&repo.join("snapshots").join(COMMIT));
    std::fs::create_dir_all(repo.join("refs")).unwrap();
    std::fs::write(repo.join("refs").join(reference), COMMIT).unwrap();
}

#[test]
fn an_adapter_names_a_base_of_the_hub_as_the_configuration_does() {
    let quickstart = Quickstart::new(1);
    let hub = quickstart.dir.path().join("hub");
    let config = quickstart.dir.path().join("config.json");
    let run = |id: &str, load_kwargs: Value| {
        let written = json!({
            "input_model": {"type": "HfModel", "model_path": id, "load_kwargs": load_kwargs},
            "data_configs": [{
                "name": "rows", "type": "HuggingfaceContainer",
                "load_dataset_config": {
                    "data_name": "json", "data_files": "datasets/olive-qa.jsonl", "split": "train[:8]"
                },
                "pre_process_data_config": {"text_template": "{Question}", "max_seq_len": 16},
            }],
            "passes": {"lora": {
                "type": "LoRA", "train_data_config": "rows", "r": 2, "target_modules": ["o_proj"],
                "training_args": {"max_steps": 1, "save_strategy": "steps", "save_steps": 1},
            }},
            "output_dir": quickstart.output(), "cache_dir": quickstart.cache(),
        });
        std::fs::write(&config, written.to_string()).unwrap();
        let _ = std::fs::remove_dir_all(quickstart.output());
        let output = olive()
            .args(["run", "--offline", "--config"])
            .arg(&config)
            .env("HF_HUB_CACHE", &hub)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    let named = |path: std::path::PathBuf| {
        let config = read_json(&path);
        (config["base_model_name_or_path"].clone(), config["revision"].clone())
    };
    cached_model(&hub, "tiny/one", "v1");
    run("tiny/one", json!({"revision": "v1"}));
    for folder in ["adapter", "adapter/checkpoints/checkpoint-1"] {
        let path = quickstart.output().join(folder).join("adapter_config.json");
        assert_eq!(named(path), (json!("tiny/one"), json!("v1")), "{folder}");
    }
    // The same content under another name is the same artefact.
    cached_model(&hub, "tiny/two", "main");
    assert!(run("tiny/two", json!({})).contains(" cached "));
    assert_eq!(
        named(quickstart.output().join("adapter/adapter_config.json")),
        (json!("tiny/two"), Value::Null)
    );
}

#[test]
fn without_an_output_folder_no_file_of_somebody_else_is_overwritten() {
    let quickstart = Quickstart::new(1);
    let (folder, mine) = (tempfile::tempdir().unwrap(), r#"{"mine": true}"#);
    let config = folder.path().join("config.json");
    let here = |output_dir: &str| {
        let mut command = command(&quickstart, &["builder"], &base_model());
        let set = format!("engine.output_dir={output_dir}");
        command.current_dir(folder.path()).args(["--set", &set]).output().unwrap()
    };
    std::fs::write(&config, mine).unwrap();
    for output_dir in ["null", "."] {
        let refused = here(output_dir);
        assert_eq!(refused.status.code(), Some(2), "{}", text(&refused.stderr));
        let message = text(&refused.stderr);
        assert!(message.contains("overwrite `./config.json`") && message.contains("output_dir"), "{message}");
        assert!(!quickstart.cache().join("passes-v1").exists(), "it is said before anything runs");
        assert_eq!(std::fs::read_to_string(&config).unwrap(), mine);
    }
    std::fs::remove_file(&config).unwrap();
    // A graph of another name is somebody's, too, and so is an adapter.
    let data = format!(
        "data_configs.0.load_dataset_config.params.data_files={}",
        root().join("datasets/olive-qa.jsonl").display()
    );
    let cases: [(&str, &[&str], &[&str]); 2] = [
        ("decoder.onnx.data", &["builder"], &["passes.builder.extra_options.filename=decoder.onnx"]),
        (
            "adapter_weights.onnx_adapter",
            &["lora", "builder"],
            &["passes.builder.config.adapters=separate", &data],
        ),
    ];
    for (name, passes, more) in cases {
        let file = folder.path().join(name);
        std::fs::write(&file, mine).unwrap();
        let mut named = command(&quickstart, passes, &base_model());
        named.current_dir(folder.path()).args(["--set", "engine.output_dir=null"]);
        let refused = named.args(more.iter().flat_map(|set| ["--set", set])).output().unwrap();
        assert_eq!(refused.status.code(), Some(2), "{}", text(&refused.stderr));
        let message = text(&refused.stderr);
        assert!(message.contains(&format!("overwrite `./{name}`")), "{message}");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), mine);
    }
    // Results may follow each other.
    for _ in 0..2 {
        let written = here("null");
        assert!(written.status.success(), "{}", text(&written.stderr));
        assert!(folder.path().join("model.onnx").is_file());
        std::fs::remove_file(folder.path().join("model.onnx")).unwrap();
    }
}

#[test]
fn the_configuration_of_the_run_is_never_overwritten() {
    let quickstart = Quickstart::new(1);
    // Where `command` puts it.
    let config = quickstart.dir.path().join("config.json");
    let mut command = command(&quickstart, &["builder"], &base_model());
    let written = std::fs::read(&config).unwrap();
    let set = format!("engine.output_dir={}", quickstart.dir.path().display());
    let refused = command.args(["--set", &set]).output().unwrap();
    assert_eq!(refused.status.code(), Some(2), "{}", text(&refused.stderr));
    assert!(
        text(&refused.stderr).contains("config.json`, which is the configuration of this run"),
        "{}",
        text(&refused.stderr)
    );
    assert_eq!(std::fs::read(&config).unwrap(), written);
}

#[test]
fn a_folder_that_ends_in_onnx_is_a_graph_in_the_one_around_it() {
    let quickstart = Quickstart::new(1);
    let build = |output: &str| {
        let config = json!({
            "input_model": {"type": "HfModel", "model_path": base_model()},
            "passes": {"builder": {"type": "ModelBuilder", "precision": "int4"}},
            "output_dir": quickstart.dir.path().join(output), "cache_dir": quickstart.cache(),
        });
        let path = quickstart.dir.path().join("graph.json");
        std::fs::write(&path, config.to_string()).unwrap();
        succeed(olive().args(["run", "--config"]).arg(path));
    };
    build("models/text.onnx");
    let models = quickstart.dir.path().join("models");
    for file in ["text.onnx", "text.onnx.data", "genai_config.json", "run_history.json"] {
        assert!(models.join(file).is_file(), "{file}");
    }
    let config = read_json(&models.join("genai_config.json"));
    assert_eq!(config["model"]["decoder"]["filename"], "text.onnx");
    generated(&models, &[]);
    // Another ending is a part of a folder's name, as is this one of a folder that is there.
    build("versions/qwen2.5-mixed");
    assert!(quickstart.dir.path().join("versions/qwen2.5-mixed/model.onnx").is_file());
    std::fs::create_dir(quickstart.dir.path().join("versions/old.onnx")).unwrap();
    build("versions/old.onnx");
    assert!(quickstart.dir.path().join("versions/old.onnx/model.onnx").is_file());
}
