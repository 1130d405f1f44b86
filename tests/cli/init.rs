//! `olive init`: a project for somebody's model and data.

use crate::support::binary::{olive, root, succeed, text};
use crate::support::hub::{Behaviour, Hub, ID, model};
use serde_json::{Value, json};
use std::path::Path;

const MODEL: &str = "model-cache/tiny-phi3";

/// Questions and answers as tables have them.
fn csv(rows: usize) -> String {
    let row = |row: usize| format!("{row},How many olives are {row}?,\"They are {row}, of course.\"\n");
    format!("id,Question,Answer\n{}", (0..rows).map(row).collect::<String>())
}

fn init(dir: &Path, arguments: &[&str]) -> assert_cmd::Command {
    let mut command = olive();
    command.current_dir(dir).arg("init").args(arguments);
    command
}

fn configuration(project: &Path) -> Value {
    let text = std::fs::read_to_string(project.join("fine-tuning/olive-config.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn pre_process(config: &Value) -> &Value {
    &config["data_configs"][0]["pre_process_data_config"]
}

#[test]
fn a_table_becomes_a_project_that_runs_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("faq.csv"), csv(40)).unwrap();
    let model = root().join(MODEL);
    let model = model.to_str().unwrap();
    let made = succeed(&mut init(dir.path(), &["project", "--model", model, "--data", "faq.csv", "--yes"]));
    let said = text(&made.stdout);
    for expected in [
        "phi3",
        "40 rows",
        "`Question` is asked",
        "memory",
        "time",
        "olive run --config fine-tuning/olive-config.json",
    ] {
        assert!(said.contains(expected), "{expected} is missing in\n{said}");
    }
    let project = dir.path().join("project");
    for folder in ["datasets", "fine-tuning", "inferences", "model-cache", "gen-model", "setup"] {
        assert!(project.join(folder).is_dir(), "{folder}");
    }
    assert_eq!(std::fs::read_to_string(project.join("datasets/faq.csv")).unwrap(), csv(40));
    let config = configuration(&project);
    assert_eq!(config["$schema"], "olive.schema.json");
    // The text is the one that the model's chat template writes.
    assert_eq!(
        pre_process(&config)["text_template"],
        "<s> <|user|>\n{Question}<|end|>\n<|assistant|>\n{Answer}<|end|>\n"
    );
    assert_eq!(pre_process(&config)["response_template"], "<|assistant|>\n");

    // Every key is explained, but those whose meaning is their name.
    let explained = std::fs::read_to_string(project.join("fine-tuning/README.md")).unwrap();
    for key in [
        "passes.lora.r",
        "text_template",
        "training_args.learning_rate",
        "output_dir",
        "accelerators.0.device",
    ] {
        assert!(explained.contains(&format!("{key}`")), "{key} is not explained in\n{explained}");
    }

    let steps = ["--set", "passes.lora.training_args.max_steps=1", "--set", "passes.builder.precision=fp32"];
    let mut run = olive();
    run.current_dir(&project).args(["run", "--config", "fine-tuning/olive-config.json"]).args(steps);
    succeed(&mut run);
    assert!(project.join("gen-model/faq/model.onnx").is_file());
    // What training gained and what rounding cost is measured on the rows that were held out.
    let measured = std::fs::read_to_string(project.join("gen-model/faq/metrics.json")).unwrap();
    assert!(measured.contains("held_out-perplexity"), "{measured}");
    assert!(project.join("gen-model/faq/metrics_merge.json").is_file());
    assert!(!dir.path().join("cache").exists(), "something was left outside the project");
}

#[test]
fn every_key_that_is_written_is_explained() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("faq.csv"), csv(40)).unwrap();
    let model = root().join(MODEL);
    let arguments = ["--model", model.to_str().unwrap(), "--data", "faq.csv", "--yes", "--max-steps", "7"];
    succeed(&mut init(dir.path(), &arguments));
    let config = configuration(dir.path());
    let explained = std::fs::read_to_string(dir.path().join("fine-tuning/README.md")).unwrap();
    let rows = explained.lines().filter(|line| line.starts_with("| `")).count();
    assert_eq!(rows, leaves(&config) - 1, "all but `$schema` are explained:\n{explained}");
    let validated = succeed(olive().current_dir(dir.path()).args([
        "validate",
        "--strict",
        "fine-tuning/olive-config.json",
    ]));
    assert!(text(&validated.stderr).is_empty(), "{}", text(&validated.stderr));
}

/// Keys whose values are no objects, and no lists of objects.
fn leaves(value: &Value) -> usize {
    match value {
        Value::Object(map) => map.values().map(leaves).sum(),
        Value::Array(items) if items.iter().all(Value::is_object) => items.iter().map(leaves).sum(),
        _ => 1,
    }
}

