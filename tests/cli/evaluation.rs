//! Evaluators of a run, and `olive evaluate`.

use crate::support::binary::{greedy, olive, root, succeed, text};
use crate::support::quickstart::{Quickstart, base_model};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// The quickstart with these passes, and with evaluators by name.
struct Project {
    quickstart: Quickstart,
    config: Value,
}

fn read(path: &Path) -> Value {
    let text = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_slice(&text).unwrap()
}

fn values(names: &[(&str, i64)]) -> Value {
    names.iter().map(|(name, priority)| json!({"name": name, "priority": priority})).collect()
}

/// A question and its answer, as the quickstart's model knows them.
const TURN: &str = "<|user|>\n{Question}<|end|>\n<|assistant|>\n{Best Answer}<|end|>";

/// Perplexity on some rows of the quickstart's data, and bytes.
fn evaluator(rows: usize) -> Value {
    let mut perplexity = json!({
        "name": "ppl", "type": "accuracy",
        "data_config": {
            "name": "held-out", "type": "HuggingfaceContainer",
            "load_dataset_config": {"data_name": "json", "data_files": "datasets/olive-qa.jsonl", "split": "train"},
            "pre_process_data_config": {"text_cols": ["Question", "Best Answer"], "strategy": "line-by-line",
                "max_seq_len": 64, "max_samples": rows, "pad_to_max_len": false},
        },
    });
    perplexity["sub_types"] = values(&[("perplexity", 1), ("loss", -1)]);
    json!({"metrics": [perplexity, {"name": "size", "type": "size_on_disk", "sub_types": values(&[("bytes", 2)])}]})
}

impl Project {
    fn new(passes: &[&str], evaluators: &Value) -> Project {
        let quickstart = Quickstart::new(2);
        let mut config = Quickstart::configuration(passes);
        config["evaluators"] = evaluators.clone();
        Project { quickstart, config }
    }

    fn file(&self) -> PathBuf {
        let file = self.quickstart.dir.path().join("olive.json");
        std::fs::write(&file, self.config.to_string()).unwrap();
        file
    }

    fn run(&self, more: &[&str]) -> std::process::Output {
        let overrides = self.quickstart.arguments(&[]);
        let overrides = match self.config["passes"]["lora"].is_null() {
            true => overrides[..4].to_vec(),
            false => overrides,
        };
        olive().args(["run", "--config"]).arg(self.file()).args(overrides).args(more).output().unwrap()
    }

    /// Standard output of a run that ends well.
    fn table(&self, more: &[&str]) -> String {
        let output = self.run(more);
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    }

    fn document(&self, name: &str) -> Value {
        read(&self.quickstart.output().join(name))
    }

    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.quickstart.output()).unwrap().flatten();
        let mut names: Vec<_> = entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
        names.retain(|name| name.contains("metrics"));
        names.sort();
        names
    }
}

