//! Searches that are run: what is tried, what is kept, and what is written.

use crate::support::binary::{olive, olive_process, text};
use crate::support::quickstart::Quickstart;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

/// The quickstart with a search over the adapter and the graph, and an evaluator.
struct Project {
    quickstart: Quickstart,
    config: Value,
}

fn evaluator() -> Value {
    json!({"metrics": [
        {"name": "ppl", "type": "accuracy", "data_config": "dataset_default_train",
            "sub_types": [{"name": "perplexity", "priority": 1}]},
        {"name": "size", "type": "size_on_disk", "sub_types": [{"name": "bytes", "priority": 2}]}]})
}

impl Project {
    /// Trainings of so many steps with two ranks and learning rates, and graphs with two block sizes.
    fn new(steps: usize) -> Project {
        let mut config = Quickstart::configuration(&["lora", "merge_adapter_weights", "builder"]);
        let lora = &mut config["passes"]["lora"]["config"];
        lora["lora_r"] = json!([2, 4]);
        lora["eval_dataset_size"] = json!(8);
        lora["training_args"]["learning_rate"] = json!([0.0001, 0.004]);
        lora["training_args"]["per_device_train_batch_size"] = json!(2);
        config["data_configs"][0]["pre_process_data_config"]["params"]["max_samples"] = json!(24);
        config["passes"]["builder"]["config"]["int4_block_size"] = json!([32, 64]);
        config["evaluator"] = evaluator();
        config["engine"]["evaluate_input_model"] = json!(false);
        config["engine"]["search_strategy"] = json!({"execution_order": "joint", "sampler": "sequential"});
        Project { quickstart: Quickstart::new(steps), config }
    }

    fn file(&self) -> PathBuf {
        let file = self.quickstart.dir.path().join("c.json");
        std::fs::write(&file, self.config.to_string()).unwrap();
        file
    }

    fn arguments(&self) -> Vec<String> {
        let mut arguments = vec!["run".to_owned(), "--config".into(), self.file().display().to_string()];
        arguments.extend(self.quickstart.arguments(&[]));
        arguments
    }

    fn output(&self, more: &[&str]) -> std::process::Output {
        olive().args(self.arguments()).args(more).output().unwrap()
    }

    /// The search of a run that ends well.
    fn search(&self) -> Value {
        let output = self.output(&["--log-format", "json"]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        let outcome: Value = serde_json::from_slice(&output.stdout).unwrap();
        outcome["searches"][0].clone()
    }

    fn read(&self, name: &str) -> String {
        let path = self.quickstart.output().join(name);
        std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    }

    fn json(&self, name: &str) -> Value {
        serde_json::from_str(&self.read(name)).unwrap()
    }
}

fn trials(search: &Value) -> &Vec<Value> {
    search["trials"].as_array().unwrap()
}

fn indices(search: &Value) -> Vec<u64> {
    trials(search).iter().map(|trial| trial["point"]["index"].as_u64().unwrap()).collect()
}

fn of_state<'a>(search: &'a Value, state: &str) -> Vec<&'a Value> {
    trials(search).iter().filter(|trial| trial["state"] == state).collect()
}

/// The contents of a folder's files by name.
fn contents(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = std::fs::read_dir(dir).unwrap().flatten().filter(|entry| entry.path().is_file());
    files
        .map(|entry| (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap()))
        .collect()
}