#[test]
fn conversations_texts_and_templates_are_told_apart() {
    let model = root().join(MODEL);
    let model = model.to_str().unwrap();
    let turns = |n: usize| json!({"messages": [{"role": "user", "content": format!("{n}?")}, {"role": "assistant", "content": format!("{n}!")}]});
    let lines = |row: &dyn Fn(usize) -> Value| (0..30).map(|n| format!("{}\n", row(n))).collect::<String>();
    let cases: [(&str, String, &[&str], Value); 5] = [
        ("chat.jsonl", lines(&turns), &[], json!({"format": "messages"})),
        (
            "alpaca.jsonl",
            lines(&|n| json!({"instruction": "Count.", "input": format!("{n}"), "output": format!("{n}")})),
            &[],
            json!({"format": "alpaca"}),
        ),
        (
            "book.jsonl",
            lines(
                &|n| json!({"text": format!("Chapter {n}. Olives grow on trees, and trees grow slowly, as everybody knows. {}", "Slowly. ".repeat(40))}),
            ),
            &[],
            json!({"text_cols": ["text"], "strategy": "join", "max_seq_len": 128}),
        ),
        (
            "pairs.jsonl",
            lines(&|n| json!({"de": format!("{n} Oliven"), "en": format!("{n} olives")})),
            &["--question", "de", "--answer", "en"],
            json!({"loss_on": "completion", "add_special_tokens": false}),
        ),
        (
            "parts.jsonl",
            lines(&|n| json!({"title": format!("T{n}"), "body": format!("B{n}")})),
            &["--template", "{title}: {body}"],
            json!({"text_template": "{title}: {body}"}),
        ),
    ];
    for (name, rows, more, expected) in cases {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(name), rows).unwrap();
        let arguments = [&["--model", model, "--data", name, "--yes", "--result", "adapter"], more].concat();
        succeed(&mut init(dir.path(), &arguments));
        let config = configuration(dir.path());
        for (key, value) in expected.as_object().unwrap() {
            assert_eq!(&pre_process(&config)[key], value, "{name}: {key}");
        }
        let passes: Vec<&String> = config["passes"].as_object().unwrap().keys().collect();
        assert_eq!(passes, ["lora"], "{name}");
        // Data in the project stays where it is.
        assert_eq!(config["data_configs"][0]["load_dataset_config"]["data_files"], name);
    }
}

#[test]
fn what_is_not_said_and_not_clear_is_asked_for_by_its_flag() {
    let dir = tempfile::tempdir().unwrap();
    let model = root().join(MODEL);
    let model = model.to_str().unwrap();
    std::fs::write(dir.path().join("pairs.jsonl"), "{\"de\": \"Oliven\", \"en\": \"olives\"}\n").unwrap();
    std::fs::write(dir.path().join("other.csv"), csv(3)).unwrap();
    let cases: [(&[&str], &str); 8] = [
        (&["--yes"], "--model"),
        (&["--yes", "--model", model], "--data FILE, or --no-data"),
        (&["--yes", "--model", model, "--data", "pairs.jsonl"], "--question COLUMN"),
        (&["--yes", "--model", model, "--data", "pairs.jsonl", "--text", "fr"], "there is de, en"),
        (&["--yes", "--model", model, "--data", "other.csw"], "did you mean `other.csv`?"),
        (
            &["--yes", "--model", model, "--data", "other.csv", "--question", "Answer", "--answer", "Answer"],
            "both the question and the answer",
        ),
        (&["--yes", "--model", model, "--no-data", "--result", "merged"], "--data"),
        (&["--model", model], "--data FILE"),
    ];
    for (arguments, flag) in cases {
        let output = init(dir.path(), arguments).output().unwrap();
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {stderr}");
        assert!(stderr.contains(flag), "{arguments:?}: {stderr}");
        assert!(!dir.path().join("fine-tuning").exists(), "{arguments:?} wrote something");
    }
}

#[test]
fn a_project_is_not_written_over() {
    let dir = tempfile::tempdir().unwrap();
    let model = root().join(MODEL);
    let arguments = ["--model", model.to_str().unwrap(), "--no-data", "--yes"];
    succeed(&mut init(dir.path(), &arguments));
    let file = dir.path().join("fine-tuning/olive-config.json");
    assert!(configuration(dir.path()).get("data_configs").is_none());
    std::fs::write(&file, "mine").unwrap();
    let output = init(dir.path(), &arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("--overwrite"), "{}", text(&output.stderr));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "mine");
    succeed(init(dir.path(), &arguments).arg("--overwrite"));
    assert_eq!(configuration(dir.path())["passes"]["builder"]["precision"], "int4");
}