#[test]
fn every_stage_is_measured_on_the_same_tokens_and_written_as_olive_writes_it() {
    let mut project =
        Project::new(&["lora", "merge_adapter_weights", "builder"], &json!({"e": evaluator(8)}));
    project.config["engine"]["evaluator"] = "e".into();
    for pass in ["lora", "merge_adapter_weights"] {
        project.config["passes"][pass]["evaluator"] = "e".into();
    }
    let table = project.table(&[]);
    assert_eq!(
        project.names(),
        [
            "input_model_metrics.json",
            "metrics.json",
            "metrics_detail.json",
            "metrics_lora.json",
            "metrics_merge_adapter_weights.json"
        ]
    );
    let perplexity = |file: &str| project.document(file)["ppl-perplexity"]["value"].as_f64().unwrap();
    let files = ["input_model_metrics", "metrics_lora", "metrics_merge_adapter_weights", "metrics"];
    let [input, adapter, merged, int4] = files.map(|file| perplexity(&format!("{file}.json")));
    // Two steps of training change a little, a merge next to nothing, four bits a lot.
    assert!(
        (adapter / input - 1.0).abs() > 1e-6 && (merged / adapter - 1.0).abs() < 1e-2,
        "{adapter} {merged}"
    );
    assert!((int4 / merged - 1.0).abs() > 1e-4 && int4 / merged < 2.0, "{int4} {merged}");

    let written = std::fs::read_to_string(project.quickstart.output().join("metrics.json")).unwrap();
    let document = project.document("metrics.json");
    let value = |name: &str| document[name]["value"].to_string();
    let expected = format!(
        "{{\n    \"ppl-perplexity\": {{\n        \"value\": {},\n        \"priority\": 1,\n        \"higher_is_better\": \
         false\n    }},\n    \"ppl-loss\": {{\n        \"value\": {},\n        \"priority\": -1,\n        \
         \"higher_is_better\": false\n    }},\n    \"size-bytes\": {{\n        \"value\": {},\n        \"priority\": 2,\n        \
         \"higher_is_better\": false\n    }}\n}}",
        value("ppl-perplexity"),
        value("ppl-loss"),
        value("size-bytes")
    );
    assert_eq!(written, expected);
    assert!((document["ppl-loss"]["value"].as_f64().unwrap().exp() / int4 - 1.0).abs() < 1e-9);

    let detail = project.document("metrics_detail.json");
    let tokens: Vec<_> =
        detail.as_array().unwrap().iter().map(|e| &e["detail"]["metrics"]["ppl"]["tokens"]).collect();
    assert_eq!(tokens.len(), 4);
    assert!(tokens.iter().all(|count| *count == tokens[0] && count.as_u64().unwrap() > 50), "{tokens:?}");
    for row in ["input ", "lora ", "merge_adapter_weights ", "result "] {
        assert!(table.lines().any(|line| line.starts_with(row)), "{table}");
    }
}

#[test]
fn every_stage_answers_the_same_prompts_and_the_page_shows_them_side_by_side() {
    let mut project =
        Project::new(&["lora", "merge_adapter_weights", "builder"], &json!({"e": evaluator(4)}));
    project.config["engine"]["evaluator"] = "e".into();
    project.config["passes"]["lora"]["evaluator"] = "e".into();
    let evaluator = &mut project.config["evaluators"]["e"];
    evaluator["answers"] = 2.into();
    // As the model was trained.
    let texts = &mut evaluator["metrics"][0]["data_config"]["pre_process_data_config"];
    texts["text_template"] = TURN.into();
    project.table(&[]);
    let detail = project.document("metrics_detail.json");
    let answers = |model: usize, field: &str| -> Vec<String> {
        let answers = detail[model]["detail"]["answers"].as_array().unwrap().iter();
        answers.map(|answer| answer[field].as_str().unwrap().to_owned()).collect()
    };
    let rows = std::fs::read_to_string(root().join("datasets/olive-qa.jsonl")).unwrap();
    let rows: Vec<Value> = rows.lines().take(2).map(|row| serde_json::from_str(row).unwrap()).collect();
    for model in 0..3 {
        for (row, (prompt, expected)) in
            rows.iter().zip(answers(model, "prompt").iter().zip(answers(model, "expected")))
        {
            let question = row["Question"].as_str().unwrap();
            assert_eq!(*prompt, format!("<s> <|user|>\n{question}<|end|>\n<|assistant|>\n"));
            assert_eq!(expected, row["Best Answer"].as_str().unwrap());
        }
    }
    assert_ne!(answers(0, "answer"), answers(1, "answer"), "the training changed something");
    // What the program says to the same text: its tokenizer adds no token.
    let said = succeed(&mut greedy(&project.quickstart.output(), &answers(2, "prompt")[0], 48));
    let said: Value = serde_json::from_slice(&said.stdout).unwrap();
    assert_eq!(said["text"], answers(2, "answer")[0].as_str());

    let page = std::fs::read_to_string(project.quickstart.output().join("report.html")).unwrap();
    assert!(page.contains("<h2>Answers</h2>") && page.matches("<th>expected</th>").count() == 2);
    for name in ["input model", "lora", "builder"] {
        assert_eq!(page.matches(&format!("<tr><th>{name}</th><td class=\"said\"")).count(), 2, "{name}");
    }
    // Without them, what was measured is another artefact.
    project.config["evaluators"]["e"]["answers"] = 0.into();
    project.table(&[]);
    let detail = project.document("metrics_detail.json");
    assert!(
        detail
            .as_array()
            .unwrap()
            .iter()
            .all(|e| e["cached"] == false && e["detail"].get("answers").is_none())
    );
}