#[test]
fn all_points_are_tried_and_the_best_results_written_whole() {
    let mut project = Project::new(3);
    project.config["engine"]["search_strategy"]["output_model_num"] = json!(3);
    let table = project.output(&[]);
    let (table, told) = (text(&table.stdout), text(&table.stderr));
    assert!(table.contains("search: joint, sequential, 8 of 8 points"), "{table}\n{told}");
    assert!(told.contains("search: 8 points; 4 trainings, 12 steps and"), "{told}");
    assert!(told.contains("all trainings of the search: about"), "{told}");
    // What points have in common is done once.
    let made = |pass: &str| project.quickstart.artefacts(pass).len();
    assert_eq!((made("LoRA"), made("MergeAdapterWeights"), made("ModelBuilder")), (4, 4, 8));

    let lines: Vec<Value> = project
        .read("search_results.jsonl")
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 8);
    let perplexity = |line: &Value| line["metrics"]["ppl-perplexity"]["value"].as_f64().unwrap();
    let best = lines.iter().find(|line| line["rank"] == 1).unwrap();
    assert!(lines.iter().all(|line| perplexity(line) >= perplexity(best)));
    assert_eq!(best["values"]["lora.training_args.learning_rate"], json!(0.004));
    assert_eq!(lines[5]["point"]["values"]["builder"], json!([0, {"int4_block_size": [1, 64]}]));
    assert_eq!(project.json("metrics.json"), best["metrics"]);

    let ranked =
        |rank: usize| lines.iter().find(|line| line["rank"] == rank).unwrap()["model_id"].as_str().unwrap();
    let candidates = project.quickstart.output().join("candidates");
    for rank in 1..=3 {
        let folder = candidates.join(format!("{rank}_{}", ranked(rank)));
        assert!(folder.join("genai_config.json").is_file() && folder.join("metrics.json").is_file());
        assert!(folder.join("adapter/adapter_model.safetensors").is_file());
    }
    let first = candidates.join(format!("1_{}", ranked(1)));
    for name in ["model.onnx", "model.onnx.data", "metrics.json", "genai_config.json"] {
        let read = |dir: &Path| std::fs::read(dir.join(name)).unwrap();
        assert_eq!(read(&first), read(&project.quickstart.output()), "{name}");
    }
    assert_eq!(std::fs::read_dir(&candidates).unwrap().count(), 3);
    assert!(project.read("report.html").contains("Search"));

    // Once more, everything is in the cache, and candidates that are no longer asked for go.
    project.config["engine"]["search_strategy"]["output_model_num"] = json!(1);
    std::fs::write(candidates.join("mine.txt"), "mine").unwrap();
    let again = project.search();
    let results = |search: &Value| -> Vec<Value> {
        trials(search)
            .iter()
            .map(|trial| json!([trial["metrics"], trial["rank"], trial["model_id"]]))
            .collect()
    };
    assert_eq!(results(&again), results(&json!({"trials": lines})));
    assert_eq!(made("ModelBuilder"), 8);
    let mut left: Vec<_> = std::fs::read_dir(&candidates).unwrap().flatten().map(|e| e.file_name()).collect();
    left.sort();
    assert_eq!(left, [first.file_name().unwrap(), "mine.txt".as_ref()]);
}

#[test]
fn the_footprint_has_every_model_with_its_parent() {
    let project = Project::new(1);
    let search = project.search();
    let footprint = project.json("footprint.json");
    let nodes = footprint.as_object().unwrap();
    assert_eq!(nodes.len(), 1 + 4 + 4 + 8, "input, adapters, merged models, graphs");
    let root: Vec<_> = nodes.values().filter(|node| node["parent_model_id"].is_null()).collect();
    assert_eq!((root.len(), &root[0]["from_pass"]), (1, &Value::Null));
    for (id, node) in nodes {
        assert_eq!(node["model_id"], json!(id));
        let parent = node["parent_model_id"].as_str();
        assert!(parent.is_none_or(|parent| nodes.contains_key(parent)), "{node}");
        let is_graph = node["from_pass"] == "modelbuilder";
        assert_eq!(node["metrics"].is_object(), is_graph, "{node}");
    }
    for trial in trials(&search) {
        let node = &nodes[trial["model_id"].as_str().unwrap()];
        assert_eq!(node["metrics"]["value"], trial["metrics"]);
        assert_eq!(node["metrics"]["cmp_direction"], json!({"ppl-perplexity": -1, "size-bytes": -1}));
        assert_eq!(node["is_pareto_frontier"], trial["is_on_frontier"]);
        assert_eq!(node["pass_run_config"]["type"], "ModelBuilder");
        assert!(node["end_time"].as_f64() >= node["start_time"].as_f64());
    }
    let history = project.read("run_history.txt");
    assert_eq!(history.lines().filter(|line| line.starts_with("| ")).count(), 1 + 17, "{history}");
}

#[test]
fn a_point_that_fails_is_told_and_left_out() {
    let mut project = Project::new(3);
    project.config["passes"]["lora"]["config"]["training_args"]["learning_rate"] = json!([0.004, 1e12]);
    project.config["passes"]["lora"]["config"]["training_args"]["max_grad_norm"] = json!(0);
    let search = project.search();
    let failed = of_state(&search, "failed");
    assert_eq!((failed.len(), of_state(&search, "measured").len()), (4, 4));
    for trial in failed {
        assert!(trial["error"].as_str().unwrap().contains("training diverged"), "{trial}");
        assert_eq!((&trial["values"][1], &trial["rank"]), (&json!(1e12), &Value::Null));
    }
    let pruned = project.json("footprint.json");
    let is_pruned = |node: &&Value| node["model_config_data"]["is_pruned"] == true;
    assert_eq!(pruned.as_object().unwrap().values().filter(is_pruned).count(), 4);

    project.config["passes"]["lora"]["config"]["training_args"]["learning_rate"] = json!([1e11, 1e12]);
    let output = project.output(&[]);
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(
        told.contains("no point of the search gave a result: 8 of 8 failed, 0 missed their goals"),
        "{told}"
    );
}

