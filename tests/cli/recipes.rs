//! Microsoft's recipes: `olive validate` accepts or refuses each as the table beside them says.

use crate::support::binary::{greedy, olive, text};
use crate::support::shared::{say, shared};
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashSet};
use std::path::Path;

/// Names of the passes that the program has, in small letters.
fn implemented() -> HashSet<String> {
    let output = olive().args(["run-pass", "--list-passes"]).output().expect("the program runs");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let names = text.lines().filter_map(|line| line.split_once(". "));
    names.map(|(_, name)| name.trim().to_lowercase()).collect()
}

#[test]
fn every_recipe_is_accepted_or_refused_for_the_reason_that_its_table_names() {
    let Some(folder) = shared("recipes") else { return };
    let passes_here = implemented();
    assert!(passes_here.contains("modelbuilder"), "{passes_here:?}");
    let list = std::fs::read_to_string(folder.join("README.md")).expect("the table is read");
    let (mut accepted, mut refused) = (0, 0);
    for row in list.lines().filter_map(|line| line.strip_prefix("| ")) {
        let cells: Vec<&str> = row.trim_end_matches(" |").split(" | ").collect();
        let [file, _, passes, .., expected] = cells.as_slice() else { continue };
        if !file.ends_with(".json") {
            continue;
        }
        let outcome =
            olive().args(["validate", "--config"]).arg(folder.join(file)).output().expect("it runs");
        let text = String::from_utf8(outcome.stderr).expect("UTF-8");
        if let Some(reason) = expected.strip_prefix("refuse: ") {
            let what = reason.split([' ', ',']).nth(1).expect("a kind and a name");
            assert!(!outcome.status.success() && text.contains(what), "{file}: {what}: {text}");
            refused += 1;
        } else if passes.split(" → ").all(|pass| passes_here.contains(&pass.to_lowercase())) {
            assert!(outcome.status.success(), "{file}: {text}");
            accepted += 1;
        } else {
            assert!(text.contains("not implemented: "), "{file}: {text}");
        }
    }
    assert!(accepted > 20 && refused > 5, "{accepted} accepted, {refused} refused");
}

#[test]
fn an_unknown_extra_option_is_a_warning_and_a_slip_of_the_pen_an_error() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("c.json");
    let validate = |option: &str| {
        let builder = json!({"type": "ModelBuilder", "precision": "int4", "extra_options": {option: "x"}});
        let model = json!({"type": "HfModel", "model_path": "org/model"});
        let config = json!({"input_model": model, "passes": {"b": builder}});
        std::fs::write(&path, config.to_string()).expect("the configuration is written");
        let output = olive().args(["validate", "--config"]).arg(&path).output().expect("the program runs");
        (output.status.success(), String::from_utf8(output.stderr).expect("UTF-8"))
    };
    let (accepted, text) = validate("quant_mode");
    assert!(accepted && text.contains("`quant_mode` is not used: the builder has no such option"), "{text}");
    let (accepted, text) = validate("fuse_qvk");
    assert!(!accepted && text.contains("did you mean `fuse_qkv`?"), "{text}");
}

/// A recipe for a tiny model on the CPU of this machine: its passes are as they are, but for the data that Olive would fetch, groups
/// that rows of the model are not divided by, and half precision, which needs a GPU.
fn for_a_tiny_model(recipe: &Path, model: &Path, texts: &Path, dir: &Path) -> Value {
    let mut config: Value = serde_json::from_slice(&std::fs::read(recipe).expect("read")).expect("JSON");
    config["input_model"]["model_path"] = json!(model);
    config["output_dir"] = json!(dir.join("out"));
    config["cache_dir"] = json!(dir.join("cache"));
    for key in ["engine", "systems", "target", "host", "evaluator", "evaluators", "data_configs"] {
        config.as_object_mut().expect("an object").remove(key);
    }
    config["data_configs"] = json!([{
        "name": "texts", "type": "HuggingfaceContainer",
        "load_dataset_config": {"data_name": "json", "data_files": texts, "split": "train"},
        "pre_process_data_config": {
            "text_cols": ["text"], "strategy": "line-by-line", "max_seq_len": 32, "max_samples": 4,
            "add_special_tokens": false, "pad_to_max_len": false
        }
    }]);
    for pass in config["passes"].as_object_mut().expect("passes").values_mut() {
        let options = if pass["config"].is_object() { &mut pass["config"] } else { pass };
        let name = options["type"].as_str().map(str::to_lowercase).unwrap_or_default();
        if name == "gptq" || options["algorithm"] == "kld_gradient" {
            options["data_config"] = json!("texts");
        }
        let is_wide = |size: &Value| size.as_u64().is_some_and(|size| size > 32);
        // Without an option the group is 128.
        if ["gptq", "rtn", "selectivemixedprecision"].contains(&name.as_str())
            && (options["group_size"].is_null() || is_wide(&options["group_size"]))
        {
            options["group_size"] = json!(32);
        }
        if options["precision"] == "fp16" {
            options["precision"] = json!("fp32");
        }
    }
    config
}

#[test]
fn a_recipe_of_every_chain_makes_a_model_that_runs() {
    let Some(folder) = shared("recipes") else { return };
    let Some(goldens) = shared("goldens") else { return };
    let passes_here = implemented();
    let list = std::fs::read_to_string(folder.join("README.md")).expect("the table is read");
    let mut chains = BTreeSet::new();
    let mut failures = Vec::new();
    for row in list.lines().filter_map(|line| line.strip_prefix("| ")) {
        let cells: Vec<&str> = row.trim_end_matches(" |").split(" | ").collect();
        let [file, _, passes, kind, _, options, expected] = cells.as_slice() else { continue };
        let options = options.split(';').next().unwrap_or_default().trim();
        let is_there = passes.split(" → ").all(|pass| passes_here.contains(&pass.to_lowercase()));
        if *expected != "accept" || !is_there || !chains.insert((*passes, *kind, options)) {
            continue;
        }
        // A model that ties head and embedding where the recipe is for one, else one that does not.
        let arch = if passes.ends_with("GraphSurgeries") { "llama" } else { "phi3" };
        let dir = tempfile::tempdir().expect("a temporary folder");
        let texts = goldens.join("passes").join(arch).join("calibration.jsonl");
        let model = goldens.join("models").join(arch).join("hf");
        let config = for_a_tiny_model(&folder.join(file), &model, &texts, dir.path());
        let path = dir.path().join("config.json");
        std::fs::write(&path, config.to_string()).expect("the configuration is written");
        let output = olive().args(["run", "--config"]).arg(&path).output().expect("it runs");
        let out = dir.path().join("out");
        if !output.status.success() {
            failures.push(format!("{file}: {}", text(&output.stderr)));
            continue;
        }
        // Answers show that ONNX Runtime loads and runs it.
        let answer = greedy(&out, "the", 4).output().expect("it runs");
        if !answer.status.success() {
            failures.push(format!("{file}: {}", text(&answer.stderr)));
        }
    }
    say(&format!("{} chains of recipes", chains.len()));
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(chains.len() >= 12, "{} chains", chains.len());
}