#[test]
fn a_model_of_the_hub_comes_into_the_project() {
    let hub = Hub::serve(model(), Behaviour::default());
    let dir = tempfile::tempdir().unwrap();
    let mut command = init(dir.path(), &["project", "--model", ID, "--no-data", "--yes"]);
    succeed(command.env("HF_ENDPOINT", &hub.endpoint).env("HF_HOME", dir.path().join("hf")));
    let project = dir.path().join("project");
    assert!(project.join("model-cache/llama/model.safetensors").is_file());
    assert_eq!(configuration(&project)["input_model"]["model_path"], "model-cache/llama");
}

#[test]
fn what_does_not_fit_is_trained_in_less_memory() {
    let dir = tempfile::tempdir().unwrap();
    let text: String = (0..800).map(|n| format!("Question {n}? {}\n", "word ".repeat(200))).collect();
    let rows: String =
        text.lines().map(|line| format!("{}\n", json!({"question": line, "answer": line}))).collect();
    std::fs::write(dir.path().join("long.jsonl"), rows).unwrap();
    let model = root().join(MODEL);
    // So many kilobytes of data the process may have: less than the rows of a step take at once.
    let script = "ulimit -d 300000; exec \"$@\"";
    let mut command = std::process::Command::new("sh");
    command.args(["-c", script, "sh"]).arg(assert_cmd::cargo::cargo_bin("olive"));
    command
        .args(["init", "--yes", "--data", "long.jsonl", "--result", "adapter", "--model"])
        .arg(&model)
        .current_dir(dir.path());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let config = configuration(dir.path());
    let lora = &config["passes"]["lora"]["training_args"];
    let rows = |key: &str| lora[key].as_u64().unwrap();
    assert!(rows("gradient_accumulation_steps") > 1 || lora["gradient_checkpointing"] == true, "{lora}");
}

#[test]
fn paths_are_those_from_the_root_of_the_project() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("project/model-cache")).unwrap();
    std::fs::create_dir(dir.path().join("project/mine")).unwrap();
    let link = dir.path().join("project/model-cache/phi3");
    std::os::unix::fs::symlink(root().join(MODEL), link).unwrap();
    std::fs::write(dir.path().join("project/mine/faq.csv"), csv(30)).unwrap();
    // The model is the only one there; the data lies in the project by a way around.
    let data = "project/model-cache/../mine/faq.csv";
    let arguments = ["project", "--model", "project/model-cache/phi3", "--data", data, "--yes"];
    succeed(&mut init(dir.path(), &arguments));
    let config = configuration(&dir.path().join("project"));
    assert_eq!(config["input_model"]["model_path"], "model-cache/phi3");
    assert_eq!(config["data_configs"][0]["load_dataset_config"]["data_files"], "mine/faq.csv");
}

#[test]
fn rows_in_a_document_are_found_under_their_key() {
    let dir = tempfile::tempdir().unwrap();
    let model = root().join(MODEL);
    let rows: Vec<Value> =
        (0..9).map(|n| json!({"question": format!("{n}?"), "answer": format!("{n}!")})).collect();
    let document =
        json!({"version": 2, "notes": ["none"], "data": rows, "more": [{"question": "?", "answer": "!"}]});
    std::fs::write(dir.path().join("all.json"), document.to_string()).unwrap();
    let arguments = ["--model", model.to_str().unwrap(), "--data", "all.json", "--yes"];
    for (more, field) in [(&[][..], "data"), (&["--field", "more", "--overwrite"], "more")] {
        succeed(init(dir.path(), &arguments).args(more));
        let load = &configuration(dir.path())["data_configs"][0]["load_dataset_config"];
        assert_eq!((&load["field"], &load["data_name"]), (&json!(field), &json!("json")));
    }
}

#[test]
fn a_row_without_an_answer_is_left_out_and_said() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("faq.csv"), csv(30) + "30,How many?,\n").unwrap();
    let model = root().join(MODEL);
    let arguments = ["--model", model.to_str().unwrap(), "--data", "faq.csv", "--yes"];
    succeed(&mut init(dir.path(), &arguments));
    let mut data = olive();
    data.current_dir(dir.path()).args([
        "data",
        "fine-tuning/olive-config.json",
        "--name",
        "train_data",
        "--samples",
        "99",
    ]);
    let shown = text(&succeed(&mut data).stdout);
    assert!(
        shown.contains("1 of 28 rows have an empty text, or no value") && !shown.contains("None"),
        "{shown}"
    );
}