#[test]
fn without_a_result_that_meets_the_goals_there_is_none() {
    let mut project = Project::new(1);
    project.config["evaluator"]["metrics"][0]["sub_types"][0]["goal"] =
        json!({"type": "threshold", "value": 1.0});
    let output = project.output(&[]);
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(
        told.contains("0 of 8 failed, 8 missed their goals") && told.contains("lower the goals"),
        "{told}"
    );
    assert!(!project.quickstart.output().join("model.onnx").exists());

    // A limit that all meet ends the search with the first.
    project.config["evaluator"]["metrics"][0]["sub_types"][0]["goal"]["value"] = json!(1e9);
    project.config["engine"]["search_strategy"]["stop_when_goals_met"] = json!(true);
    assert_eq!(indices(&project.search()), [0]);
}

#[test]
fn limits_and_orders_are_those_of_the_strategy() {
    let mut project = Project::new(1);
    let mut search = |strategy: Value| {
        project.config["engine"]["search_strategy"] = strategy;
        project.search()
    };
    let three = search(json!({"execution_order": "joint", "sampler": "sequential", "max_iter": 3}));
    assert_eq!(indices(&three), [0, 1, 2]);
    // Python's order for the seed.
    let random =
        search(json!({"execution_order": "joint", "sampler": "random", "seed": 1, "max_samples": 4}));
    assert_eq!(indices(&random), [2, 5, 0, 4]);
    let estimated = search(json!({"execution_order": "joint", "sampler": "tpe", "seed": 1}));
    assert_eq!(indices(&estimated)[..4], [2, 5, 0, 4], "the first points are drawn");
    let mut all = indices(&estimated);
    all.sort_unstable();
    assert_eq!(all, (0..8).collect::<Vec<u64>>());
    let nothing_left = search(json!({"execution_order": "joint", "sampler": "sequential", "max_time": 1e-9}));
    assert_eq!(indices(&nothing_left), [0], "one is always tried");
}

#[test]
fn pass_by_pass_the_best_results_go_on_first() {
    let mut project = Project::new(3);
    project.config["engine"]["search_strategy"] =
        json!({"execution_order": "pass-by-pass", "sampler": "sequential", "beam": 1});
    let search = project.search();
    let passes = |trial: &Value| trial["point"]["values"].as_object().unwrap().len();
    let shape: Vec<usize> = trials(&search).iter().map(passes).collect();
    assert_eq!(shape, [1, 1, 1, 1, 2, 3, 3], "adapters, the merged one of the best, its graphs");
    let perplexity = |trial: &Value| trial["metrics"]["ppl-perplexity"]["value"].as_f64().unwrap();
    let adapters = &trials(&search)[..4];
    let best = adapters.iter().min_by(|a, b| perplexity(a).total_cmp(&perplexity(b))).unwrap();
    assert_eq!(trials(&search)[4]["ancestors"], json!([best["model_id"]]));

    // Without a beam all combinations are visited in the end: 4 adapters, 4 merged, 8 graphs.
    project.config["engine"]["search_strategy"] =
        json!({"execution_order": "pass-by-pass", "sampler": "sequential"});
    assert_eq!(trials(&project.search()).len(), 16);
}

