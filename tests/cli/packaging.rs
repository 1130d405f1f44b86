//! `packaging_config`: archives of results.

use crate::support::binary::{olive, text};
use crate::support::quickstart::Quickstart;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

fn configuration(passes: &[&str], packaging: Value) -> Value {
    let mut config = Quickstart::configuration(passes);
    config["engine"]["packaging_config"] = packaging;
    config
}

fn run(quickstart: &Quickstart, config: &Value) -> std::process::Output {
    let file = quickstart.dir.path().join("c.json");
    std::fs::write(&file, config.to_string()).unwrap();
    let arguments = quickstart.arguments(&[]);
    olive().args(["run", "--config"]).arg(file).args(&arguments[..4]).output().unwrap()
}

/// The files of an archive.
fn contents(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut archive = zip::ZipArchive::new(std::fs::File::open(path).unwrap()).unwrap();
    let count = archive.len();
    let mut read = |index: usize| {
        let mut file = archive.by_index(index).unwrap();
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).unwrap();
        (file.name().unwrap().into_owned(), bytes)
    };
    (0..count).map(&mut read).collect()
}

fn json_of(files: &BTreeMap<String, Vec<u8>>, name: &str) -> Value {
    serde_json::from_slice(&files[name]).unwrap()
}

#[test]
fn an_archive_has_the_model_and_how_it_was_made() {
    let quickstart = Quickstart::new(1);
    let mut config =
        configuration(&["builder"], json!([{"type": "Zipfile", "name": "Mine"}, {"type": "Dockerfile"}]));
    config["evaluator"] = json!({"metrics": [
        {"name": "size", "type": "size_on_disk", "sub_types": [{"name": "bytes", "priority": 1}]}]});
    let output = run(&quickstart, &config);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("only `Zipfile` is made"), "{}", text(&output.stderr));
    let path = quickstart.output().join("Mine.zip");
    let files = contents(&path);
    let best = "CandidateModels/cpu-cpu/BestCandidateModel_1";
    for name in ["model.onnx", "model.onnx.data", "genai_config.json", "tokenizer.json"] {
        let written = std::fs::read(quickstart.output().join(name)).unwrap();
        assert!(files[&format!("{best}/{name}")] == written, "{name}");
    }
    let passes = json_of(&files, &format!("{best}/configurations.json"));
    let passes: Vec<&Value> = passes.as_object().unwrap().values().collect();
    assert_eq!((passes.len(), passes[0], &passes[1]["type"]), (2, &Value::Null, &json!("ModelBuilder")));
    let metrics = json_of(&files, &format!("{best}/metrics.json"));
    let bytes = |of: &str| metrics[of]["size-bytes"]["value"].as_u64().unwrap();
    assert!(bytes("input_model_metrics") > bytes("candidate_model_metrics"));
    assert_eq!(json_of(&files, &format!("{best}/inference_config.json")), json!({}));
    let ranks = json_of(&files, "models_rank.json");
    assert_eq!(ranks[0], json_of(&files, &format!("{best}/model_info.json")));
    assert_eq!(
        (&ranks[0]["rank"], &ranks[0]["model_config"]["config"]["model_path"]),
        (&json!(1), &json!(best))
    );

    // The same again, and gone when it is no longer asked for.
    let bytes = std::fs::read(&path).unwrap();
    assert!(run(&quickstart, &config).status.success());
    assert_eq!((std::fs::read(&path).unwrap(), quickstart.artefacts("Archive").len()), (bytes, 1));
    config["engine"]["packaging_config"] = Value::Null;
    assert!(run(&quickstart, &config).status.success());
    assert!(!path.exists() && quickstart.output().join("model.onnx").is_file());
}

#[test]
fn models_of_any_form_and_the_best_of_a_search_are_packed() {
    let quickstart = Quickstart::new(1);
    let mut config = configuration(&["lora"], json!({"type": "Zipfile"}));
    let lora = &mut config["passes"]["lora"]["config"];
    lora["lora_r"] = json!([2, 4, 8]);
    lora["training_args"]["max_steps"] = json!(1);
    config["evaluator"] = json!({"metrics": [
        {"name": "size", "type": "size_on_disk", "sub_types": [{"name": "bytes", "priority": 1}]}]});
    config["engine"]["evaluate_input_model"] = json!(false);
    config["engine"]["search_strategy"] =
        json!({"execution_order": "joint", "search_algorithm": "exhaustive", "output_model_num": 2});
    let output = run(&quickstart, &config);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let files = contents(&quickstart.output().join("OutputModels.zip"));
    let ranks: Vec<usize> = (1..=3)
        .filter(|rank| {
            let name = format!("CandidateModels/cpu-cpu/BestCandidateModel_{rank}/adapter_model.safetensors");
            files.contains_key(&name)
        })
        .collect();
    assert_eq!(ranks, [1, 2]);
    let smallest = json_of(&files, "CandidateModels/cpu-cpu/BestCandidateModel_1/configurations.json");
    assert!(smallest.as_object().unwrap().values().any(|pass| pass["r"] == 2), "{smallest}");
}

#[test]
fn a_name_leads_nowhere_else() {
    for (name, expected) in
        [("../mine", "is no name for a file"), ("", "is no name for a file"), (".x", "is no name")]
    {
        let quickstart = Quickstart::new(1);
        let output = run(&quickstart, &configuration(&["builder"], json!({"type": "Zipfile", "name": name})));
        let told = text(&output.stderr);
        assert!(output.status.code() == Some(2) && told.contains(expected), "{name}: {told}");
    }
    let quickstart = Quickstart::new(1);
    let twice = json!([{"type": "Zipfile"}, {"type": "Zipfile"}]);
    let told = text(&run(&quickstart, &configuration(&["builder"], twice)).stderr);
    assert!(told.contains("there are two archives `OutputModels`"), "{told}");
}