#[test]
fn what_was_measured_is_cached_by_evaluator_and_data() {
    let mut project = Project::new(&["builder"], &json!({"e": evaluator(4)}));
    project.config["engine"]["evaluator"] = "e".into();
    project.table(&[]);
    let first = project.document("metrics_detail.json");
    assert!(first.as_array().unwrap().iter().all(|e| e["cached"] == false));
    let again = project.table(&["--log-format", "json"]);
    let again: Value = serde_json::from_str(&again).unwrap();
    let evaluations = again["evaluations"].as_array().unwrap();
    assert!(evaluations.len() == 2 && evaluations.iter().all(|e| e["cached"] == true), "{again}");

    project.config["evaluators"]["e"] = evaluator(5);
    project.table(&[]);
    let changed = project.document("metrics_detail.json");
    let value = |document: &Value| document[1]["metrics"].clone();
    assert_ne!(value(&first), value(&changed));

    project.config["engine"]["evaluator"] = Value::Null;
    project.table(&[]);
    assert!(project.names().is_empty(), "{:?}", project.names());
}

#[test]
fn goals_are_told_and_decide_where_that_is_asked_for() {
    let mut project = Project::new(&["builder"], &json!({"e": evaluator(4)}));
    project.config["engine"]["evaluator"] = "e".into();
    project.config["engine"]["evaluate_input_model"] = false.into();
    let goal = |project: &mut Project, kind: &str, value: f64| {
        project.config["evaluators"]["e"]["metrics"][0]["sub_types"][0]["goal"] =
            json!({"type": kind, "value": value});
    };
    // Relative goals have the input model measured.
    goal(&mut project, "percent-max-degradation", 100.0);
    let table = project.table(&["--fail-on-goals"]);
    assert!(table.contains("result: goal for ppl-perplexity met: "), "{table}");
    goal(&mut project, "threshold", 1.5);
    let table = project.table(&[]);
    assert!(
        table.contains("result: goal for ppl-perplexity missed by ") && table.contains("the limit is 1.5"),
        "{table}"
    );
    let output = project.run(&["--fail-on-goals"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("not all that was aimed at is reached"),
        "{}",
        text(&output.stderr)
    );
    assert!(project.quickstart.output().join("model.onnx").is_file());
}

#[test]
fn the_plan_says_what_will_be_measured() {
    let mut project = Project::new(&["builder"], &json!({"e": evaluator(4)}));
    project.config["engine"]["evaluator"] = "e".into();
    project.config["passes"]["builder"]["evaluator"] = "e".into();
    let validate = |more: &[&str]| {
        text(&olive().arg("validate").arg(project.file()).args(more).output().unwrap().stdout)
    };
    let plan = validate(&[]);
    let values = "by `e`: ppl-perplexity, ppl-loss, size-bytes";
    assert!(plan.contains(&format!("measure input model and result, {values}")), "{plan}");
    assert!(plan.contains(&format!("measure {values}")), "{plan}");
    let plan: Value = serde_json::from_str(&validate(&["--json"])).unwrap();
    assert_eq!(plan["evaluator"]["name"], "e");
    assert_eq!(plan["flows"][0]["steps"][0]["evaluator"]["values"][0], "ppl-perplexity");
}

/// The container that Olive measures the writing of a token with.
#[test]
fn tokens_that_mean_nothing_are_timed_after_their_past() {
    let dummy = |past: usize| {
        json!({"name": "token", "type": "TransformersTokenDummyDataContainer",
            "load_dataset_config": {"model_name": "any", "past_seq_len": past}})
    };
    let metric = |past: usize| {
        json!({"name": "write", "type": "latency", "data_config": dummy(past), "sub_types": values(&[("avg", 1)]),
            "user_config": {"io_bind": false}})
    };
    let mut project = Project::new(&["builder"], &json!({"e": {"metrics": [metric(8)]}}));
    project.config["engine"]["evaluator"] = "e".into();
    project.table(&[]);
    for file in ["input_model_metrics.json", "metrics.json"] {
        assert!(project.document(file)["write-avg"]["value"].as_f64().unwrap() > 0.0, "{file}");
    }
    // More than the model's context holds.
    project.config["evaluators"]["e"]["metrics"] = json!([metric(2040)]);
    let output = project.run(&[]);
    assert!(
        !output.status.success()
            && text(&output.stderr).contains("2040 tokens in the cache and 1 after them"),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn tasks_of_other_programs_do_not_stop_a_run() {
    let mut project = Project::new(
        &["builder"],
        &json!({"lm": {"type": "LMEvaluator", "tasks": ["mmlu", "size_on_disk"]}}),
    );
    project.config["engine"]["evaluator"] = "lm".into();
    let table = project.table(&[]);
    assert!(table.contains("result: not evaluated: mmlu"), "{table}");
    assert_eq!(project.run(&["--fail-on-goals"]).status.code(), Some(1));
    assert!(project.document("metrics.json")["size_on_disk-bytes"]["value"].as_u64().unwrap() > 1000);
}

#[test]
fn a_failed_evaluation_leaves_the_model() {
    let mut project = Project::new(&["builder"], &json!({"e": evaluator(4)}));
    project.config["engine"]["evaluator"] = "e".into();
    let data = &mut project.config["evaluators"]["e"]["metrics"][0]["data_config"];
    data["pre_process_data_config"]["text_cols"] = json!(["Question", "Reply"]);
    let output = project.run(&[]);
    assert!(!output.status.success() && text(&output.stderr).contains("Reply"), "{}", text(&output.stderr));
}

/// A table of questions about the words that follow.
fn questions(dir: &Path) -> PathBuf {
    let rows = [
        json!({"question": "Why are fresh olives bitter?", "choices": ["Sugar.", "Oleuropein.", "Salt."], "answer": 1}),
        json!({"question": "Does oil mix with water?", "choices": ["Yes.", "No."], "answer": "B"}),
        json!({"question": "What is an olive?", "choices": {"text": ["A fruit.", "A bird."], "label": ["A", "B"]}, "answer": "A"}),
    ];
    let file = dir.join("questions.jsonl");
    std::fs::write(&file, rows.map(|row| row.to_string()).join("\n")).unwrap();
    file
}

#[test]
fn models_of_any_form_stand_in_one_table() {
    let quickstart = Quickstart::new(2);
    let run = quickstart.run(&[]).output().unwrap();
    assert!(run.status.success(), "{}", text(&run.stderr));
    let (base, output) = (base_model(), quickstart.output());
    let evaluate = |more: &[&str]| {
        let mut command = olive();
        command.args(["evaluate", "--json"]).args([
            &base,
            &output.join("adapter"),
            &output.join("merged"),
            &output,
        ]);
        let output = command.env("XDG_CACHE_HOME", quickstart.dir.path()).args(more).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        let models: Value = serde_json::from_slice(&output.stdout).unwrap();
        models["models"].as_array().unwrap().clone()
    };
    let data = root().join("datasets/olive-qa.jsonl");
    let data =
        ["--data", data.to_str().unwrap(), "--text-cols", "Question,Best Answer", "--max-samples", "6"];
    let models = evaluate(&data);
    let value = |model: &Value, name: &str| {
        let metrics = model["metrics"].as_object().unwrap();
        metrics[name]["value"].as_f64().unwrap()
    };
    let perplexities: Vec<f64> = models.iter().map(|model| value(model, "olive-qa-perplexity")).collect();
    assert!(perplexities.iter().all(|p| *p > 1.0) && (perplexities[2] / perplexities[1] - 1.0).abs() < 1e-2);
    assert!(value(&models[1], "size-bytes") < value(&models[0], "size-bytes"), "an adapter without its base");
    assert!(evaluate(&data).iter().all(|model| model["cached"] == true));

    let questions = questions(quickstart.dir.path());
    for model in evaluate(&["--data", questions.to_str().unwrap(), "--multiple-choice"]) {
        let share = value(&model, "questions-acc");
        assert!([0.0, 1.0 / 3.0, 2.0 / 3.0, 1.0].iter().any(|s| (s - share).abs() < 1e-9), "{share}");
    }
}
