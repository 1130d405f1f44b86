//! `olive data`, and what plans and runs say of conversations.

use crate::support::binary::{olive, text};
use crate::support::quickstart::{Quickstart, base_model};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// A conversation of a question and an answer.
fn row(question: &str, answer: &str) -> Value {
    json!({"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]})
}

fn write(dir: &Path, rows: &[Value]) -> PathBuf {
    let path = dir.join("talk.jsonl");
    std::fs::write(&path, rows.iter().map(|row| row.to_string() + "\n").collect::<String>()).unwrap();
    path
}

/// Standard output of `olive data`, which ends well.
fn data(arguments: &[&str]) -> String {
    let output = olive().arg("data").args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

#[test]
fn what_will_be_learned_is_shown() {
    let dir = tempfile::tempdir().unwrap();
    let broken = json!({"messages": [{"role": "user", "content": "And now?"}]});
    let long = "The path goes past the mill and over the bridge. ".repeat(4);
    let rows = [row("Is the kettle warm?", "Yes."), broken, row("Where does the path go?", &long)];
    let file = write(dir.path(), &rows);
    let (file, model) = (file.to_str().unwrap(), base_model());
    let arguments = [file, "--model", model.to_str().unwrap(), "--set", "max_seq_len=64"];

    let shown = data(&arguments);
    assert!(shown.contains("data (training): messages"), "{shown}");
    assert!(shown.contains("3, of which 1 cannot be learned"), "{shown}");
    assert!(shown.contains("talk.jsonl`, line 2: there is no message of the assistant"), "{shown}");
    // In a pipe what counts stands between signs, without colours.
    assert!(shown.contains("Is the kettle warm?") && shown.contains("⟦Yes."), "{shown}");
    assert!(!shown.contains('\u{1b}') && shown.contains('█'), "{shown}");

    let document: Value = serde_json::from_str(&data(&[&arguments[..], &["--json"]].concat())).unwrap();
    let found = &document["data"][0];
    assert_eq!((&found["format"], &found["loss_on"]), (&"messages".into(), &"assistant".into()));
    assert_eq!((&found["rows"], &found["rows_longer"], &found["samples"]), (&3.into(), &1.into(), &2.into()));
    assert_eq!(found["bad_rows"][0]["number"], 2);
    let number = |key: &str| found[key].as_u64().unwrap();
    assert!(number("tokens_in_loss") < number("tokens") && number("longest") > 64, "{found}");
    let binned: u64 =
        found["lengths"].as_array().unwrap().iter().map(|bin| bin["rows"].as_u64().unwrap()).sum();
    assert_eq!(binned, 2);
    let pieces = found["examples"][0].as_array().unwrap();
    let learned: String = pieces
        .iter()
        .filter(|piece| piece["weight"] == 1.0)
        .map(|piece| piece["text"].as_str().unwrap())
        .collect();
    assert!(learned.starts_with("Yes.") && !learned.contains("kettle"), "{pieces:?}");

    let output = olive().args(["data", file]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("--model"), "{}", text(&output.stderr));
}

#[cfg(target_os = "linux")]
#[test]
fn what_counts_has_a_colour_on_a_terminal_that_wants_one() {
    let dir = tempfile::tempdir().unwrap();
    let file = write(dir.path(), &[row("Is the kettle warm?", "Yes.")]);
    let olive = assert_cmd::cargo::cargo_bin("olive");
    let command =
        format!("'{}' data '{}' --model '{}'", olive.display(), file.display(), base_model().display());
    let told = |terminal: &str, no_color: &str| {
        let mut script = std::process::Command::new("script");
        script.args(["-qec", &command, "/dev/null"]).stdin(std::process::Stdio::null());
        script.env("TERM", terminal).env("NO_COLOR", no_color);
        text(&script.output().expect("`script` starts").stdout)
    };
    let coloured = told("xterm", "");
    assert!(coloured.contains("\u{1b}[32mYes.") && !coloured.contains('⟦'), "{coloured}");
    for plain in [told("dumb", ""), told("xterm", "1")] {
        assert!(plain.contains("⟦Yes.") && !plain.contains("\u{1b}[32m"), "{plain}");
    }
}

#[test]
fn plans_name_the_format_and_bad_rows_stop_a_run_before_it_starts() {
    let quickstart = Quickstart::new(1);
    let rows: Vec<Value> = (0..8).map(|i| row(&format!("Is it {i}?"), &format!("It is {i}."))).collect();
    let file = write(quickstart.dir.path(), &rows);
    let mut passes = Quickstart::configuration(&["lora"])["passes"].clone();
    passes["lora"]["config"]["training_args"]["max_steps"] = 1.into();
    let overrides = |more: &[&str]| {
        let data = "data_configs.0";
        let mut set = vec![
            format!("passes={passes}"),
            format!("{data}.load_dataset_config.params.data_files={}", file.display()),
            format!("{data}.pre_process_data_config.params={{\"format\": \"auto\", \"max_seq_len\": 64}}"),
        ];
        set.extend(more.iter().map(|one| format!("{data}.pre_process_data_config.params.{one}")));
        set
    };
    let run = |more: &[&str], arguments: &[&str]| {
        let set = overrides(more);
        let set: Vec<&str> = set.iter().map(String::as_str).collect();
        quickstart.run(&set).args(arguments).output().unwrap()
    };
    let plan = run(&[], &["--dry-run"]);
    assert!(text(&plan.stdout).contains(", conversations as messages"), "{}", text(&plan.stdout));

    let mut broken = rows;
    broken[5]["messages"][1]["role"] = "narrator".into();
    broken[6]["messages"][1]["content"] = "".into();
    write(quickstart.dir.path(), &broken);
    let refused = run(&[], &[]);
    let told = text(&refused.stderr);
    assert!(!refused.status.success());
    assert!(told.contains("talk.jsonl`, line 6: message 2 has the role `narrator`"), "{told}");
    assert!(told.contains("2 of 8 rows") && told.contains("bad_rows: skip"), "{told}");
    assert!(!quickstart.cache().join("passes-v1").exists(), "nothing was run");

    let skipped = run(&["bad_rows=skip"], &[]);
    let told = text(&skipped.stderr);
    assert!(skipped.status.success(), "{told}");
    assert!(
        told.contains("2 of 8 rows are left out") && told.contains("messages, 6 rows, loss on assistant"),
        "{told}"
    );
}

#[test]
fn a_mix_is_planned_and_what_is_in_it_counts_in_keys() {
    let quickstart = Quickstart::new(1);
    let rows: Vec<Value> = (0..8).map(|i| row(&format!("Is it {i}?"), &format!("It is {i}."))).collect();
    let talk = write(quickstart.dir.path(), &rows);
    let plain = quickstart.dir.path().join("plain.jsonl");
    std::fs::write(&plain, "{\"text\": \"The path goes past the mill.\"}\n".repeat(4)).unwrap();
    let mut passes = Quickstart::configuration(&["lora"])["passes"].clone();
    passes["lora"]["config"]["training_args"]["max_steps"] = 1.into();
    let run = |weight: f64, arguments: &[&str]| {
        let data = |name: &str, file: &Path, options: Value| {
            json!({
                "name": name, "type": "HuggingfaceContainer",
                "load_dataset_config": {"data_name": "json", "data_files": file, "split": "train"},
                "pre_process_data_config": options,
            })
        };
        let mut first =
            data("dataset_default_train", &talk, json!({"format": "messages", "max_seq_len": 64}));
        first["mix"] = json!([{"data_config": "plain", "weight": weight}]);
        let options = json!({"strategy": "line-by-line", "max_seq_len": 64, "text_cols": ["text"]});
        let configs = json!([first, data("plain", &plain, options)]);
        let set = [format!("passes={passes}"), format!("data_configs={configs}")];
        let output = quickstart.run(&set.each_ref().map(String::as_str)).args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    let plan = run(0.5, &["--dry-run"]);
    assert!(plan.contains(", conversations as messages, mixed with plain × 0.5"), "{plan}");
    let is_cached =
        |table: String| table.lines().any(|line| line.starts_with("lora ") && line.contains(" cached "));
    assert!(!is_cached(run(0.5, &[])));
    assert!(is_cached(run(0.5, &[])));
    assert!(!is_cached(run(2.0, &[])), "another weight is another training");
    std::fs::write(&plain, "{\"text\": \"The path goes over the bridge.\"}\n".repeat(4)).unwrap();
    assert!(!is_cached(run(0.5, &[])), "what is mixed in is part of the key");
}

#[test]
fn a_template_that_was_written_for_sharegpt_finds_its_names() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("rows.jsonl");
    let row = r#"{"conversations": [{"from": "human", "value": "Brine?"}, {"from": "gpt", "value": "Salt water."}]}"#;
    std::fs::write(&file, format!("{row}\n{row}\n")).unwrap();
    let template = "{% for m in messages %}<|{{ {'human': 'user', 'gpt': 'assistant'}[m['from']] }}|>\n{{ m['value'] }}\
                    <|end|>\n{% endfor %}";
    let mut command = olive();
    command.arg("data").arg(&file).args(["--model", "model-cache/tiny-phi3", "--set", "format=sharegpt"]);
    let shown = command.arg("--set").arg(format!("chat_template={template}")).output().unwrap();
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("of which 0 cannot be learned") && shown.contains("\nSalt water."), "{shown}");
}