#[test]
fn halving_ends_trainings_early_and_the_winner_is_as_if_it_had_never_paused() {
    let mut project = Project::new(8);
    project.config["engine"]["search_strategy"] = json!({"sampler": "halving", "eta": 2});
    let plain = Project::new(8);
    let best = |search: &Value| trials(search).iter().find(|trial| trial["rank"] == 1).unwrap().clone();
    let (halved, all) = (project.search(), plain.search());
    let stopped: Vec<u64> =
        of_state(&halved, "stopped_early").iter().map(|trial| trial["step"].as_u64().unwrap()).collect();
    assert_eq!(stopped, [2, 2, 2, 2, 4, 4], "of four trainings two pause for good, then one");
    let winner = best(&halved);
    let same =
        trials(&all).iter().find(|trial| trial["model_id"] == winner["model_id"]).expect("all were tried");
    assert_eq!(winner["metrics"], same["metrics"]);
    let key = winner["ancestors"][0].as_str().unwrap();
    let adapter = |project: &Project| {
        let all = project.quickstart.artefacts("LoRA").into_iter();
        let mut of_key = all.filter(|dir| dir.file_name().unwrap().to_string_lossy().starts_with(key));
        contents(&of_key.next().expect("the winner's adapter").join("output"))
    };
    let (ours, theirs) = (adapter(&project), adapter(&plain));
    assert_eq!(ours["adapter_model.safetensors"], theirs["adapter_model.safetensors"]);
    let losses = |files: &BTreeMap<String, Vec<u8>>| -> Vec<Value> {
        let rows = text(&files["metrics.jsonl"]);
        let row = |line: &str| serde_json::from_str::<Value>(line).unwrap();
        rows.lines().map(row).map(|row| json!([row["kind"], row["step"], row["loss"]])).collect()
    };
    assert_eq!(losses(&ours), losses(&theirs), "a pause leaves no row");
    assert_eq!(project.quickstart.artefacts("LoRA").len(), 1);
    // Again: nothing is trained, and the same trainings are left.
    let again = project.search();
    assert_eq!((of_state(&again, "stopped_early").len(), best(&again)["rank"].clone()), (6, json!(1)));

    project.config["passes"]["lora"]["config"]["eval_dataset_size"] = Value::Null;
    let output = project.output(&[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("give `eval_dataset_size`"), "{}", text(&output.stderr));
}

#[test]
fn a_search_that_was_killed_goes_on_where_it_was() {
    let project = Project::new(3);
    let mut running = olive_process()
        .args(project.arguments())
        .args(["--log-format", "json"])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(running.stderr.take().unwrap()).lines();
    let mut events = lines.map_while(Result::ok).filter_map(|line| serde_json::from_str::<Value>(&line).ok());
    events.find(|event| event["event"] == "point_finished").expect("a first point");
    running.kill().unwrap();
    running.wait().unwrap();
    let output = project.output(&["--log-format", "json"]);
    let events = text(&output.stderr);
    let first = events.lines().take_while(|line| !line.contains("point_finished"));
    let cached =
        first.filter(|line| line.contains("pass_finished") && line.contains("\"cached\":true")).count();
    assert_eq!(cached, 3, "{events}");
    let outcome: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(of_state(&outcome["searches"][0], "measured").len(), 8);
}

#[test]
fn the_plan_tells_what_varies_and_how_much_there_is_to_do() {
    let project = Project::new(5);
    let plan = |more: &[&str]| text(&project.output(&[&["--dry-run"], more].concat()).stdout);
    let plan = plan(&[]);
    for line in [
        "search  joint, sequential",
        "8 points; 4 trainings, 20 steps and ",
        "lora.r: 2, 4",
        "lora.training_args.learning_rate: 0.0001, 0.004",
        "builder.int4_block_size: 32, 64",
    ] {
        assert!(plan.contains(line), "{line} is not in {plan}");
    }
}

#[test]
fn alternatives_of_a_pass_are_tried_one_after_the_other() {
    let mut project = Project::new(1);
    let lora = &mut project.config["passes"]["lora"];
    lora["config"]["lora_r"] = json!(2);
    lora["config"]["training_args"]["learning_rate"] = json!(0.004);
    let mut dora = lora.clone();
    dora["type"] = json!("DoRA");
    dora["config"]["lora_r"] = json!([2, 4]);
    project.config["passes"]["lora"] = json!([lora.clone(), dora]);
    project.config["passes"]["builder"]["config"]["int4_block_size"] = json!(32);
    let output = olive()
        .args(["run", "--log-format", "json", "--config"])
        .arg(project.file())
        .args(&project.quickstart.arguments(&[])[..4])
        .args(["--set", "passes.lora[0].config.training_args.max_steps=1"])
        .args(["--set", "passes.lora[1].config.training_args.max_steps=1"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let outcome: Value = serde_json::from_slice(&output.stdout).unwrap();
    let search = &outcome["searches"][0];
    assert_eq!(search["varied"], json!(["lora", "lora[1].r"]));
    let values: Vec<&Value> = trials(search).iter().map(|trial| &trial["values"]).collect();
    assert_eq!(values, [&json!([0, null]), &json!([1, 2]), &json!([1, 4])]);
}
